//! The vault: the use cases, one file each, and the order in which their effects happen.
//!
//! Everything here blocks; callers run it off the async threads, where a client that hangs up cuts nothing short. A use
//! case that changes rows does so under `writes`, applies one transaction and syncs it before it answers. The first failure
//! of disk, ledger or keyring stops the vault: nobody guesses what reached the medium, the next start finds out.

pub mod certificates;
pub mod consents;
pub mod error;
pub mod ingest;
pub mod jobs;
pub mod lineage;
pub mod pages;
pub mod records;
pub mod release;
pub mod restore;
pub mod restored;
pub mod retention;
pub mod shred;
pub mod shred_tenant;
pub mod snapshots;
pub mod tenants;
pub mod trust;
pub mod verify;
pub mod withdraw;

mod book;
mod counts;
mod gate;
mod metadata;
mod moving;
mod recover;
mod requests;
mod rows;
mod stop;

pub use book::open_row;
pub use counts::Count;
pub use recover::{Blueprint, OpenError, would_be_new};
pub use rows::{RecordRow, Row};
pub use stop::Stop;

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::audit::note::NoteSigner;
use crate::clock::Clock;
use crate::domain::ids::{Place, RecordId, VaultId};
use crate::domain::record::Record;
use crate::domain::retention::Now;
use crate::keys::keyring::{Keyring, Step};
use crate::store::volume::Volumes;
use book::Book;
use certificates::Certified;
use counts::Counts;
use error::Error;
use gate::Gate;
use ingest::Entrance;
use lineage::Lineage;
use restored::Restored;
use shred::Batches;
use trust::Kept;

/// A running vault.
#[expect(missing_debug_implementations, reason = "holds the keyring")]
pub struct Vault {
    id: VaultId,
    clock: Clock,
    keyring: Arc<Keyring>,
    book: Book,
    volumes: Volumes,
    gate: Gate,
    counts: Mutex<Counts>,
    lineage: Lineage,
    batches: Batches,
    certified: Certified,
    signer: NoteSigner,
    /// In how many directories the keyring is.
    keyrings: usize,
    entrance: Entrance,
    stop: Stop,
    restored: Restored,
    /// Held while rows are read, judged and changed, so that nothing changes in between.
    writes: Mutex<()>,
    /// What was saved of the clock, and where.
    kept: Mutex<Kept>,
    data_dir: PathBuf,
    observer: Box<dyn Fn(Step) + Send + Sync>,
    /// Held for the vault's life: one process serves a directory.
    _lock: std::fs::File,
}

impl Vault {
    /// The vault's id: the audience of its receipts.
    #[must_use]
    pub fn id(&self) -> &VaultId {
        &self.id
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What says that the vault has stopped, and why.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Stops the vault if this is a failure: after one nobody knows what the disk holds. Refusals pass.
    pub fn stop_if_failed(&self, error: Error) -> Error {
        let Error::Failed(reason) = error else { return error };
        tracing::error!(%reason, "the vault stops");
        self.keyring.close();
        self.stop.stop(reason);
        Error::Stopped
    }

    /// The time, for taking in and releasing: refused while the vault has stopped or the clock cannot be trusted.
    fn working_now(&self) -> Result<Now, Error> {
        self.stop.check()?;
        let times = self.clock.times();
        if times.trusted { Ok(Now { lo: times.lo, hi: times.hi }) } else { Err(Error::ClockUntrusted) }
    }

    /// The time, for looking at what is there and for making less of it.
    fn now(&self) -> Result<Now, Error> {
        self.stop.check()?;
        let times = self.clock.times();
        Ok(Now { lo: times.lo, hi: times.hi })
    }

    /// The record at a place, if its rows are there.
    fn record_at(&self, place: Place) -> Result<Option<Record>, Error> {
        let Some((tenant, record)) = self.book.place(place)? else { return Ok(None) };
        self.book.record(&tenant, record)
    }

    /// The record at a place, if its rows are there and whole: for those who remove what is left of it, which a damaged row
    /// must not stop.
    fn whole_record_at(&self, place: Place) -> Result<Option<Record>, Error> {
        match self.record_at(place) {
            Err(Error::Damaged) => {
                tracing::error!(hour = %place.hour, serial = place.serial.number(), "the rows of a record are damaged");
                Ok(None)
            }
            record => record,
        }
    }
}

/// A fresh `UUIDv7` for the time `now`, its random bits from the system.
fn new_uuid(now: Now) -> Result<uuid::Uuid, Error> {
    let millis = u64::try_from(now.lo.timestamp_millis()).unwrap_or(0);
    Ok(uuid::Builder::from_unix_timestamp_millis(millis, &crate::crypto::random::array()?).into_uuid())
}

/// A fresh record id.
fn new_record_id(now: Now) -> Result<RecordId, Error> {
    new_uuid(now).map(RecordId)
}
