//! Release: a job's stream of records, each decided at the moment it leaves.
//!
//! The steps of a message, in this order:
//!
//! 1. Each record at the stream's next positions is read from the ledger and decided on anew; only a permit opens a part.
//! 2. What the job thereby receives is accounted for, durably.
//! 3. The message is handed over, if nothing was withdrawn or expired since step 1; else it is discarded and made again.

mod ahead;

pub use ahead::{Ahead, Reads};

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use roaring::RoaringTreemap;

use super::Vault;
use super::error::Error;
use super::ingest::part_context;
use crate::crypto::random;
use crate::crypto::seal::{self, PartKey, Piece, Plaintext};
use crate::crypto::secret::Secret;
use crate::domain::attributes::Attributes;
use crate::domain::category::Category;
use crate::domain::consent::Consent;
use crate::domain::ids::{JobId, Place, SnapshotId};
use crate::domain::job::Job;
use crate::domain::media::MediaType;
use crate::domain::order::Order;
use crate::domain::policy::{self, PartPermit};
use crate::domain::record::{Part, Record};
use crate::domain::retention::{Now, hour_of};
use crate::domain::tenant::Tenant;
use crate::store::schema;
use crate::store::volume::SealedBytes;

/// A message is closed when it holds this many bytes of data.
pub const MESSAGE_BYTES: u64 = 1 << 20;

/// How many records of a list are looked at to know whether most are alive.
const SAMPLE: u64 = 1000;

/// Which positions of a snapshot a rank wants, in which order.
#[derive(Debug, Clone)]
pub struct Iteration {
    /// The job.
    pub job: JobId,
    /// Its snapshot.
    pub snapshot: SnapshotId,
    /// Chooses the order, with `epoch`.
    pub seed: u64,
    /// Chooses the order, with `seed`.
    pub epoch: u32,
    /// The rank, below `world_size`.
    pub rank: u32,
    /// How many ranks share the epoch; at least 1.
    pub world_size: u32,
    /// The first position wanted.
    pub start_position: u64,
}

/// A stream under way.
#[derive(Debug)]
pub struct Release {
    job: JobId,
    plan: Arc<Plan>,
    cursor: Cursor,
    /// Positions below this are accounted for.
    accounted_upto: u64,
    ahead: Ahead,
}

/// What a stream goes through, and in which order.
#[derive(Debug)]
struct Plan {
    categories: Vec<Category>,
    world_size: u64,
    order: Order,
    list: RoaringTreemap,
}

impl Plan {
    /// The place of the record at a position; none beyond the last.
    fn place(&self, position: u64) -> Option<Place> {
        self.list.select(self.order.index(position)?).map(Place::from_u64)
    }
}

/// How far a stream has come: what comes next.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    position: u64,
    /// Which of the permitted parts, and where in it.
    part: usize,
    offset: u64,
}

/// A record that the rules release now.
struct Permitted {
    record: Record,
    parts: Vec<PartPermit>,
    /// Until when.
    good_until: DateTime<Utc>,
}

/// What stands behind a record: its consent, and what its tenant's consents rest on.
pub(super) struct Grounds {
    pub(super) consent: Consent,
    pub(super) tenant: Arc<Tenant>,
}

/// A message that may be handed over.
#[expect(missing_debug_implementations, reason = "holds identification data")]
pub struct Message {
    /// What it carries.
    pub items: Vec<Item>,
    /// The position from which the rank resumes after it.
    pub next_position: u64,
    after: Cursor,
    bytes: u64,
    room: u64,
    generation: u64,
    /// When the first of its records may no longer be served.
    good_until: DateTime<Utc>,
}

/// One item of a message.
#[expect(missing_debug_implementations, reason = "holds identification data")]
pub struct Item {
    /// The position that it belongs to.
    pub position: u64,
    /// A name for the record within the job; `None` on a tombstone.
    pub token: Option<[u8; 16]>,
    /// The content.
    pub content: Content,
    /// Whether it is the last of its position.
    pub last: bool,
}

