//! The keyring: the key tree of every hour, kept on disk so that any of it can be forgotten.
//!
//! The head holds the seeds of whole hours, the key of each punctured hour's page, and the vault's own keys. One root seals
//! exactly one head. A commit writes a new head (and the pages that changed) under a fresh root and then replaces the root:
//! from there on everything that older heads held and this one does not is gone for whoever holds every file there ever was.
//!
//! The keyring never decides what is forgotten, and never goes on after a failure: what reached the medium is found out at
//! the next start.

mod commit;
mod folder;
pub mod format;
mod start;
mod state;

use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use parking_lot::{Condvar, Mutex};

use crate::crypto::random::RandomError;
use crate::crypto::secret::Secret;
use crate::domain::ids::{Hour, Place, Serial, VaultId};
use crate::keys::root::{Custody, Evidence};
use folder::Folder;
use format::{HEARTBEAT_LEN, Head, ServiceKeys};
use start::{Opened, newest};
use state::State;

/// How many serials a commit sets aside for the run.
const SERIAL_RESERVE: u64 = 1 << 22;

/// Why the keyring cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// No head opens with a root of the cell.
    #[error("no keyring head opens with a root of this custody: it is not the one the root is in, or the keyring is damaged")]
    NotOpened,
    /// A page that the head names is not there or does not open.
    #[error("the keyring page of hour {0} is missing or damaged")]
    PageDamaged(Hour),
    /// The head has outgrown its slot.
    #[error("the keyring head does not fit its slot")]
    HeadTooLarge,
    /// What was read back from the medium still covers a serial that was to go.
    #[error("the keyring read back from the medium still holds what was to be forgotten")]
    NotForgotten,
    /// The hour has no keys: it is over, or too far ahead.
    #[error("the hour has no keys")]
    NoSuchHour,
    /// The keyring was closed after a failure.
    #[error("the keyring is closed")]
    Closed,
    /// The system gave no random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The custody of the root failed.
    #[error("the root's custody: {0}")]
    Custody(io::Error),
    /// A file could not be read or written.
    #[error("the keyring's disk: {0}")]
    Disk(#[from] io::Error),
}

/// Where a commit stands: the steps of a shred that a crash may fall between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Steps 0 and 1: the records are marked, in memory and in the ledger.
    Marked,
    /// Step 2: the new pages and head are on the medium, sealed under the new root.
    Written,
    /// Step 3, the commit point: the new root is durable, the old one still there.
    Durable,
    /// Step 3 done: only the new root is left.
    Settled,
    /// Step 4: the rows are gone.
    Finished,
}

/// What a commit changes.
#[derive(Debug)]
pub struct Change<'a> {
    /// Records to be forgotten.
    pub punctures: &'a [Place],
    /// Serials to be forgotten, whether or not there were records: a ledger that was put back may have lost them.
    pub ranges: &'a [(Hour, RangeInclusive<Serial>)],
    /// Hours up to this one are forgotten whole, and hours after it are planted.
    pub over: Hour,
    /// How many hours ahead of `over` are planted.
    pub horizon: u32,
    /// Two-year rows due before this month are forgotten, and the months after it are planted.
    pub month: u16,
    /// How many months ahead are planted.
    pub months: u16,
    /// The last transaction of the ledger that is durable.
    pub ledger_sequence: u64,
    /// The trusted time.
    pub heartbeat: [u8; HEARTBEAT_LEN],
}

/// A commit that happened.
#[derive(Debug)]
pub struct Committed {
    /// The generation of the head whose root is destroyed.
    pub before: u64,
    /// The generation of the new head.
    pub generation: u64,
    /// What the custody says of that destruction.
    pub evidence: Evidence,
}

/// The keyring of a running vault.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Keyring {
    folder: Folder,
    state: Mutex<State>,
    /// Signalled when a commit ends: serials and hours that uploads wait for may be there.
    committed: Condvar,
    /// Held by the one commit under way.
    custody: Mutex<Box<dyn Custody>>,
}

