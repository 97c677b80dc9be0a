//! Shredding: making records unrecoverable, at a word or by the clock, each time by one durable commit.
//!
//! The steps, in this order, with a crash allowed between any two:
//!
//! 0. What decisions are made from says no (rows, visible at once); the release generation is raised, so that what was
//!    decided before is discarded; readers that hold keys are waited for.
//! 1. The same rows are durable: the records are marked.
//! 2. New pages and a new keyring head without the records' leaves are on the medium, sealed under a new root.
//! 3. Commit point: the new root is durable, the old one destroyed. From here on nobody can open the records.
//! 4. The rows are gone, the hours' volumes deleted; the call answers.
//!
//! A start finds marked records and hours without keys by looking, and finishes them the same way.

mod batches;

use super::Vault;
use super::certificates::{Gone, MarkRow, Tallies};
use super::consents::month_of;
use super::error::Error;
use super::lineage::Receivers;
use super::rows::{RecordRow, VaultRow};
use crate::audit::certificate::Commit;
use crate::clock::Clock;
use crate::domain::ids::{CertificateId, Hour, Place, RecordId, TenantId};
use crate::domain::record::{Record, RecordState};
use crate::domain::retention::hour_of;
use crate::domain::trigger::Trigger;
use crate::keys::keyring::{Change, Step};
use crate::store::group::Ticket;
use crate::store::ledger::Transaction;
use crate::store::schema;
pub(crate) use batches::Batches;

/// Hours ahead that have keys: the longest retention and two more.
const HORIZON_HOURS: u32 = 30 * 24 + 2;
/// Months ahead that have keys for two-year rows: two years, the retention before they begin, and one more.
const HORIZON_MONTHS: u16 = 27;
/// How many records or rows that are due are removed from the ledger in one transaction.
pub(super) const ROWS_AT_ONCE: usize = 2_000;

/// What a shredding call did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destruction {
    /// Records that are now unrecoverable.
    pub record_count: u64,
    /// No message with a larger release sequence carries them.
    pub last_release_sequence: u64,
    /// The certificates of their destruction.
    pub certificates: Vec<(TenantId, CertificateId)>,
}

/// Records that are marked, visibly but perhaps not durably yet.
#[derive(Debug)]
pub(super) struct Marked {
    places: Vec<Place>,
    last_release_sequence: u64,
    ticket: Ticket,
}

impl Vault {
    /// Shreds one record.
    ///
    /// # Errors
    /// [`Error::RecordGone`] when it is gone already or never was.
    pub fn shred_record(&self, tenant: &TenantId, id: RecordId) -> Result<Destruction, Error> {
        self.stop.check()?;
        let writes = self.writes.lock();
        // Whatever the clock says, and also when a mark is not durable yet: as long as there is a row there is a key.
        let record = self.book.record(tenant, id)?.ok_or(Error::RecordGone)?;
        let marked = self.mark(Transaction::default(), std::slice::from_ref(&record), Trigger::RecordShredded)?;
        drop(writes);
        self.destroy(marked)
    }

    /// Steps 0 and 1, up to durability: marks records with the rest of a transaction. The caller holds `writes`.
    pub(super) fn mark(&self, mut transaction: Transaction, records: &[Record], trigger: Trigger) -> Result<Marked, Error> {
        let mark = MarkRow::new(trigger, self.clock.times().lo);
        for record in records.iter().filter(|record| record.state == RecordState::Live) {
            let marked = Record { state: RecordState::Shredding, ..record.clone() };
            let key = schema::record(self.book.tenant_tag(&record.tenant), record.id);
            self.book.put(&mut transaction, key, &RecordRow::from_domain(&marked))?;
            self.book.put(&mut transaction, schema::marked(record.place), &mark)?;
            self.counts.lock().mark(&self.book, &mut transaction, record)?;
        }
        let ticket = self.book.apply(transaction)?;
        let last_release_sequence = self.gate.raise();
        Ok(Marked { places: records.iter().map(|record| record.place).collect(), last_release_sequence, ticket })
    }

