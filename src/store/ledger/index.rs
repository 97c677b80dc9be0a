//! The index: finds rows. A log-structured merge tree (O'Neil, Cheng, Gawlick and O'Neil, Acta Informatica 1996) of the crate lsm-tree.
//!
//! Changes are in memory until a flush makes them durable, and a flush is all or nothing: what is on disk is the rows as they were when
//! [`Index::seal`] was called, whatever crashes. What came after is the journal's to say. Memory does not grow with the rows.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use lsm_tree::compaction::Leveled;
use lsm_tree::config::PinningPolicy;
use lsm_tree::{AbstractTree, AnyTree, Cache, Config, DescriptorTable, Guard, IterGuardImpl, SeqNo, SequenceNumberCounter};
use parking_lot::RwLock;

use super::{Change, LedgerError, RawRow};

/// How much memory blocks of its files may take that are kept at hand, in bytes.
const CACHE_BYTES: u64 = 32 << 20;
/// How many of its files are kept open.
const MAX_OPEN: usize = 64;

/// Rows by their keys.
pub(super) struct Index {
    tree: AnyTree,
    /// Numbers changes, and what the tree does with its files.
    sequence: SequenceNumberCounter,
    /// Held for writing while changes are applied: whoever reads sees all of them or none.
    whole: RwLock<()>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Index {
    /// Opens the index in the directory `dir`, made if absent.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub(super) fn open(dir: &Path) -> Result<Self, LedgerError> {
        let sequence = SequenceNumberCounter::default();
        // Filters and indexes of blocks are read as they are wanted, through the cache: pinned they would take memory for each row.
        let tree = Config::new(dir, sequence.clone(), SequenceNumberCounter::default())
            .use_cache(Arc::new(Cache::with_capacity_bytes(CACHE_BYTES)))
            .use_descriptor_table(Some(Arc::new(DescriptorTable::new(MAX_OPEN))))
            .index_block_partitioning_policy(PinningPolicy::all(true))
            .filter_block_partitioning_policy(PinningPolicy::all(true))
            .index_block_pinning_policy(PinningPolicy::all(false))
            .filter_block_pinning_policy(PinningPolicy::all(false))
            .open()?;
        sequence.set(tree.get_highest_seqno().map_or(0, |highest| highest.saturating_add(1)));
        crate::files::sync_parent(dir)?;
        Ok(Self { tree, sequence, whole: RwLock::default() })
    }

    /// The value under `key`.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        let _whole = self.whole.read();
        Ok(self.tree.get(key, SeqNo::MAX)?.map(|value| value.to_vec()))
    }

    /// The rows whose keys begin with `prefix`, ascending, as they are now.
    pub(super) fn scan(&self, prefix: &[u8]) -> impl Iterator<Item = Result<RawRow, LedgerError>> + use<> {
        let _whole = self.whole.read();
        self.tree.prefix(prefix, self.sequence.get(), None).map(raw)
    }

    /// The rows whose keys begin with `prefix` and come after `after`, ascending, as they are now.
    pub(super) fn scan_after(&self, prefix: &[u8], after: &[u8]) -> impl Iterator<Item = Result<RawRow, LedgerError>> + use<> {
        let prefix = prefix.to_vec();
        let _whole = self.whole.read();
        let rows = self.tree.range::<&[u8], _>((Bound::Excluded(after), Bound::Unbounded), self.sequence.get(), None).map(raw);
        rows.take_while(move |row| row.as_ref().map_or(true, |row| row.key.starts_with(&prefix)))
    }

    /// Applies changes together: visible at once, not yet durable.
    pub(super) fn apply(&self, changes: Vec<Change>) {
        let _whole = self.whole.write();
        let sequence = self.sequence.next();
        for Change { key, value } in changes {
            match value {
                Some(value) => self.tree.insert(key, value, sequence),
                None => self.tree.remove(key, sequence),
            };
        }
    }

    /// How many bytes of changes the next flush has to write, if it were sealed now.
    pub(super) fn unsealed(&self) -> u64 {
        self.tree.active_memtable().size()
    }

    /// Sets apart what the next flush makes durable: all changes up to now.
    pub(super) fn seal(&self) {
        self.tree.rotate_memtable();
    }

    /// Makes durable what was sealed, all of it or nothing.
    ///
    /// # Errors
    /// When the disk fails. The files are then as they were.
    pub(super) fn flush(&self) -> Result<(), LedgerError> {
        let lock = self.tree.get_flush_lock();
        self.tree.flush(&lock, self.sequence.get())?;
        Ok(())
    }

    /// Merges files, where too much of them is superseded or there are too many to look into.
    ///
    /// # Errors
    /// When the disk fails. The files are then as they were.
    pub(super) fn compact(&self) -> Result<(), LedgerError> {
        let strategy = Arc::new(Leveled::default());
        loop {
            let before = self.tree.current_version().id();
            self.tree.compact(Arc::<Leveled>::clone(&strategy), self.sequence.get())?;
            if self.tree.current_version().id() == before {
                return Ok(());
            }
        }
    }

    /// How many bytes its rows take, on disk and in memory.
    pub(super) fn size(&self) -> u64 {
        self.tree.disk_space().saturating_add(self.unsealed())
    }
}

fn raw(row: IterGuardImpl) -> Result<RawRow, LedgerError> {
    let (key, value) = row.into_inner()?;
    Ok(RawRow { key: key.to_vec(), value: value.to_vec() })
}

impl From<lsm_tree::Error> for LedgerError {
    fn from(error: lsm_tree::Error) -> Self {
        if let lsm_tree::Error::Io(error) = error { Self::Disk(error) } else { Self::Engine(error.to_string()) }
    }
}