/// What an item carries.
#[expect(missing_debug_implementations, reason = "holds identification data")]
pub enum Content {
    /// A piece of a file.
    Chunk {
        /// The part's number.
        part: u8,
        /// The part's category.
        category: Category,
        /// The part's format.
        media_type: MediaType,
        /// The whole part's size.
        size: u64,
        /// Where in it the piece begins.
        offset: u64,
        /// The piece.
        data: Bytes,
    },
    /// The attributes, those only that are released.
    Attributes(Attributes),
    /// The record is not to be had any more.
    Gone,
    /// A part of the record is damaged.
    Damaged,
}

impl Vault {
    /// Opens a stream over a snapshot of an active job.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::JobNotActive`], [`Error::SnapshotDepleted`], or [`Error::Invalid`].
    pub fn release(&self, iteration: &Iteration) -> Result<Release, Error> {
        let now = self.working_now()?;
        let Iteration { job, snapshot, seed, epoch, rank, world_size, start_position } = *iteration;
        if world_size == 0 || rank >= world_size {
            return Err(Error::invalid("rank", "must be below world_size, and world_size at least 1"));
        }
        let job = self.active_job(job)?;
        let snapshot = self.snapshot(job.id, snapshot)?;
        let list = self.snapshot_list(snapshot.id)?;
        self.refuse_depleted(&list, now)?;
        let (world_size, rank) = (u64::from(world_size), u64::from(rank));
        let behind = start_position.checked_rem(world_size).unwrap_or(0);
        let ahead = rank.saturating_add(world_size).saturating_sub(behind).checked_rem(world_size).unwrap_or(0);
        let cursor = Cursor { position: start_position.saturating_add(ahead), part: 0, offset: 0 };
        let order = Order::new(seed, epoch, list.len());
        let plan = Arc::new(Plan { categories: job.spec.categories, world_size, order, list });
        Ok(Release { job: job.id, plan, cursor, accounted_upto: 0, ahead: Ahead::default() })
    }

    /// Refuses a list of which less than half is alive.
    fn refuse_depleted(&self, list: &RoaringTreemap, now: Now) -> Result<(), Error> {
        let is_alive = |place: Place| Ok::<_, Error>(place.hour > hour_of(now.hi) && self.book.has(&schema::place(place))?);
        // Of a large list a sample says enough: of one that is half dead, three fifths of so many are alive once in 10^9 times.
        if list.len() > SAMPLE {
            let order = Order::new(u64::from_le_bytes(random::array()?), 0, list.len());
            let mut alive = 0_u64;
            for place in (0..SAMPLE).filter_map(|position| list.select(order.index(position)?)).map(Place::from_u64) {
                alive = alive.saturating_add(u64::from(is_alive(place)?));
            }
            if alive >= SAMPLE / 5 * 3 {
                return Ok(());
            }
        }
        let mut missing = list.len().div_ceil(2);
        for place in list.iter().map(Place::from_u64) {
            if missing == 0 {
                break;
            }
            missing = missing.saturating_sub(u64::from(is_alive(place)?));
        }
        if missing > 0 { Err(Error::SnapshotDepleted) } else { Ok(()) }
    }

    /// The stream's next message, to be handed over; `None` at the end of the epoch. It is closed when it holds `room` bytes or more, at
    /// most [`MESSAGE_BYTES`]; what fits in so much is not split.
    ///
    /// # Errors
    /// [`Error::JobNotActive`] when the job ended, [`Error::JobQuotaExceeded`] when it has received all that it may.
    pub fn next_message(&self, release: &mut Release, room: u64) -> Result<Option<Message>, Error> {
        let generation = self.gate.generation();
        let job = self.active_job(release.job)?;
        let opening = self.gate.opening();
        let now = self.working_now()?;
        let mut message = Message {
            items: Vec::new(),
            next_position: release.cursor.position,
            after: release.cursor,
            bytes: 0,
            room: room.clamp(1, MESSAGE_BYTES),
            generation,
            good_until: job.spec.expire_time,
        };
        while message.bytes < message.room && message.after.position < release.plan.list.len() {
            match self.release_record(&job, release, &mut message, now) {
                Err(Error::JobQuotaExceeded) if !message.items.is_empty() => break,
                released => released?,
            }
        }
        drop(opening);
        if message.items.is_empty() {
            return Ok(None);
        }
        self.save_received(job.id)?;
        message.next_position = message.after.position;
        Ok(Some(message))
    }