    /// Steps 1 to 4 for records that are marked. The caller has let go of `writes`.
    pub(super) fn destroy(&self, marked: Marked) -> Result<Destruction, Error> {
        self.book.sync(marked.ticket)?;
        (self.observer)(Step::Marked);
        let Marked { places, last_release_sequence, .. } = marked;
        let record_count = u64::try_from(places.len()).unwrap_or(u64::MAX);
        if !places.is_empty() {
            self.shred(&places)?;
        }
        Ok(Destruction { record_count, last_release_sequence, certificates: self.certified.take(&places) })
    }

    /// Does what time asks for: an hour that is due is forgotten, unused hours get fresh seeds, serials are set aside, pages
    /// are put where they stay, the clock is saved. To be called often; most calls do nothing.
    ///
    /// # Errors
    /// When something fails; the vault must then stop.
    pub fn tick(&self) -> Result<(), Error> {
        self.stop.check()?;
        self.end_restored()?;
        self.watch_clock()?;
        self.catch_up()?;
        if self.keyring.runs_low() {
            self.shred(&[])?;
        }
        self.go_on_with_tenants()?;
        self.keyring.tidy_pages()?;
        let day = hour_of(self.clock.times().lo).number() / 24;
        self.book.keep(day)?;
        self.save_heartbeat()
    }

    /// Forgets what is due and plants what is ahead, if time has moved on since the last commit. The caller does not hold
    /// `writes`.
    pub(super) fn catch_up(&self) -> Result<(), Error> {
        let over = hour_of(self.clock.times().due);
        if self.keyring.first_hour().is_none_or(|first| first <= over) { self.shred(&[]) } else { Ok(()) }
    }

    /// Steps 2 to 4: forgets these records and every hour that is due, in one commit with whoever else waits for one.
    pub(super) fn shred(&self, places: &[Place]) -> Result<(), Error> {
        self.batches.join(places, |places| {
            self.stop.check()?;
            self.commit(places)
        })
    }

    fn commit(&self, places: &[Place]) -> Result<(), Error> {
        // The time first: who opens after the wait decides on a later one.
        let change = change(&self.clock, self.book.durable(), places);
        self.gate.wait_for_openers();
        let committed = self.keyring.commit(&change, &self.observer)?;
        let commit = self.statement(committed, self.clock.times().lo);
        self.finish(places, change.over, &commit)?;
        (self.observer)(Step::Finished);
        Ok(())
    }

    /// Step 4: removes what is left of records whose keys are gone.
    fn finish(&self, places: &[Place], over: Hour, commit: &Commit) -> Result<(), Error> {
        let mut transaction = Transaction::default();
        let vault = VaultRow { keyring_generation: commit.generations.1, subjects_indexed: true };
        self.book.put(&mut transaction, schema::vault(), &vault)?;
        let writes = self.writes.lock();
        let (mut receivers, mut tallies) = (Receivers::default(), Tallies::default());
        let mut places = places.to_vec();
        // By hour, so that who received of an hour is read once.
        places.sort_unstable();
        for place in places {
            if let Some(gone) = self.remove_rows(&mut transaction, place, &mut receivers)? {
                tallies.add(gone);
            }
        }
        self.certify(&mut transaction, tallies, commit)?;
        let mut ticket = self.book.apply(transaction)?;
        drop(writes);
        while let Some(removed) = self.remove_expired(over, commit)? {
            ticket = removed;
        }
        ticket = self.certify_drafts()?.unwrap_or(ticket);
        while let Some(removed) = self.remove_due(over)? {
            ticket = removed;
        }
        self.book.sync(ticket)?;
        for hour in self.volumes.hours()?.into_iter().filter(|hour| *hour <= over) {
            self.volumes.delete_hour(hour)?;
        }
        Ok(())
    }

