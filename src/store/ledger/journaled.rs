//! The ledger as the vault uses it: the journal makes transactions durable, the index finds rows.
//!
//! A transaction goes to the journal, then to the index, under one lock, so that both have the same order. It is durable when the
//! journal is synced; the index is never waited for. When much was appended, a checkpoint makes the index durable with the last
//! transaction that it has noted in it, and lets segments go that it and the last dump make needless. A start replays what came after.
//!
//! What is durable of the index is all of it as it was at a checkpoint, never a part: neither a crash nor power loss nor a sync that
//! failed leaves anything to doubt. What cannot be read any more is made anew, from the dump and the journal since.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::dump::Dump;
use super::index::Index;
use super::journal::Journal;
use super::{Change, Ledger, LedgerError, RawRow, Transaction, earlier};
use crate::files;
use crate::store::group::Ticket;
use crate::store::volume::RESERVE;

mod upkeep;

use upkeep::Worker;

/// Under this key the index keeps the sequence of a transaction: it has that one and all before.
const POSITION: &[u8] = b"\0";
/// A checkpoint is taken when so many bytes were appended since the last one.
const CHECKPOINT_BYTES: u64 = 32 << 20;
/// A dump is taken when there are so many segments of the journal, 1 GiB, and once a day.
const DUMP_SEGMENTS: usize = 64;

/// The day of a dump that is taken before the day is known.
const NO_DAY: u32 = 0;

/// Rows in an index, made durable by a journal.
#[derive(Debug)]
pub struct JournaledLedger {
    store: Arc<Store>,
    /// What is done from time to time.
    upkeep: Mutex<Upkeep>,
    /// How many bytes of the disk a dump leaves free.
    reserve: u64,
}

#[derive(Debug)]
struct Store {
    dir: PathBuf,
    index: Index,
    journal: Journal,
    /// Held while a transaction goes to both.
    order: Mutex<()>,
    /// The last transaction that the index has durably. Held while a checkpoint is taken, and while segments go.
    checkpoint: Mutex<u64>,
    /// Why the journal, the index or their upkeep failed: nothing is taken after that.
    failed: Mutex<Option<String>>,
}

/// Checkpoints and dumps have a thread each: a dump takes long, and what came meanwhile is in memory until the next checkpoint.
#[derive(Debug, Default)]
struct Upkeep {
    checkpoints: Option<Worker<()>>,
    /// Takes the day.
    dumps: Option<Worker<u32>>,
    /// How much had been appended at the last checkpoint.
    checkpoint_at: u64,
    /// On which day the last dump was taken, once that is known.
    dumped_on: Option<u32>,
}

impl JournaledLedger {
    /// Opens the ledger in the directory `dir`, made if absent, and gives the index what the journal has beyond it.
    ///
    /// # Errors
    /// When the index or the journal cannot be read, or what was acknowledged is missing from both.
    pub fn open(dir: &Path) -> Result<Self, LedgerError> {
        files::make_dir(dir)?;
        let layout = Layout(dir);
        let journal = Journal::open(layout.journal())?;
        replace_earlier(&layout)?;
        if !layout.index().exists() && layout.is_used()? {
            return Err(LedgerError::Damaged("the index is missing: `idvault doctor --rebuild` makes it anew".to_owned()));
        }
        let index = Index::open(&layout.index())?;
        let noted = position_of(&index)?;
        // Rows from before there was a journal: they count as its first transaction, which only a dump can hold.
        let is_first = noted == 0 && index.scan(&[]).next().is_some();
        let position = if is_first { 1 } else { noted };
        let last = journal.replay(position, |changes| fill(&index, changes))?;
        let (order, checkpoint, failed) = (Mutex::default(), Mutex::new(noted), Mutex::default());
        let store = Store { dir: dir.to_owned(), index, journal, order, checkpoint, failed };
        // The index has what the journal has not: rows from before there was one, or what it lost and nobody acknowledged, but a
        // retry may be answered from.
        if last < position {
            store.dump(NO_DAY)?;
        }
        // So that the next start need not replay it again, however soon that is.
        if last > position {
            store.checkpoint()?;
        }
        Ok(Self { store: Arc::new(store), upkeep: Mutex::default(), reserve: RESERVE })
    }

