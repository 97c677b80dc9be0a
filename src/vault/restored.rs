//! RESTORED: the ledger is older than what the keyring has seen, because a backup was put back.
//!
//! Such a ledger names records that are gone, does not name later ones, and does not know of withdrawals since. So the first start on
//! it forgets the serials that no row names, in every hour that has keys; removes the rows whose leaves are gone; and voids all jobs
//! and snapshots. Nothing is released until the operator has replayed the withdrawals and said so. The state is a file, so it outlives
//! every crash; nothing but that word ends it.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::Vault;
use super::error::Error;
use super::lineage::Receivers;
use super::shred::{ROWS_AT_ONCE, change};
use crate::domain::ids::{Hour, Place, Serial};
use crate::domain::record::RecordState;
use crate::domain::trigger::Trigger;
use crate::files;
use crate::keys::keyring::Change;
use crate::store::ledger::Transaction;
use crate::store::schema;

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A backup is being put back: what stands in the directory is neither the old nor the new.
    Replacing,
    /// An older ledger was put back, and no start has forgotten yet what it does not name.
    Replaced,
    /// Withdrawals since may be missing.
    Restored,
    /// The operator has said that none is missing.
    Completed,
}

impl Mark {
    /// What the file in a vault's directory says; nothing where there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(data_dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(path_in(data_dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            text => Ok(Some(match text?.as_slice() {
                b"replacing\n" => Self::Replacing,
                b"restored\n" => Self::Restored,
                b"completed\n" => Self::Completed,
                // Also whatever somebody made of it.
                _ => Self::Replaced,
            })),
        }
    }

    /// Says it, durably.
    pub(super) fn write(self, data_dir: &Path) -> io::Result<()> {
        let text: &[u8] = match self {
            Self::Replacing => b"replacing\n",
            Self::Replaced => b"replaced\n",
            Self::Restored => b"restored\n",
            Self::Completed => b"completed\n",
        };
        files::replace(&path_in(data_dir), text)
    }
}

fn marked<T>(result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|error| Error::Failed(format!("the file `restored`: {error}")))
}

fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("restored")
}

/// Whether the vault is RESTORED.
#[derive(Debug)]
pub(super) struct Restored {
    data_dir: PathBuf,
    is_on: AtomicBool,
    /// No start has forgotten yet what the ledger does not name. Whatever becomes of the file meanwhile, this one must.
    is_replaced: AtomicBool,
}

impl Restored {
    /// As the mark in the vault's directory has it.
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        let mark = Mark::read(data_dir)?;
        let (is_on, is_replaced) = (AtomicBool::new(mark.is_some()), AtomicBool::new(mark == Some(Mark::Replaced)));
        Ok(Self { data_dir: data_dir.to_owned(), is_on, is_replaced })
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Begins the state, whatever was said before: the ledger is older than it was then.
    pub(super) fn begin(&self) -> Result<(), Error> {
        marked(Mark::Replaced.write(&self.data_dir))?;
        self.is_on.store(true, Ordering::Release);
        self.is_replaced.store(true, Ordering::Release);
        Ok(())
    }

    /// Ends the state, if the operator has said so. Whether it ended.
    fn end_if_completed(&self) -> io::Result<bool> {
        if !self.is_on() || Mark::read(&self.data_dir)? != Some(Mark::Completed) {
            return Ok(false);
        }
        let path = path_in(&self.data_dir);
        fs::remove_file(&path)?;
        files::sync_parent(&path)?;
        self.is_on.store(false, Ordering::Release);
        Ok(true)
    }

    /// Refuses what leads to a release.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.is_on() { Err(Error::Restored) } else { Ok(()) }
    }
}

impl Vault {
    /// Whether an older ledger was put back and nothing is released until the operator says that withdrawals were replayed.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.restored.is_on()
    }

    /// Ends the state RESTORED, if the operator has said so.
    pub(super) fn end_restored(&self) -> Result<(), Error> {
        if marked(self.restored.end_if_completed())? {
            tracing::warn!("no longer RESTORED: withdrawals were replayed, says the operator");
        }
        Ok(())
    }

    /// Forgets all that an older ledger does not name, and removes what it names and is gone, if no start has. Done again it changes
    /// nothing.
    pub(super) fn forget_unnamed(&self) -> Result<(), Error> {
        if !self.restored.is_replaced.load(Ordering::Acquire) {
            return Ok(());
        }
        self.void_jobs("the vault was restored from a backup")?;
        self.void_snapshots()?;
        let ranges = self.unnamed()?;
        let change = Change { ranges: &ranges, ..change(&self.clock, self.book.durable(), &[]) };
        self.keyring.commit(&change, &self.observer)?;
        self.remove_dead()?;
        self.see_keyring(Transaction::default())?;
        marked(Mark::Restored.write(&self.restored.data_dir))
    }

    /// The serials that were drawn, or may have been, and that no row names: in hours that keep their tree. The others get a new one.
    fn unnamed(&self) -> Result<Vec<(Hour, RangeInclusive<Serial>)>, Error> {
        let (mut ranges, end) = (Vec::new(), self.keyring.next_serial());
        for hour in self.keyring.used_hours() {
            let mut next = 0;
            let places = self.book.keys(&schema::places_of(hour));
            let named = places.map(|key| Ok(schema::place_in(&key?).ok_or(Error::Damaged)?.serial.number()));
            for named in named.chain([Ok::<_, Error>(end)]) {
                let named = named?;
                let last = named.checked_sub(1).filter(|last| next <= *last);
                let range = Serial::new(next).zip(last.and_then(Serial::new));
                ranges.extend(range.map(|(first, last)| (hour, first..=last)));
                next = named.saturating_add(1);
            }
        }
        Ok(ranges)
    }

    /// Removes the rows of records whose leaves are gone: they were destroyed after the backup was taken.
    fn remove_dead(&self) -> Result<(), Error> {
        let mut dead = Vec::new();
        for key in self.book.keys(&schema::places()) {
            let place: Place = schema::place_in(&key?).ok_or(Error::Damaged)?;
            if !self.keyring.covers(place)? {
                dead.push(place);
            }
        }
        let _writes = self.writes.lock();
        for places in dead.chunks(ROWS_AT_ONCE) {
            let mut records = Vec::new();
            for place in places {
                records.extend(self.whole_record_at(*place)?.filter(|record| record.state == RecordState::Live));
            }
            // They are counted as destruction counts them.
            self.mark(Transaction::default(), &records, Trigger::RecordShredded)?;
            let (mut transaction, mut receivers) = (Transaction::default(), Receivers::default());
            for place in places {
                self.remove_rows(&mut transaction, *place, &mut receivers)?;
            }
            self.book.apply(transaction)?;
        }
        tracing::warn!(records = dead.len(), "records that were destroyed since the backup are gone");
        Ok(())
    }
}