    /// Removes the rows of a record that stood at `place`, and says what is gone, if there was one. Who received it stays known.
    pub(super) fn remove_rows(
        &self,
        transaction: &mut Transaction,
        place: Place,
        receivers: &mut Receivers,
    ) -> Result<Option<Gone>, Error> {
        let record = self.whole_record_at(place)?;
        if let Some(record) = &record {
            let tenant = self.book.tenant_tag(&record.tenant);
            transaction.remove(schema::record(tenant, record.id));
            transaction.remove(self.call_key(&record.tenant, &record.call_id));
            if !self.keep_released(transaction, record, receivers)? {
                transaction.remove(schema::consent_record(tenant, record.consent, record.id));
            }
            if record.state == RecordState::Shredding {
                self.counts.lock().finish(record);
            }
        }
        let named = whole(self.book.place(place))?.flatten();
        let reason = self.reason_at(place)?;
        transaction.remove(schema::place(place));
        transaction.remove(schema::marked(place));
        let Some((tenant, id)) = named else { return Ok(None) };
        Ok(Some(Gone { place, tenant, id, record, reason, jobs: receivers.of(&self.book, place)? }))
    }

    /// Removes rows of some records of hours up to `over`, and at the end the counts of those hours; `None` when none is left.
    fn remove_expired(&self, over: Hour, commit: &Commit) -> Result<Option<Ticket>, Error> {
        let _writes = self.writes.lock();
        let mut transaction = Transaction::default();
        let (mut removed, mut receivers, mut tallies) = (0_usize, Receivers::default(), Tallies::default());
        for key in self.book.keys(&schema::places()).take(ROWS_AT_ONCE) {
            let place = schema::place_in(&key?).ok_or(Error::Damaged)?;
            if place.hour > over {
                break;
            }
            if let Some(gone) = self.remove_rows(&mut transaction, place, &mut receivers)? {
                tallies.add(gone);
            }
            removed = removed.saturating_add(1);
        }
        let counted = self.counts.lock().hours().next().is_some_and(|hour| hour <= over);
        if removed == 0 && !counted {
            return Ok(None);
        }
        self.draft(&mut transaction, tallies, commit)?;
        if removed < ROWS_AT_ONCE {
            self.counts.lock().forget(&self.book, &mut transaction, over);
        }
        self.book.apply(transaction).map(Some)
    }

    /// Removes some of the other rows that were due by `over`; `None` when none is left.
    fn remove_due(&self, over: Hour) -> Result<Option<Ticket>, Error> {
        let _writes = self.writes.lock();
        let mut transaction = Transaction::default();
        let mut removed = 0_usize;
        for due in self.book.keys(&schema::dues()).take(ROWS_AT_ONCE) {
            let due = due?;
            let Some((_, key)) = schema::due_in(&due).filter(|(hour, _)| *hour <= over) else { break };
            if self.book.is_over(key)? {
                transaction.remove(key.to_vec());
            }
            transaction.remove(due);
            removed = removed.saturating_add(1);
        }
        if removed == 0 { Ok(None) } else { self.book.apply(transaction).map(Some) }
    }
}

/// What was read, unless it is damaged: destruction does not wait for a damaged row.
fn whole<T>(read: Result<T, Error>) -> Result<Option<T>, Error> {
    match read {
        Err(Error::Damaged) => Ok(None),
        read => read.map(Some),
    }
}

/// What a commit changes now: these records go, and whatever is due by the clock.
pub(super) fn change<'a>(clock: &Clock, ledger_sequence: u64, punctures: &'a [Place]) -> Change<'a> {
    let times = clock.times();
    Change {
        punctures,
        ranges: &[],
        over: hour_of(times.due),
        horizon: HORIZON_HOURS,
        month: month_of(times.lo),
        months: HORIZON_MONTHS,
        ledger_sequence,
        heartbeat: clock.heartbeat().to_bytes(),
    }
}
