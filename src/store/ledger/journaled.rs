//! The ledger as the vault uses it: the journal makes transactions durable, the index finds rows.
//!
//! A transaction goes to the journal, then to the index, under one lock, so that both have the same order. It is durable when the
//! journal is synced; the index is never waited for. When much was appended, a checkpoint makes the index durable and notes in it the
//! last transaction that it has, and lets segments go that it and the last dump make needless. A start replays what came after: a
//! transaction says what rows are, so one that the index has does no harm, and one that it has in part becomes whole.
//!
//! That holds for what the kernel still has. After power loss, or a sync that failed, sled's file may lack pages in its midst, and sled
//! passes over them: an index that was open or being synced then is made anew, from the dump and the journal since.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::dump::Dump;
use super::journal::Journal;
use super::sled::SledLedger;
use super::{Change, Ledger, LedgerError, RawRow, Transaction};
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

/// What stands in place of the boot id while the index is being synced. The kernel may drop what a sync failed to write, and says so
/// once: a start that finds this does not believe the index.
const IN_DOUBT: &[u8] = b"";

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
    index: SledLedger,
    journal: Journal,
    /// Held while a transaction goes to both.
    order: Mutex<()>,
    /// Why the index or its upkeep failed: nothing is taken after that.
    failed: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct Upkeep {
    worker: Option<Worker>,
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
        move_first_index(dir)?;
        let layout = Layout(dir);
        let journal = Journal::open(layout.journal())?;
        let (boot, opened_in) = (files::boot_id()?, layout.opened_in()?);
        if opened_in.is_some_and(|before| before != boot) && layout.is_used()? {
            tracing::warn!("the machine went down while the ledger was open, or a sync failed: its index is made anew");
            Self::rebuild(dir)?;
        }
        if !layout.index().exists() && layout.is_used()? {
            return Err(LedgerError::Damaged("the index is missing: `idvault doctor --rebuild` makes it anew".to_owned()));
        }
        files::replace(&layout.running(), IN_DOUBT)?;
        let index = SledLedger::open(&layout.index())?;
        let mut position = position_of(&index)?;
        if position == 0 && index.scan(&[]).next().is_some() {
            // Rows from before there was a journal: they count as its first transaction, which only a dump can hold.
            position = 1;
        }
        let last = journal.replay(position, |changes| apply(&index, changes))?;
        files::replace(&layout.running(), &boot)?;
        let store = Store { dir: dir.to_owned(), index, journal, order: Mutex::default(), failed: Mutex::default() };
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
        let draft = dir.join("index.new");
        if draft.exists() {
            fs::remove_dir_all(&draft)?;
        }
        let index = SledLedger::open(&draft)?;
        let position = Self::replay(&layout, |changes| apply(&index, changes))?;
        apply(&index, vec![position_row(position)])?;
        index.sync(index.latest())?;
        let rows = index.scan(&[]).try_fold(0_u64, |rows, row| row.map(|_| rows.saturating_add(1)))?;
        drop(index);
        if layout.index().exists() {
            fs::remove_dir_all(layout.index())?;
        }
        fs::rename(&draft, layout.index())?;
        files::sync_parent(&layout.index())?;
        Ok(rows)
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
        self.store.index.scan_after(prefix, after)
    }

    fn apply(&self, transaction: Transaction) -> Result<Ticket, LedgerError> {
        let store = &self.store;
        let changes = transaction.into_changes();
        let _order = store.order.lock();
        store.check()?;
        let ticket = store.journal.append(&changes)?;
        // The journal has it: the index must not go on without it.
        apply(&store.index, changes).inspect_err(|error| store.fail(error))?;
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
        let mut upkeep = self.upkeep.lock();
        if let Some(Err(_)) = upkeep.worker.take_if(|worker| worker.has_ended()).map(Worker::end) {
            self.store.fail(&"upkeep panicked");
        }
        self.store.check()?;
        if upkeep.worker.as_ref().is_some_and(Worker::is_busy) {
            return Ok(());
        }
        let appended = self.store.journal.appended();
        if upkeep.dumped_on.is_none() {
            upkeep.dumped_on = self.store.last_dump()?.map(|dump| dump.day);
        }
        let is_due = appended.saturating_sub(upkeep.checkpoint_at) >= CHECKPOINT_BYTES;
        let dump = upkeep.dumped_on != Some(day) || is_due && self.store.journal.count()? >= DUMP_SEGMENTS;
        if !dump && !is_due {
            return Ok(());
        }
        upkeep.checkpoint_at = appended;
        if dump {
            upkeep.dumped_on = Some(day);
        }
        let worker = upkeep.worker.get_or_insert_with(|| Worker::start(Arc::clone(&self.store), self.reserve));
        worker.keep_up(dump.then_some(day));
        Ok(())
    }
}

impl Drop for JournaledLedger {
    fn drop(&mut self) {
        if let Some(worker) = self.upkeep.lock().worker.take() {
            // What it says it has said already.
            worker.end().unwrap_or_default();
        }
        let store = &self.store;
        // An index that is not whole is made anew.
        let close = || fs::remove_file(Layout(&store.dir).running());
        if let Err(error) = store.sync_index().and_then(|_| store.while_whole(close)) {
            tracing::warn!(%error, "the index of the ledger was not closed");
        }
    }
}

