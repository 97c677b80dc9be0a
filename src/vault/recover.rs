//! Opening a vault: making one in an empty directory, or finishing what a crash left half done, before anything is served.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::book::Book;
use super::certificates::{Certified, open_signer};
use super::counts::Counts;
use super::error::Error;
use super::gate::Gate;
use super::ingest::Entrance;
use super::lineage::Lineage;
use super::restored::{Mark, Restored};
use super::rows::VaultRow;
use super::shred::{Batches, change};
use super::trust::{Kept, heartbeat_in, read_heartbeat};
use super::{Stop, Vault};
use crate::clock::{Clock, Heartbeat, Limits, Source};
use crate::domain::ids::VaultId;
use crate::files;
use crate::keys;
use crate::keys::keyring::{Keyring, KeyringError, Step};
use crate::keys::root::Custody;
use crate::store::ledger::journaled::JournaledLedger;
use crate::store::ledger::{LedgerError, Transaction};
use crate::store::schema;
use crate::store::volume::{RESERVE, VolumeError, Volumes};

/// Why a vault does not open. Nothing was served, nothing was destroyed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process serves the directory: try again when it is done.
    #[error("another process holds {0}")]
    Locked(PathBuf),
    /// There is data, but the file that its keys hang on is missing.
    #[error("{0} is missing, but the directory holds data: restore it; without it the data cannot be opened")]
    Missing(PathBuf),
    /// There is no vault here.
    #[error("{0} holds no vault yet")]
    Empty(PathBuf),
    /// The keyring does not open, or is not what belongs here.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The keyring is older than the ledger: somebody put old files back.
    #[error("the keyring is of generation {keyring}, the ledger has seen {ledger}: an older keyring was put back")]
    RolledBack {
        /// The keyring's generation.
        keyring: u64,
        /// The generation that the ledger has seen.
        ledger: u64,
    },
    /// Putting a backup back was cut short.
    #[error("{0}: a backup is being put back, or was when it was cut short: run `idvault restore` again")]
    Replacing(PathBuf),
    /// Moving the root was cut short.
    #[error("{path}: the root is being moved, or was when it was cut short: run `idvault root move --to {to}` again")]
    Moving {
        /// The directory.
        path: PathBuf,
        /// The new custody.
        to: String,
    },
    /// The move that was cut short was to another custody.
    #[error("the root was being moved to the custody {0} when that was cut short: move it there first")]
    MovingElsewhere(String),
    /// The ledger does not open.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The volumes do not open.
    #[error(transparent)]
    Volumes(#[from] VolumeError),
    /// Recovery failed.
    #[error("recovery: {0}")]
    Recovery(#[from] Error),
    /// The directory or the clock cannot be read or written.
    #[error("{path}: {error}")]
    Disk {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// All that a vault is opened with.
#[expect(missing_debug_implementations, reason = "holds closures")]
pub struct Blueprint {
    /// The vault's id; that of an existing vault must be the same.
    pub id: VaultId,
    /// The directory of its data.
    pub data_dir: PathBuf,
    /// Where time comes from.
    pub source: Box<dyn Source>,
    /// How far a wall clock is believed.
    pub limits: Limits,
    /// How many bytes uploads leave free on the disk.
    pub reserve: u64,
    /// Where its keys are.
    pub keys: keys::Setting,
    #[expect(clippy::type_complexity, reason = "said in one place")]
    /// Wraps the custody of the root. Tests put one here that fails to forget, to see that they notice.
    pub custody: Box<dyn FnOnce(Box<dyn Custody>) -> Box<dyn Custody> + Send>,
    /// Told of each step of a shred. Tests take images of the directory here.
    pub observer: Box<dyn Fn(Step) + Send + Sync>,
}

impl Blueprint {
    /// The usual vault: its keys in its own directory, and nobody watching.
    #[must_use]
    pub fn new(id: VaultId, data_dir: PathBuf, source: Box<dyn Source>, limits: Limits) -> Self {
        let keys = keys::Setting::in_directory(&data_dir);
        Self {
            id,
            data_dir,
            source,
            limits,
            reserve: RESERVE,
            keys,
            custody: Box::new(|custody| custody),
            observer: Box::new(|_| ()),
        }
    }

    /// Opens the vault, made if the directory is empty. When this returns, everything due is destroyed and everything half
    /// done is finished or undone.
    ///
    /// # Errors
    /// When the vault must not be served; see [`OpenError`].
    pub fn open(self) -> Result<Vault, OpenError> {
        Layout(self.data_dir.clone()).must_not_be_moving()?;
        self.open_while_moving()
    }

    /// The same, also while the root is being moved.
    pub(super) fn open_while_moving(self) -> Result<Vault, OpenError> {
        let layout = Layout(self.data_dir);
        layout.is_new_or_has(&self.keys)?;
        let lock = layout.lock()?;
        // Again, now that nobody else can make one: what was said before the lock may be about an earlier moment.
        let is_new = layout.is_new_or_has(&self.keys)?;
        if is_new {
            layout.begin(&self.id, &self.keys)?;
        }
        layout.clear_staging()?;
        let keyring = self.keys.keyring(&layout.0);
        let keyrings = keyring.len();
        let (keyring, clock, seen) = if is_new {
            let clock = layout.reading(Clock::start(self.source, self.limits, None))?;
            let custody = (self.custody)(custody_of(self.keys.root.create(&self.id))?);
            (Keyring::create(&keyring, &self.id, custody, &change(&clock, 0, &[]))?, clock, 0)
        } else {
            let keyring = Keyring::open(&keyring, &self.id, (self.custody)(custody_of(self.keys.root.open(&self.id))?))?;
            let (saved, seen) = newest_heartbeat(&keyring, &heartbeat_in(&layout.0));
            (keyring, layout.reading(Clock::start(self.source, self.limits, saved))?, seen)
        };
        let keyring = Arc::new(keyring);
        let ledger = JournaledLedger::open(&layout.ledger())?.with_reserve(self.reserve);
        let book = Book::new(Box::new(ledger), Arc::clone(&keyring));
        let has_signed = book.keys(&schema::certificates()).next().transpose()?.is_some();
        let signer = layout.reading(open_signer(&layout.signing(), &self.id, has_signed))?;
        let vault = Vault {
            gate: Gate::new(keyring.generation()),
            counts: Mutex::new(Counts::load(&book)?),
            lineage: Lineage::default(),
            batches: Batches::default(),
            certified: Certified::default(),
            signer,
            keyrings,
            entrance: Entrance::default(),
            stop: Stop::default(),
            restored: layout.reading(Restored::open(&layout.0))?,
            writes: Mutex::default(),
            kept: Mutex::new(Kept::default()),
            data_dir: layout.0.clone(),
            volumes: Volumes::open(layout.volumes(), self.reserve)?,
            observer: self.observer,
            id: self.id,
            _lock: lock,
            clock,
            keyring,
            book,
        };
        vault.recover(seen)?;
        layout.end()?;
        Ok(vault)
    }
}

impl Vault {
    /// Finishes what a crash left half done and destroys what is due, by one commit. `seen` is how far the ledger is known to have
    /// come.
    fn recover(&self, seen: u64) -> Result<(), OpenError> {
        let (keyring, row) = (self.keyring.generation(), self.book.get::<VaultRow>(&schema::vault())?);
        let (ledger, indexed) = row.map_or((0, false), |row| (row.keyring_generation, row.subjects_indexed));
        if keyring < ledger {
            return Err(OpenError::RolledBack { keyring, ledger });
        }
        // What was seen was durable, and a commit ends before the next begins: a crash leaves the ledger one commit behind at the most.
        if self.book.durable() < seen || keyring > ledger.saturating_add(1) {
            self.restored.begin()?;
        }
        self.watch_clock()?;
        let mut transaction = Transaction::default();
        if !indexed {
            self.index_subjects(&mut transaction)?;
        }
        self.see_keyring(transaction)?;
        for hour in self.counts.lock().hours() {
            self.keyring.mark_used(hour);
        }
        if self.restored.is_on() {
            tracing::warn!("RESTORED: an older ledger was put back; nothing is released until `idvault restore --complete`");
            self.forget_unnamed()?;
        }
        let mut marked = Vec::new();
        for key in self.book.keys(&schema::all_marked()) {
            let place = schema::place_in(&key?).ok_or(Error::Damaged)?;
            if let Some(record) = self.whole_record_at(place)? {
                self.counts.lock().remark(&record);
            }
            marked.push(place);
        }
        self.shred(&marked)?;
        self.save_heartbeat()?;
        Ok(self.end_restored()?)
    }

    /// Has the ledger know which commit the keyring is at, with the rest of a transaction.
    pub(super) fn see_keyring(&self, mut transaction: Transaction) -> Result<(), Error> {
        let row = VaultRow { keyring_generation: self.keyring.generation(), subjects_indexed: true };
        self.book.put(&mut transaction, schema::vault(), &row)?;
        self.book.sync(self.book.apply(transaction)?)
    }
}

/// Whether a vault opened in this directory would be a new one: there is nothing yet. Touches nothing.
///
/// # Errors
/// [`OpenError::Missing`] when there is some of a vault and not all, [`OpenError::Disk`].
pub fn would_be_new(data_dir: &Path, keys: &keys::Setting) -> Result<bool, OpenError> {
    Layout(data_dir.to_owned()).is_new_or_has(keys)
}

/// The later of the clock saved by the last commit and the one saved since, and how far the ledger had come by then.
fn newest_heartbeat(keyring: &Keyring, path: &Path) -> (Option<Heartbeat>, u64) {
    let file = fs::read(path).ok().and_then(|file| read_heartbeat(&file, &keyring.clock_key()));
    let (file, sequence) = file.unzip();
    let heartbeats = Heartbeat::from_bytes(&keyring.heartbeat()).into_iter().chain(file);
    let newest = heartbeats.reduce(|one, other| if one.is_after(&other) { one } else { other });
    (newest, keyring.ledger_sequence().max(sequence.unwrap_or(0)))
}

/// What the custody of a vault's root gave, or why it did not.
pub(super) fn custody_of<T>(had: io::Result<T>) -> Result<T, OpenError> {
    had.map_err(|error| KeyringError::Custody(error).into())
}

/// Where things are in a vault's directory.
pub(super) struct Layout(pub(super) PathBuf);

impl Layout {
    pub(super) fn keyring(&self) -> PathBuf {
        self.0.join("keyring")
    }

    pub(super) fn ledger(&self) -> PathBuf {
        self.0.join("ledger")
    }

    pub(super) fn volumes(&self) -> PathBuf {
        self.0.join("volumes")
    }

    /// The key that signs certificates.
    fn signing(&self) -> PathBuf {
        self.0.join("signing")
    }

    /// What a restore puts together before it replaces anything.
    pub(super) fn staging(&self) -> PathBuf {
        self.0.join("restoring")
    }

    /// Removes what a restore left that was cut short before it replaced anything, or after it had replaced all.
    pub(super) fn clear_staging(&self) -> Result<(), OpenError> {
        match fs::remove_dir_all(self.staging()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => self.reading(Err(error)),
            _ => Ok(()),
        }
    }

    /// There while a vault is being made, when nothing in the directory is worth anything yet.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.0.join("unfinished")
    }

    /// Whether a vault is to be made: the directory is not there or empty, or making one was cut short. Touches nothing.
    fn is_new(&self) -> Result<bool, OpenError> {
        if self.reading(Mark::read(&self.0))? == Some(Mark::Replacing) {
            return Err(OpenError::Replacing(self.0.clone()));
        }
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            entries => self.reading(entries)?,
        };
        let names = self.reading(entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>())?;
        if self.unfinished().exists()
            || names.iter().all(|name| name == "lock" || name == "lost+found" || name == "unfinished.new")
        {
            return Ok(true);
        }
        match [self.ledger(), self.volumes()].into_iter().find(|path| !path.exists()) {
            Some(missing) => Err(OpenError::Missing(missing)),
            None => Ok(false),
        }
    }

    /// The same, and refuses a vault that is there but not its keys.
    fn is_new_or_has(&self, keys: &keys::Setting) -> Result<bool, OpenError> {
        let is_new = self.is_new()?;
        if !is_new {
            self.must_have(keys)?;
        }
        Ok(is_new)
    }

    /// Refuses a vault whose keys are not there: the file of its root, or the keyring in any of its directories.
    pub(super) fn must_have(&self, keys: &keys::Setting) -> Result<(), OpenError> {
        let cell = keys.root.file().filter(|cell| !cell.exists()).map(Path::to_owned);
        let no_keyring = || Some(self.keyring()).filter(|_| !keys.keyring(&self.0).iter().any(|dir| dir.exists()));
        cell.or_else(no_keyring).map_or(Ok(()), |missing| Err(OpenError::Missing(missing)))
    }

    /// Refuses a directory in which there is no vault yet, or not all of one.
    pub(super) fn must_be_whole(&self) -> Result<(), OpenError> {
        if self.is_new()? { Err(OpenError::Empty(self.0.clone())) } else { Ok(()) }
    }

    pub(super) fn lock(&self) -> Result<File, OpenError> {
        self.reading(files::make_dir(&self.0))?;
        match files::lock(&self.0.join("lock")) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(OpenError::Locked(self.0.clone())),
            lock => self.reading(lock),
        }
    }

    /// Clears what an attempt to make a vault left behind, and says that one is being made.
    fn begin(&self, id: &VaultId, keys: &keys::Setting) -> Result<(), OpenError> {
        let has_begun = self.unfinished().exists();
        keys.root.must_be_free(id, has_begun).map_err(KeyringError::Custody)?;
        self.reading(files::replace(&self.unfinished(), b""))?;
        let own = [self.ledger(), self.volumes()];
        for dir in keys.keyring(&self.0).iter().chain(&own).filter(|dir| dir.exists()) {
            // What is elsewhere is this vault's only if making it had begun.
            if has_begun || dir.starts_with(&self.0) {
                self.reading(fs::remove_dir_all(dir))?;
            } else if self.reading(fs::read_dir(dir))?.next().is_some() {
                let error = io::Error::new(io::ErrorKind::AlreadyExists, "a mirror of a new keyring must be empty");
                return Err(OpenError::Disk { path: dir.clone(), error });
            }
        }
        Ok(())
    }

    /// Says that the vault is made.
    fn end(&self) -> Result<(), OpenError> {
        if self.unfinished().exists() {
            self.reading(fs::remove_file(self.unfinished()))?;
            self.reading(files::sync_parent(&self.unfinished()))?;
        }
        Ok(())
    }

    pub(super) fn reading<T>(&self, result: io::Result<T>) -> Result<T, OpenError> {
        result.map_err(|error| OpenError::Disk { path: self.0.clone(), error })
    }
}