    /// The same, whose dumps leave so many bytes of the disk free.
    #[must_use]
    pub fn with_reserve(mut self, reserve: u64) -> Self {
        self.reserve = reserve;
        self
    }

    /// Whether the index in the directory `dir` could be made anew: dump and journal are whole. Changes no file. Returns the
    /// sequence of the last transaction.
    ///
    /// # Errors
    /// When it could not.
    pub fn check(dir: &Path) -> Result<u64, LedgerError> {
        Self::replay(&Layout(dir), |_| Ok(()))
    }

    /// The files that an index can be made of, as paths from the directory above: the last dump, then the segments of the journal
    /// since, in their order. Nothing if one is missing, as when another dump is taken just now.
    ///
    /// # Errors
    /// When the directory `dir`, which is named `ledger`, cannot be read, or the dump is damaged.
    pub fn sources(dir: &Path) -> Result<Option<Vec<String>>, LedgerError> {
        let layout = Layout(dir);
        let dump = match Dump::newest(&layout.dumps()) {
            Err(LedgerError::Disk(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            dump => dump?,
        };
        let next = dump.as_ref().map_or(0, |dump| dump.sequence).saturating_add(1);
        let firsts = Journal::open(layout.journal())?.segments()?;
        let begin = firsts.partition_point(|first| *first <= next).saturating_sub(1);
        if firsts.first().is_some_and(|first| *first > next) {
            return Ok(None);
        }
        let segments = firsts.iter().skip(begin).map(|first| format!("ledger/journal/{first:020}.journal"));
        Ok(Some(dump.map(|dump| format!("ledger/dump/{:020}.dump", dump.sequence)).into_iter().chain(segments).collect()))
    }

    /// Makes the index in the directory `dir` anew, from the last dump and the journal since. The ledger must not be open.
    ///
    /// # Errors
    /// When dump or journal are not whole, or do not fit; the index that is there then stays as it is.
    pub fn rebuild(dir: &Path) -> Result<u64, LedgerError> {
        let layout = Layout(dir);
        replace_index(&layout, |index| {
            let position = Self::replay(&layout, |changes| fill(index, changes))?;
            index.apply(vec![position_row(position)]);
            Ok(())
        })
    }

    /// Gives all that an index is made of: the rows of the last dump, then what the journal has since. Returns the sequence of the
    /// last transaction in it.
    fn replay(layout: &Layout, mut each: impl FnMut(Vec<Change>) -> Result<(), LedgerError>) -> Result<u64, LedgerError> {
        let (dump, journal) = (Dump::newest(&layout.dumps())?, Journal::open(layout.journal())?);
        // Rows from before there was a journal may be in the index alone, until a dump has them as the first transaction. After that
        // there is a journal, and what is lost with it may be in the index alone.
        if journal.count()? == 0 && dump.as_ref().is_none_or(|dump| dump.sequence > 1) {
            return Err(LedgerError::Damaged("the journal is missing".to_owned()));
        }
        if let Some(dump) = &dump {
            dump.read(&mut each)?;
        }
        let dumped = dump.map_or(0, |dump| dump.sequence);
        Ok(journal.replay(dumped, each)?.max(dumped))
    }
}

impl Ledger for JournaledLedger {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        self.store.index.get(key)
    }

    fn scan(&self, prefix: &[u8]) -> Box<dyn Iterator<Item = Result<RawRow, LedgerError>> + '_> {
        Box::new(self.store.index.scan(prefix).filter(|row| row.as_ref().map_or(true, |row| row.key != POSITION)))
    }

