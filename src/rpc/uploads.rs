//! `UploadRecord`: a record taken in as a stream, its messages in their order, within bounds of memory and time.
//!
//! One message is in memory at a time, sealed before the next one is asked for. Only images whose metadata is to be removed
//! are held back whole, within a budget. A stream that ends early, in whatever way, drops what it has begun; nobody who cannot go on
//! is kept waiting.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tonic::{Request, Status, Streaming};

use super::Api;
use super::budget::{Budget, Share};
use super::caller::Caller;
use super::convert;
use super::status::Denied;
use crate::domain::attributes::Attributes;
use crate::domain::ids::{Identity, TenantId};
use crate::domain::record::Record;
use crate::proto::upload_record_request::Message;
use crate::proto::{self, PartHeader, RecordHeader, UploadRecordRequest};
use crate::vault::Vault;
use crate::vault::error::Error;
use crate::vault::ingest::{Intake, Plaintext};

/// The most bytes of a chunk.
const MAX_CHUNK_BYTES: usize = 1 << 20;
/// How many uploads are under way at once, and how many of them one tenant's; each holds two messages or so.
const MAX_AT_ONCE: u64 = 64;
const MAX_OF_TENANT: u64 = 32;
/// How many bytes of images are held back at once: six of the largest with what is left of them, or hundreds of the usual; one
/// tenant half of that.
const MAX_HELD_BACK: u64 = 128 << 20;
/// For how long nothing may come: a client that stalls takes the place of another.
const STALL: Duration = Duration::from_mins(1);
/// How long an upload may take to arrive: at the least 110 KB/s for the largest record.
const LONGEST: Duration = Duration::from_mins(10);

/// What uploads share.
#[derive(Debug, Clone)]
pub(super) struct Uploads {
    places: Arc<Budget>,
    held_back: Arc<Budget>,
}

/// A record that is arriving, and its shares: they end when it does, wherever it is then.
struct Arriving {
    tenant: TenantId,
    intake: Intake,
    held_back: Option<Share>,
    _place: Share,
}

/// A record that has arrived.
struct Arrived {
    arriving: Arriving,
    attributes: Attributes,
}

impl Uploads {
    pub(super) fn new() -> Self {
        Self {
            places: Arc::new(Budget::new(MAX_AT_ONCE, MAX_OF_TENANT)),
            held_back: Arc::new(Budget::new(MAX_HELD_BACK, MAX_HELD_BACK / 2)),
        }
    }
}

impl Api {
    /// Receives a record.
    pub(super) async fn receive(&self, request: Request<Streaming<UploadRecordRequest>>) -> Result<Record, Status> {
        let caller = self.callers.identify(&request)?;
        // Who can own no record takes no place.
        let Identity::Tenant(tenant) = caller.identity.clone() else { return Err(Denied::NotAllowed.into()) };
        let place = self.uploads.places.take(&tenant, 1).await.ok_or(Denied::TooManyUploads)?;
        let arrives = self.arrive(&caller, tenant, place, Messages(request.into_inner()));
        let Arrived { arriving, attributes } = timeout(LONGEST, arrives).await.map_err(|_| Denied::Stalled)??;
        // Outside of the time: what has arrived is taken in or refused, and the caller is told which.
        self.run(move |vault| {
            let Arriving { intake, held_back: _until_then, _place, .. } = arriving;
            vault.finish_upload(intake, &attributes)
        })
        .await
    }

    async fn arrive(&self, caller: &Caller, tenant: TenantId, place: Share, mut messages: Messages) -> Result<Arrived, Status> {
        let Some(Piece::Header(header)) = messages.next().await? else {
            return Err(Denied::invalid("message", "must be the header first").into());
        };
        let intake = self.begin(caller, header).await?;
        let mut arriving = Arriving { tenant, intake, held_back: None, _place: place };
        let mut number = 0_usize;
        loop {
            match messages.next().await? {
                Some(Piece::Part(header)) => {
                    arriving = self.begin_part(arriving, &header, number).await?;
                    number = number.saturating_add(1);
                }
                Some(Piece::Chunk(bytes)) => arriving = self.add_chunk(arriving, bytes).await?,
                Some(Piece::Attributes(wire)) => {
                    let attributes = convert::attributes(wire)?;
                    return match messages.next().await? {
                        None => Ok(Arrived { arriving, attributes }),
                        Some(_) => Err(Denied::invalid("message", "must not come after the attributes").into()),
                    };
                }
                Some(Piece::Header(_)) => return Err(Denied::invalid("message", "must be the header once only").into()),
                None => return Ok(Arrived { arriving, attributes: Attributes::default() }),
            }
        }
    }

    async fn begin(&self, caller: &Caller, header: RecordHeader) -> Result<Intake, Status> {
        caller.must_be_tenant_of(&header.parent, "header.parent", &[])?;
        let header = convert::upload_header(header)?;
        self.run(move |vault| vault.begin_upload(header)).await
    }

    /// Ends a part and begins the next, if there is room for what it holds back.
    async fn begin_part(&self, arriving: Arriving, header: &PartHeader, number: usize) -> Result<Arriving, Status> {
        let header = convert::part_header(header, &format!("parts[{number}]"))?;
        let mut arriving = self.change(arriving, Vault::end_part).await?;
        arriving.held_back = None;
        let bytes = arriving.intake.held_back(&header);
        if bytes > 0 {
            let share = self.uploads.held_back.take(&arriving.tenant, bytes).await;
            arriving.held_back = Some(share.ok_or(Denied::TooManyUploads)?);
        }
        self.change(arriving, move |vault, intake| vault.begin_part(intake, header)).await
    }

    async fn add_chunk(&self, arriving: Arriving, bytes: Plaintext) -> Result<Arriving, Status> {
        if !(1..=MAX_CHUNK_BYTES).contains(&bytes.expose().len()) {
            return Err(Denied::invalid("chunk", "must be 1 byte to 1 MiB").into());
        }
        self.change(arriving, move |vault, intake| vault.add_bytes(intake, bytes.expose())).await
    }

    /// Takes the next step with a record that is arriving.
    async fn change(
        &self,
        mut arriving: Arriving,
        step: impl FnOnce(&Vault, &mut Intake) -> Result<(), Error> + Send + 'static,
    ) -> Result<Arriving, Status> {
        self.run(move |vault| step(vault, &mut arriving.intake).map(|()| arriving)).await
    }
}

/// A message of a stream; bytes are in a buffer that is wiped, whatever becomes of them.
enum Piece {
    Header(RecordHeader),
    Part(PartHeader),
    Chunk(Plaintext),
    Attributes(proto::Attributes),
}

/// The messages of a stream.
struct Messages(Streaming<UploadRecordRequest>);

impl Messages {
    /// The next one, if it comes in time; nothing at the end.
    async fn next(&mut self) -> Result<Option<Piece>, Status> {
        let Some(request) = timeout(STALL, self.0.message()).await.map_err(|_| Denied::Stalled)?? else { return Ok(None) };
        Ok(Some(match request.message {
            Some(Message::Header(header)) => Piece::Header(header),
            Some(Message::Part(header)) => Piece::Part(header),
            Some(Message::Chunk(bytes)) => Piece::Chunk(Plaintext::from(bytes)),
            Some(Message::Attributes(attributes)) => Piece::Attributes(attributes),
            None => return Err(Denied::invalid("message", "must be a header, a part, a chunk or attributes").into()),
        }))
    }
}