impl Store {
    /// Takes the dump of a day, if one is due, and a checkpoint.
    fn keep_up(&self, day: Option<u32>, reserve: u64) {
        // A dump first: it lets the checkpoint let go of more.
        let dumped = day.map_or(Ok(()), |day| self.dump_if_it_fits(day, reserve));
        if let Err(error) = dumped.and_then(|()| self.checkpoint()) {
            self.fail(&error);
        }
    }

    /// Makes the index durable, and lets go of what nobody needs any more.
    fn checkpoint(&self) -> Result<(), LedgerError> {
        let position = self.sync_index()?;
        self.while_whole(|| files::replace(&Layout(&self.dir).running(), &files::boot_id()?))?;
        let dumped = self.last_dump()?.map_or(0, |dump| dump.sequence);
        Ok(self.journal.forget(position.min(dumped))?)
    }

    /// Makes the index durable up to the transaction whose sequence is returned. It is in doubt until the caller says otherwise.
    fn sync_index(&self) -> Result<u64, LedgerError> {
        files::replace(&Layout(&self.dir).running(), IN_DOUBT)?;
        let position = self.settled();
        if position > 0 {
            apply(&self.index, vec![position_row(position)])?;
        }
        self.index.sync(self.index.latest())?;
        Ok(position)
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

    /// Nothing is taken from now on. sled may have made half of a transaction: the index is not to be believed any more.
    fn fail(&self, why: &dyn std::fmt::Display) {
        tracing::error!(%why, "the ledger failed");
        let mut failed = self.failed.lock();
        if let Err(error) = files::replace(&Layout(&self.dir).running(), IN_DOUBT) {
            tracing::error!(%error, "the next start may believe an index that failed");
        }
        *failed = Some(why.to_string());
    }

    /// Refuses to go on after a failure.
    fn check(&self) -> Result<(), LedgerError> {
        self.while_whole(|| Ok(()))
    }

    /// Does this unless the index has failed, which it does not meanwhile.
    fn while_whole(&self, deed: impl FnOnce() -> io::Result<()>) -> Result<(), LedgerError> {
        match &*self.failed.lock() {
            Some(reason) => Err(LedgerError::Engine(reason.clone())),
            None => Ok(deed()?),
        }
    }

    /// Takes a dump, unless it could take the room that destruction needs on a disk that is nearly full.
    fn dump_if_it_fits(&self, day: u32, reserve: u64) -> Result<(), LedgerError> {
        let disk = rustix::fs::statvfs(&self.dir).map_err(io::Error::from)?;
        // The index has every row, and more.
        let wanted = fs::metadata(Layout(&self.dir).index().join("db"))?.len().saturating_add(reserve);
        if disk.f_bavail.saturating_mul(disk.f_frsize) < wanted {
            tracing::warn!(bytes = wanted, "no dump of the ledger is taken: the disk has not so much room");
            return Ok(());
        }
        self.dump(day)
    }

    /// Takes a dump.
    fn dump(&self, day: u32) -> Result<(), LedgerError> {
        let position = self.settled();
        let settle = || self.journal.sync(self.journal.latest());
        Dump::take(&Layout(&self.dir).dumps(), (position, day), &self.index, settle)
    }

    /// The last transaction that both journal and index have.
    fn settled(&self) -> u64 {
        let _order = self.order.lock();
        self.journal.last()
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

    /// There while the index is open: in which boot it was opened, or [`IN_DOUBT`].
    fn running(&self) -> PathBuf {
        self.0.join("running")
    }

    /// In which boot the index was opened, if it was not closed since.
    fn opened_in(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.running()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            boot => boot.map(Some),
        }
    }

    /// Whether transactions were ever taken.
    fn is_used(&self) -> Result<bool, LedgerError> {
        Ok(fs::read_dir(self.journal())?.next().is_some() || Dump::newest(&self.dumps())?.is_some())
    }
}

fn apply(index: &SledLedger, changes: Vec<Change>) -> Result<(), LedgerError> {
    index.apply(changes.into()).map(|_| ())
}

fn position_row(position: u64) -> Change {
    Change { key: POSITION.to_vec(), value: Some(position.to_be_bytes().to_vec()) }
}

fn position_of(index: &SledLedger) -> Result<u64, LedgerError> {
    let position = index.get(POSITION)?.map(|value| value.try_into().map(u64::from_be_bytes));
    position.transpose().map_err(|_| LedgerError::Damaged("the position of the index".to_owned())).map(Option::unwrap_or_default)
}

/// Moves the index of a vault from before there was a journal to its place; one that was cut short goes on.
fn move_first_index(dir: &Path) -> io::Result<()> {
    let draft = dir.join("index.moving");
    // What lies beside an index came later: an older version opened the vault, found nothing and refused it.
    if dir.join("index").exists() || !dir.join("db").exists() && !draft.exists() {
        return Ok(());
    }
    files::make_dir(&draft)?;
    for entry in fs::read_dir(dir)? {
        let (name, path) = {
            let entry = entry?;
            (entry.file_name(), entry.path())
        };
        let text = name.to_string_lossy();
        if ["conf", "db", "blobs"].contains(&text.as_ref()) || text.starts_with("snap.") {
            fs::rename(path, draft.join(name))?;
        }
    }
    files::sync_parent(&draft.join("db"))?;
    fs::rename(&draft, dir.join("index"))?;
    files::sync_parent(&draft)
}

#[cfg(test)]
mod tests;
