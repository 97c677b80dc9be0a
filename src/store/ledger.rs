//! The ledger: small rows under ordered keys, changed in transactions.
//!
//! Keys carry no personal data and values arrive sealed (`vault/book.rs`), so this seam knows bytes only; another engine
//! fits behind it. A transaction is seen by readers at once and is durable when [`Ledger::sync`] returns for its ticket:
//! callers that answer for a row, their own or one they found, sync first.

mod changes;
mod dump;
mod earlier;
mod index;
mod journal;
pub mod journaled;

use std::io;

use super::group::Ticket;

/// A failure of the ledger. The vault stops at the first one: what reached the disk is found out at the next start.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The engine failed or its files are damaged.
    #[error("the ledger's engine: {0}")]
    Engine(String),
    /// What the journal or a dump must hold is not there, or not whole.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    /// The disk failed.
    #[error("the ledger's disk: {0}")]
    Disk(#[from] io::Error),
}

/// A row as the engine gives it: its key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRow {
    /// The whole key.
    pub key: Vec<u8>,
    /// The sealed value.
    pub value: Vec<u8>,
}

/// A change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The row's key.
    pub key: Vec<u8>,
    /// Its new value; none where the row goes.
    pub value: Option<Vec<u8>>,
}

/// Changes that happen together or not at all.
#[derive(Debug, Default)]
pub struct Transaction {
    changes: Vec<Change>,
}

impl Transaction {
    /// Puts a row, in place of an older one under the same key.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.push(Change { key, value: Some(value) });
    }

    /// Removes a row, if it is there.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.changes.push(Change { key, value: None });
    }

    /// The changes in the order they were made.
    #[must_use]
    pub fn into_changes(self) -> Vec<Change> {
        self.changes
    }
}

impl From<Vec<Change>> for Transaction {
    fn from(changes: Vec<Change>) -> Self {
        Self { changes }
    }
}

/// An ordered store of small rows.
pub trait Ledger: std::fmt::Debug + Send + Sync {
    /// The value under `key`.
    ///
    /// # Errors
    /// When the engine fails.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError>;

    /// The rows whose keys begin with `prefix`, ascending.
    fn scan(&self, prefix: &[u8]) -> Box<dyn Iterator<Item = Result<RawRow, LedgerError>> + '_>;

    /// The rows whose keys begin with `prefix` and come after `after`, ascending.
    fn scan_after(&self, prefix: &[u8], after: &[u8]) -> Box<dyn Iterator<Item = Result<RawRow, LedgerError>> + '_>;

    /// Applies a transaction: visible at once, not yet durable.
    ///
    /// # Errors
    /// When the engine fails.
    fn apply(&self, transaction: Transaction) -> Result<Ticket, LedgerError>;

    /// The ticket of the latest transaction applied.
    fn latest(&self) -> Ticket;

    /// The sequence of the last transaction that is known to be durable: all of them when the ledger was opened. It rises by one with
    /// each transaction, from run to run.
    fn durable(&self) -> u64;

    /// Returns once everything up to `ticket` is durable.
    ///
    /// # Errors
    /// When the disk fails, now or before.
    fn sync(&self, ticket: Ticket) -> Result<(), LedgerError>;

    /// Does what is to be done from time to time, in the background; to be called often, with the day that it is.
    ///
    /// # Errors
    /// When it has failed.
    fn keep(&self, day: u32) -> Result<(), LedgerError>;
}