    fn scan_after(&self, prefix: &[u8], after: &[u8]) -> Box<dyn Iterator<Item = Result<RawRow, LedgerError>> + '_> {
        Box::new(self.store.index.scan_after(prefix, after))
    }

    fn apply(&self, transaction: Transaction) -> Result<Ticket, LedgerError> {
        let store = &self.store;
        let changes = transaction.into_changes();
        let _order = store.order.lock();
        store.check()?;
        let ticket = store.journal.append(&changes)?;
        store.index.apply(changes);
        Ok(ticket)
    }

    fn latest(&self) -> Ticket {
        self.store.journal.latest()
    }

    fn durable(&self) -> u64 {
        self.store.journal.durable()
    }

    fn sync(&self, ticket: Ticket) -> Result<(), LedgerError> {
        // The index may then have what the journal lost.
        Ok(self.store.journal.sync(ticket).inspect_err(|error| self.store.fail(error))?)
    }

    fn keep(&self, day: u32) -> Result<(), LedgerError> {
        let (store, upkeep) = (&self.store, &mut *self.upkeep.lock());
        if Worker::has_panicked(&mut upkeep.checkpoints) || Worker::has_panicked(&mut upkeep.dumps) {
            store.fail(&"upkeep panicked");
        }
        store.check()?;
        let appended = store.journal.appended();
        let is_due = appended.saturating_sub(upkeep.checkpoint_at) >= CHECKPOINT_BYTES;
        if is_due && !Worker::is_busy(upkeep.checkpoints.as_ref()) {
            upkeep.checkpoint_at = appended;
            let reserve = self.reserve;
            let worker = || Worker::start(Arc::clone(store), move |store, ()| store.keep_up(reserve));
            upkeep.checkpoints.get_or_insert_with(worker).give(());
        }
        if Worker::is_busy(upkeep.dumps.as_ref()) {
            return Ok(());
        }
        if upkeep.dumped_on.is_none() {
            upkeep.dumped_on = store.last_dump()?.map(|dump| dump.day);
        }
        if upkeep.dumped_on != Some(day) || is_due && store.journal.count()? >= DUMP_SEGMENTS {
            upkeep.dumped_on = Some(day);
            let reserve = self.reserve;
            let worker = || Worker::start(Arc::clone(store), move |store, day| store.dump_if_it_fits(day, reserve));
            upkeep.dumps.get_or_insert_with(worker).give(day);
        }
        Ok(())
    }
}

impl Drop for JournaledLedger {
    fn drop(&mut self) {
        let Upkeep { checkpoints, dumps, .. } = std::mem::take(&mut *self.upkeep.lock());
        // What they say they have said already.
        checkpoints.map_or(Ok(()), Worker::end).unwrap_or_default();
        dumps.map_or(Ok(()), Worker::end).unwrap_or_default();
        // Without this the next start replays more.
        if let Err(error) = self.store.check().and_then(|()| self.store.checkpoint()) {
            tracing::warn!(%error, "the index of the ledger was not closed");
        }
    }
}

impl Store {
    /// Takes a checkpoint, and merges files of the index unless that could take the room that destruction needs.
    fn keep_up(&self, reserve: u64) -> Result<(), LedgerError> {
        self.checkpoint()?;
        if self.has_room(reserve)? {
            return self.index.compact();
        }
        tracing::warn!("files of the ledger's index are not merged: the disk has no room for it twice");
        Ok(())
    }

    /// Makes the index durable, and lets go of what nobody needs any more.
    fn checkpoint(&self) -> Result<(), LedgerError> {
        let mut checkpoint = self.checkpoint.lock();
        let position = {
            let _order = self.order.lock();
            let position = self.journal.last();
            if position > *checkpoint {
                self.index.apply(vec![position_row(position)]);
                self.index.seal();
            }
            position
        };
        if position > *checkpoint {
            // So that the index never has what the journal loses.
            self.journal.sync(self.journal.latest())?;
            self.index.flush()?;
            *checkpoint = position;
        }
        self.let_go(position)
    }

    /// Lets go of the segments that the index, which has everything up to `position` durably, and the last dump have.
    fn let_go(&self, position: u64) -> Result<(), LedgerError> {
        let dumped = self.last_dump()?.map_or(0, |dump| dump.sequence);
        Ok(self.journal.forget(position.min(dumped))?)
    }

    /// The last dump. One that is damaged counts for nothing, and the next takes its place.
    fn last_dump(&self) -> Result<Option<Dump>, LedgerError> {
        match Dump::newest(&Layout(&self.dir).dumps()) {
            Err(error @ LedgerError::Damaged(_)) => {
                tracing::warn!(%error, "a dump cannot be used");
                Ok(None)
            }
            found => found,
        }
    }

    /// Nothing is taken from now on.
    fn fail(&self, why: &dyn std::fmt::Display) {
        tracing::error!(%why, "the ledger failed");
        self.failed.lock().get_or_insert_with(|| why.to_string());
    }

    /// Refuses to go on after a failure.
    fn check(&self) -> Result<(), LedgerError> {
        self.failed.lock().as_ref().map_or(Ok(()), |reason| Err(LedgerError::Engine(reason.clone())))
    }