    /// Hands a message over: `send` gets its release sequence. When this returns `false` nothing was sent: what the message
    /// was decided on has changed, and the stream's next message is to be made again.
    pub fn hand_over(&self, release: &mut Release, message: Message, send: impl FnOnce(Message, u64)) -> bool {
        let (generation, good_until, after) = (message.generation, message.good_until, message.after);
        let still_good = || {
            let times = self.clock.times();
            self.stop.reason().is_none() && times.trusted && times.hi < good_until
        };
        let handed_over = self.gate.hand_over(generation, still_good, |sequence| send(message, sequence));
        if handed_over {
            release.cursor = after;
            release.ahead.forget_before(after.position);
        }
        handed_over
    }

    /// Adds the record at the message's next position, or as much of it as still fits.
    fn release_record(&self, job: &Job, release: &mut Release, message: &mut Message, now: Now) -> Result<(), Error> {
        let position = message.after.position;
        let place = release.plan.place(position).ok_or(Error::Damaged)?;
        let outcome = match self.permitted(job, place, now)? {
            Err(tombstone) => Err(tombstone),
            Ok(Permitted { record, parts, good_until }) => {
                if position >= release.accounted_upto {
                    let sizes = parts.iter().filter_map(|permit| part_of(&record, permit)).map(|part| part.size);
                    self.account(job, place, sizes.sum())?;
                    release.accounted_upto = position.saturating_add(1);
                }
                message.good_until = message.good_until.min(good_until);
                self.add_parts(job, (&record, parts), message, &mut release.ahead)?
            }
        };
        let whole = match outcome {
            Ok(whole) => whole,
            Err(tombstone) => {
                message.items.push(Item { position, token: None, content: tombstone, last: true });
                // A tombstone weighs a little, so that a run of them does not become one huge message.
                message.bytes = message.bytes.saturating_add(64);
                true
            }
        };
        if whole {
            message.after = Cursor { position: position.saturating_add(release.plan.world_size), part: 0, offset: 0 };
        }
        Ok(())
    }

