//! The ledger on sled.
//!
//! sled's flush is no barrier against power loss: on Linux it calls `sync_file_range`, which writes neither the file's
//! metadata nor the device's cache. So a sync here is sled's flush and then an fsync of its file `db`.

use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

use parking_lot::RwLock;

use super::{Change, Ledger, LedgerError, RawRow, Transaction};
use crate::store::group::{Group, Ticket};

/// How much memory sled may use for pages it keeps at hand, in bytes.
const CACHE_BYTES: u64 = 64 << 20;

/// Bytes of sled's log segments. What is larger than a quarter of one goes to a file of its own under `blobs`, which sled never
/// syncs: sixteen rows of a node must stay below.
const SEGMENT_BYTES: usize = 4 << 20;

/// How often sled's files are tried, and after which pause, while a ledger of this process still lets go of them.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// Rows in one sled tree. A transaction is seen whole or not at all; whether a crash leaves all of it is for the journal to mend. sled's
/// own batches would see to that too, but write and sync a buffer each.
#[derive(Debug)]
pub struct SledLedger {
    db: ::sled::Db,
    /// Held for writing while a transaction is applied.
    whole: RwLock<()>,
    pub(super) file: File,
    group: Group,
}

impl SledLedger {
    /// Opens the ledger in the directory `dir`, made if absent.
    ///
    /// # Errors
    /// When sled cannot open its files.
    pub fn open(dir: &Path) -> Result<Self, LedgerError> {
        // No flushing of its own: every transaction that matters is synced by whoever answers for it.
        remove_drafts(dir)?;
        let config = ::sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).segment_size(SEGMENT_BYTES);
        let db = open_patiently(&config.flush_every_ms(None))?;
        db.flush()?;
        let file = File::open(dir.join("db"))?;
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        crate::files::sync_parent(dir)?;
        Ok(Self { db, whole: RwLock::default(), file, group: Group::default() })
    }
}

impl SledLedger {
    /// The rows that sled gives, each read between transactions.
    fn wholly(&self, mut rows: ::sled::Iter) -> Box<dyn Iterator<Item = Result<RawRow, LedgerError>> + '_> {
        Box::new(std::iter::from_fn(move || {
            let _whole = self.whole.read();
            rows.next().map(raw)
        }))
    }
}

/// Removes snapshots that a crash cut short: sled would take one for the latest, and refuse to open. The one before is still there.
fn remove_drafts(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Opens sled's files. Its threads let go of them a moment after a ledger of this process was dropped; that nobody else has them,
/// the lock of the vault's directory sees to.
fn open_patiently(config: &::sled::Config) -> Result<::sled::Db, ::sled::Error> {
    let mut tries = 1_u32;
    loop {
        match config.open() {
            Err(error) if tries < TRIES && error.to_string().contains("could not acquire lock") => std::thread::sleep(PAUSE),
            opened => return opened,
        }
        tries = tries.saturating_add(1);
    }
}

impl Ledger for SledLedger {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        let _whole = self.whole.read();
        Ok(self.db.get(key)?.map(|value| value.to_vec()))
    }

    fn scan(&self, prefix: &[u8]) -> Box<dyn Iterator<Item = Result<RawRow, LedgerError>> + '_> {
        self.wholly(self.db.scan_prefix(prefix))
    }

    fn scan_after(&self, prefix: &[u8], after: &[u8]) -> Box<dyn Iterator<Item = Result<RawRow, LedgerError>> + '_> {
        let prefix = prefix.to_vec();
        let rows = self.wholly(self.db.range::<&[u8], _>((Bound::Excluded(after), Bound::Unbounded)));
        Box::new(rows.take_while(move |row| row.as_ref().map_or(true, |row| row.key.starts_with(&prefix))))
    }

    fn apply(&self, transaction: Transaction) -> Result<Ticket, LedgerError> {
        let _whole = self.whole.write();
        for Change { key, value } in transaction.into_changes() {
            match value {
                Some(value) => self.db.insert(key, value)?,
                None => self.db.remove(key)?,
            };
        }
        Ok(self.group.wrote())
    }

    fn latest(&self) -> Ticket {
        self.group.latest()
    }

    fn durable(&self) -> u64 {
        0
    }

    fn sync(&self, ticket: Ticket) -> Result<(), LedgerError> {
        Ok(self.group.make_durable(ticket, || {
            self.db.flush()?;
            self.file.sync_all()
        })?)
    }

    fn keep(&self, _day: u32) -> Result<(), LedgerError> {
        Ok(())
    }
}

fn raw(row: ::sled::Result<(::sled::IVec, ::sled::IVec)>) -> Result<RawRow, LedgerError> {
    let (key, value) = row?;
    Ok(RawRow { key: key.to_vec(), value: value.to_vec() })
}

impl From<::sled::Error> for LedgerError {
    fn from(error: ::sled::Error) -> Self {
        Self::Engine(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(changes: &[(&[u8], Option<&[u8]>)]) -> Transaction {
        let mut transaction = Transaction::default();
        for (key, value) in changes {
            match value {
                Some(value) => transaction.put(key.to_vec(), value.to_vec()),
                None => transaction.remove(key.to_vec()),
            }
        }
        transaction
    }

    #[test]
    fn synced_rows_are_there_after_reopening_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let ledger = SledLedger::open(&path).unwrap();
        ledger.apply(transaction(&[(b"b2", Some(b"2")), (b"b1", Some(b"1")), (b"c", Some(b"3"))])).unwrap();
        let ticket = ledger.apply(transaction(&[(b"c", None), (b"b3", Some(b"3"))])).unwrap();
        ledger.sync(ticket).unwrap();
        drop(ledger);
        let ledger = SledLedger::open(&path).unwrap();
        let keys: Vec<_> = ledger.scan(b"b").map(|row| row.unwrap().key).collect();
        assert_eq!(keys, [b"b1", b"b2", b"b3"]);
        assert_eq!(ledger.get(b"c").unwrap(), None);
        let after: Vec<_> = ledger.scan_after(b"b", b"b1").map(|row| row.unwrap().key).collect();
        assert_eq!(after, [b"b2", b"b3"]);
    }

    #[test]
    fn a_snapshot_that_a_crash_cut_short_is_not_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..3 {
            let ledger = SledLedger::open(dir.path()).unwrap();
            assert_eq!(ledger.scan(b"").count(), number);
            ledger.sync(ledger.apply(transaction(&[(&[u8::try_from(number).unwrap()], Some(b"1"))])).unwrap()).unwrap();
            drop(ledger);
            // As a kill while sled opens may leave it.
            fs::write(dir.path().join("snap.0000010000000000.generating"), b"half").unwrap();
        }
    }
}