    /// Takes a dump, unless it could take the room that destruction needs on a disk that is nearly full.
    fn dump_if_it_fits(&self, day: u32, reserve: u64) -> Result<(), LedgerError> {
        if self.has_room(reserve)? {
            return self.dump(day);
        }
        tracing::warn!("no dump of the ledger is taken: the disk has no room for its rows twice");
        Ok(())
    }

    /// Whether the disk has room for all rows once more, and so many bytes.
    fn has_room(&self, reserve: u64) -> Result<bool, LedgerError> {
        let disk = rustix::fs::statvfs(&self.dir).map_err(io::Error::from)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize) >= self.index.size().saturating_add(reserve))
    }

    /// Takes a dump, and lets go of what nobody needs any more.
    fn dump(&self, day: u32) -> Result<(), LedgerError> {
        let (position, rows) = {
            let _order = self.order.lock();
            (self.journal.last(), self.index.scan(&[]))
        };
        let settle = || self.journal.sync(self.journal.latest());
        Dump::take(&Layout(&self.dir).dumps(), (position, day), rows, settle)?;
        self.let_go(*self.checkpoint.lock())
    }
}

/// Where things are in a ledger's directory.
struct Layout<'a>(&'a Path);

impl Layout<'_> {
    fn index(&self) -> PathBuf {
        self.0.join("index")
    }

    fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    fn dumps(&self) -> PathBuf {
        self.0.join("dump")
    }

    /// There while an earlier version had its index open: in which boot.
    fn running(&self) -> PathBuf {
        self.0.join("running")
    }

    /// Where an index is made that is to take the place of another.
    fn draft(&self) -> PathBuf {
        self.0.join("index.new")
    }

    /// Whether transactions were ever taken.
    fn is_used(&self) -> Result<bool, LedgerError> {
        Ok(fs::read_dir(self.journal())?.next().is_some() || Dump::newest(&self.dumps())?.is_some())
    }
}

/// Applies changes to an index that many are given at once.
fn fill(index: &Index, changes: Vec<Change>) -> Result<(), LedgerError> {
    index.apply(changes);
    if index.unsealed() >= CHECKPOINT_BYTES {
        index.seal();
        index.flush()?;
    }
    Ok(())
}

fn position_row(position: u64) -> Change {
    Change { key: POSITION.to_vec(), value: Some(position.to_be_bytes().to_vec()) }
}

fn position_of(index: &Index) -> Result<u64, LedgerError> {
    let position = index.get(POSITION)?.map(|value| value.try_into().map(u64::from_be_bytes));
    position.transpose().map_err(|_| LedgerError::Damaged("the position of the index".to_owned())).map(Option::unwrap_or_default)
}

/// Puts an index with what `fill` gives it in place of the one that is there, if there is one. Returns how many rows it has.
fn replace_index(layout: &Layout<'_>, fill: impl FnOnce(&Index) -> Result<(), LedgerError>) -> Result<u64, LedgerError> {
    let (draft, index) = (layout.draft(), layout.index());
    if draft.exists() {
        fs::remove_dir_all(&draft)?;
    }
    let made = Index::open(&draft)?;
    fill(&made)?;
    made.seal();
    made.flush()?;
    let rows = made.scan(&[]).try_fold(0_u64, |rows, row| row.map(|_| rows.saturating_add(1)))?;
    drop(made);
    if index.exists() {
        fs::remove_dir_all(&index)?;
    }
    fs::rename(&draft, &index)?;
    files::sync_parent(&index)?;
    Ok(rows)
}

/// Puts the index of an earlier version into today's form.
fn replace_earlier(layout: &Layout<'_>) -> Result<(), LedgerError> {
    earlier::move_first(layout.0)?;
    if earlier::is_there(&layout.index()) {
        // sled passes over pages that never reached the medium: what was open when the machine went down is not believed.
        let is_whole = match fs::read(layout.running()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            boot => boot? == files::boot_id()?,
        };
        tracing::info!(is_whole, "the index of the ledger gets its new form");
        if is_whole {
            replace_index(layout, |index| earlier::rows(&layout.index(), |rows| fill(index, rows)))?;
        } else {
            JournaledLedger::rebuild(layout.0)?;
        }
    }
    match fs::remove_file(layout.running()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