impl Keyring {
    /// Makes the keyring of a new vault, the same in each of `dirs`, under a first root of the custody.
    ///
    /// # Errors
    /// When the disk or the custody fails.
    pub fn create(
        dirs: &[PathBuf],
        vault: &VaultId,
        custody: Box<dyn Custody>,
        change: &Change<'_>,
    ) -> Result<Self, KeyringError> {
        let folder = Folder::new(dirs, vault);
        folder.make()?;
        let service = ServiceKeys { index: Secret::random()?, ledger: Secret::random()?, clock: Secret::random()? };
        let head = Head {
            generation: 0,
            serial_limit: 0,
            ledger_sequence: 0,
            heartbeat: change.heartbeat,
            service,
            months: Vec::new(),
            hours: Vec::new(),
        };
        let keyring = Self::with(folder, custody, State::new(head));
        keyring.commit(change, &|_| ())?;
        Ok(keyring)
    }

    /// Opens the keyring in `dirs` with the newest root whose head opens, and destroys every other root. What one directory
    /// lacks is copied there from another.
    ///
    /// No serial can be drawn until the first commit has set some aside, after [`Keyring::mark_used`].
    ///
    /// Of the pages only those of the last commit are read before their hour is asked for, and those that a directory lacks. One that
    /// is nowhere is noticed here, a damaged one then.
    ///
    /// # Errors
    /// When no head opens, a page is missing, or the disk or the custody fails.
    pub fn open(dirs: &[PathBuf], vault: &VaultId, mut custody: Box<dyn Custody>) -> Result<Self, KeyringError> {
        let folder = Folder::new(dirs, vault);
        folder.make()?;
        let Opened { handle, head, slot } = newest(&folder, custody.as_ref())?;
        custody.settle(&handle).map_err(KeyringError::Custody)?;
        let state = State::new(head);
        folder.keep(&slot, handle.generation, &state.pages().collect::<Vec<_>>())?;
        Ok(Self::with(folder, custody, state))
    }

    /// The key that seals ledger rows, read without changing anything.
    ///
    /// # Errors
    /// When no head opens, or the custody fails.
    pub fn ledger_key_in(dirs: &[PathBuf], vault: &VaultId, custody: &dyn Custody) -> Result<Secret, KeyringError> {
        newest(&Folder::new(dirs, vault), custody).map(|opened| opened.head.service.ledger)
    }

    /// The generation of the newest head that this custody opens, read without changing anything.
    ///
    /// # Errors
    /// When no head opens, or the custody fails.
    pub fn generation_in(dirs: &[PathBuf], vault: &VaultId, custody: &dyn Custody) -> Result<u64, KeyringError> {
        newest(&Folder::new(dirs, vault), custody).map(|opened| opened.handle.generation)
    }

    fn with(folder: Folder, custody: Box<dyn Custody>, state: State) -> Self {
        Self { folder, state: Mutex::new(state), committed: Condvar::new(), custody: Mutex::new(custody) }
    }