    /// The record at a place with the permits for its parts, if the rules release it; else the tombstone that stands for it.
    fn permitted(&self, job: &Job, place: Place, now: Now) -> Result<Result<Permitted, Content>, Error> {
        let found = self.record_at(place).and_then(|record| match record {
            Some(record) => Ok(self.grounds(&record)?.map(|grounds| (record, grounds))),
            None => Ok(None),
        });
        let (record, Grounds { consent, tenant }) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Err(Content::Gone)),
            Err(Error::Damaged) => return Ok(Err(Content::Damaged)),
            Err(failure) => return Err(failure),
        };
        match policy::decide(job, &record, &consent, &tenant.terms, now) {
            Ok(permit) => {
                let good_until = record.expire_time.min(consent.receipt.expires_at);
                Ok(Ok(Permitted { record, parts: permit.into_parts(), good_until }))
            }
            Err(denial) => {
                tracing::debug!(job = %job.id, record = %record.id, %denial, "release denied");
                Ok(Err(Content::Gone))
            }
        }
    }

    /// What a record's release is decided on besides itself and the job; nothing if the ledger has it no more.
    pub(super) fn grounds(&self, record: &Record) -> Result<Option<Grounds>, Error> {
        let (consent, tenant) = (self.book.consent(&record.tenant, record.consent)?, self.book.tenant(&record.tenant)?);
        Ok(consent.zip(tenant).map(|(consent, tenant)| Grounds { consent, tenant }))
    }

    /// Adds parts of a record from where the stream stands. `Ok(true)` when the record is whole, `Ok(false)` when the
    /// message is full before it; the tombstone that stands for it when it cannot be opened.
    fn add_parts(
        &self,
        job: &Job,
        (record, permits): (&Record, Vec<PartPermit>),
        message: &mut Message,
        ahead: &mut Ahead,
    ) -> Result<Result<bool, Content>, Error> {
        let Some(leaf) = self.keyring.leaf(record.place)? else { return Ok(Err(Content::Gone)) };
        let sealed = Sealed { vault: self, record, leaf };
        let token = Some(self.book.tag("token", &[job.id.0.as_bytes(), record.id.0.as_bytes()]).0);
        let (position, count) = (message.after.position, permits.len());
        for (index, permit) in permits.into_iter().enumerate().skip(message.after.part) {
            if message.bytes >= message.room {
                return Ok(Ok(false));
            }
            let Some(part) = part_of(record, &permit) else { return Ok(Err(Content::Damaged)) };
            let is_last_part = index.saturating_add(1) == count;
            // What fits in a message is not split: a piece costs reading the frame that it is in.
            let piece = if part.size <= message.room && message.after.offset == 0 {
                Piece::whole(part.size)
            } else {
                Piece::new(part.size, message.after.offset, message.room.saturating_sub(message.bytes))
            };
            let fields = permit.fields();
            let at_hand = if piece.is_whole() { ahead.take(position, part) } else { None };
            let plaintext = match sealed.open(permit, part, &piece, at_hand) {
                Err(Error::Damaged) => return Ok(Err(Content::Damaged)),
                opened => opened?,
            };
            message.bytes = message.bytes.saturating_add(piece.length());
            let content = if part.category == Category::Attributes {
                let Some(attributes) = Attributes::decode(plaintext.expose()) else { return Ok(Err(Content::Damaged)) };
                Content::Attributes(attributes.retain(fields))
            } else {
                Content::Chunk {
                    part: part.number,
                    category: part.category,
                    media_type: part.media_type,
                    size: part.size,
                    offset: piece.start(),
                    data: Bytes::from_owner(plaintext),
                }
            };
            message.items.push(Item { position, token, content, last: piece.is_last() && is_last_part });
            if !piece.is_last() {
                message.after.offset = piece.end();
                return Ok(Ok(false));
            }
            message.after = Cursor { position, part: index.saturating_add(1), offset: 0 };
        }
        Ok(Ok(true))
    }
}

/// A record whose parts can be opened.
struct Sealed<'a> {
    vault: &'a Vault,
    record: &'a Record,
    leaf: Secret,
}

impl Sealed<'_> {
    /// Opens a piece of a part: of the whole part where that is at hand.
    fn open(&self, permit: PartPermit, part: &Part, piece: &Piece, mut at_hand: Option<SealedBytes>) -> Result<Plaintext, Error> {
        let Self { vault, record, leaf } = self;
        let read = |range| {
            let sealed = match at_hand.take() {
                Some(sealed) => sealed,
                None => vault.volumes.read_range(record.place, part.number, &part.extents, range)?,
            };
            let (buffer, range) = sealed.into_buffer();
            Ok(seal::Sealed::new(buffer, range))
        };
        let (key, context) = (PartKey::derive(leaf, u16::from(part.number)), part_context(&vault.id, record, part));
        seal::open_part(permit, &key, &context, piece, read)
            .inspect_err(|error| tracing::error!(record = %record.id, part = part.number, %error, "a part does not open"))
    }
}

fn part_of<'a>(record: &'a Record, permit: &PartPermit) -> Option<&'a Part> {
    record.parts.iter().find(|part| part.number == permit.part())
}