    /// Draws a serial in `hour` for a new record, with its leaf. Waits while a commit plants or no serial is set aside.
    ///
    /// # Errors
    /// When the hour has no keys or its page is damaged, or the keyring was closed.
    pub fn draw(&self, hour: Hour) -> Result<(Place, Secret), KeyringError> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return Err(KeyringError::Closed);
            }
            let (planting, exhausted) = (state.planting, state.next_serial >= state.serial_limit);
            let keys = state.hours.get_mut(&hour).ok_or(KeyringError::NoSuchHour)?;
            if !exhausted && (keys.used || !planting) {
                keys.used = true;
                break;
            }
            self.committed.wait(&mut state);
        }
        let serial = if let Some(serial) = state.spare.get_mut(&hour).and_then(Vec::pop) {
            serial
        } else {
            let serial = Serial::new(state.next_serial).ok_or(KeyringError::NoSuchHour)?;
            state.next_serial = state.next_serial.saturating_add(1);
            serial
        };
        let leaf = state.tree(hour, &self.folder)?.and_then(|tree| tree.leaf(serial)).ok_or(KeyringError::NoSuchHour)?;
        Ok((Place { hour, serial }, leaf))
    }

    /// Gives back a serial under which nothing was written: another record of the hour can have it, and no page of the tree grows.
    pub fn give_back(&self, place: Place) {
        self.state.lock().spare.entry(place.hour).or_default().push(place.serial);
    }

    /// Gives up a serial whose record did not come to be, although some of it was written: it is forgotten with the next commit.
    pub fn abandon(&self, place: Place) {
        self.state.lock().abandoned.push(place);
    }

    /// The leaf of a record, or `None` when it is gone.
    ///
    /// # Errors
    /// When the page of its hour is damaged or cannot be read.
    pub fn leaf(&self, place: Place) -> Result<Option<Secret>, KeyringError> {
        Ok(self.state.lock().tree(place.hour, &self.folder)?.and_then(|tree| tree.leaf(place.serial)))
    }

    /// Whether a record's leaf is still there.
    ///
    /// # Errors
    /// As [`Keyring::leaf`].
    pub fn covers(&self, place: Place) -> Result<bool, KeyringError> {
        Ok(self.state.lock().tree(place.hour, &self.folder)?.is_some_and(|tree| tree.covers(place.serial)))
    }

    /// The hours whose trees are in memory, and how many nodes each of them holds.
    #[must_use]
    pub fn in_memory(&self) -> Vec<(Hour, usize)> {
        self.state.lock().in_memory().collect()
    }

    /// Says that records live in this hour, so that no commit gives it a fresh seed.
    pub fn mark_used(&self, hour: Hour) {
        if let Some(keys) = self.state.lock().hours.get_mut(&hour) {
            keys.used = true;
        }
    }

    /// The first hour that still has keys.
    #[must_use]
    pub fn first_hour(&self) -> Option<Hour> {
        self.state.lock().hours.keys().next().copied()
    }

    /// The hours whose seeds no commit replaces: records live in them, or did.
    #[must_use]
    pub fn used_hours(&self) -> Vec<Hour> {
        self.state.lock().hours.iter().filter(|(_, keys)| keys.used).map(|(hour, _)| *hour).collect()
    }

    /// The first serial that was never drawn.
    #[must_use]
    pub fn next_serial(&self) -> u64 {
        self.state.lock().next_serial
    }

    /// The last transaction of the ledger that was durable at the last commit; 0 in a head that knows nothing of it.
    #[must_use]
    pub fn ledger_sequence(&self) -> u64 {
        self.state.lock().ledger_sequence
    }

    /// The generation of the head on disk.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.state.lock().generation
    }

    /// The heartbeat saved with the last commit.
    #[must_use]
    pub fn heartbeat(&self) -> [u8; HEARTBEAT_LEN] {
        self.state.lock().heartbeat
    }

    /// Whether half of the serials set aside are used, so that a commit should set aside more.
    #[must_use]
    pub fn runs_low(&self) -> bool {
        let state = self.state.lock();
        state.serial_limit.saturating_sub(state.next_serial) < SERIAL_RESERVE / 2
    }

    /// A copy of the key that hashes names in ledger keys.
    #[must_use]
    pub fn index_key(&self) -> Secret {
        copy(&self.state.lock().service.index)
    }

    /// A copy of the key that seals ledger rows.
    #[must_use]
    pub fn ledger_key(&self) -> Secret {
        copy(&self.state.lock().service.ledger)
    }

    /// A copy of the key that authenticates the saved clock.
    #[must_use]
    pub fn clock_key(&self) -> Secret {
        copy(&self.state.lock().service.clock)
    }

    /// A copy of the key of a month of two-year rows, or `None` when the month is over or too far ahead.
    #[must_use]
    pub fn month_key(&self, month: u16) -> Option<Secret> {
        self.state.lock().months.get(&month).map(copy)
    }

    /// Refuses all further work, and releases those who wait for serials.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.committed.notify_all();
    }
}

fn copy(secret: &Secret) -> Secret {
    Secret::build(|bytes| bytes.copy_from_slice(secret.expose()))
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests;
