//! Backup and restore: the ledger and the volumes of a vault, copied out while it serves, put back while it is stopped. Keyring, root
//! and signing keys are in no backup, and putting one back never touches them: what was shredded since stays shredded.
//!
//! The steps of putting back, with a crash allowed between any two:
//!
//! 1. Everything is copied beside what is there, held against the manifest, and opened with the vault's keys.
//! 2. The mark says `replacing`: no start goes past it.
//! 3. The volumes that were missing are there.
//! 4. The ledger is replaced.
//! 5. The mark says `replaced`: the next start is RESTORED (`vault/restored.rs`).
//!
//! Cut before step 2 nothing has changed; cut before step 5 it is done again.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};

use super::book::open_row;
use super::recover::{Layout, OpenError, custody_of};
use super::restored::Mark;
use super::rows::VaultRow;
use crate::domain::ids::VaultId;
use crate::files;
use crate::keys;
use crate::keys::keyring::Keyring;
use crate::store::backup::{self, BackupError, Manifest, Progress};
use crate::store::ledger::Ledger;
use crate::store::ledger::journaled::JournaledLedger;
use crate::store::schema;

/// Why nothing was backed up or put back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The vault's own directory is not as it must be.
    #[error(transparent)]
    Vault(#[from] OpenError),
    /// The backup is not as it must be.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The backup is of another vault.
    #[error("the backup is of the vault {of}, and this one is {this}")]
    OtherVault {
        /// The vault of the backup.
        of: String,
        /// The vault of the configuration.
        this: VaultId,
    },
    /// The ledger of the backup does not open with the keys that are there.
    #[error(
        "the ledger of the backup was sealed under other keys than this vault has: it is of another vault, or of one before it"
    )]
    OtherKeys,
    /// There is nothing to complete.
    #[error("the vault is not RESTORED: there is nothing to complete")]
    NotRestored,
    /// Nobody can have replayed anything.
    #[error("the vault has not been served since the backup was put back: serve it, replay the withdrawals, then say so")]
    NotServed,
}

/// Backs up a vault, which may be running, into the directory `to`; `now` is for the manifest.
///
/// # Errors
/// When something is in the way, is not whole, or a disk fails. What is in `to` is then no backup.
pub fn back_up(
    id: &VaultId,
    data_dir: &Path,
    to: &Path,
    now: DateTime<Utc>,
    see: &mut dyn FnMut(Progress<'_>),
) -> Result<Manifest, RestoreError> {
    let layout = Layout(data_dir.to_owned());
    layout.must_be_whole()?;
    let whole = layout.reading(data_dir.canonicalize())?;
    if resolved(to).is_some_and(|to| to.starts_with(whole)) {
        return Err(BackupError::Inside(to.to_owned()).into());
    }
    let taken = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    Ok(backup::take(id.as_str(), data_dir, to, taken, see)?)
}

/// Where a path leads, the last name of which may not be there yet.
fn resolved(path: &Path) -> Option<PathBuf> {
    let missing = || {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(parent.canonicalize().ok()?.join(path.file_name()?))
    };
    path.canonicalize().ok().or_else(missing)
}

/// Puts the backup in `from` back. The vault must not be running.
///
/// # Errors
/// When the backup is not whole or not of this vault: nothing is changed then. When a disk fails: see the steps above.
pub fn restore(
    id: &VaultId,
    data_dir: &Path,
    keys: &keys::Setting,
    from: &Path,
    see: &mut dyn FnMut(Progress<'_>),
) -> Result<Manifest, RestoreError> {
    let layout = Layout(data_dir.to_owned());
    layout.must_have(keys)?;
    layout.must_not_be_moving()?;
    if layout.unfinished().exists() {
        return Err(OpenError::Empty(data_dir.to_owned()).into());
    }
    let _lock = layout.lock()?;
    let manifest = Manifest::read(from)?;
    if manifest.vault != id.as_str() {
        return Err(RestoreError::OtherVault { of: manifest.vault, this: id.clone() });
    }

    // 1. All of it beside what is there.
    layout.clear_staging()?;
    let staged = backup::stage(&manifest, from, data_dir, &layout.staging(), see).map_err(RestoreError::from);
    let refused = staged.and_then(|()| refuse_other_keys(id, &layout, keys)).err();
    if let Some(refused) = refused {
        layout.clear_staging()?;
        return Err(refused);
    }

    // 2. to 5.
    let staged = layout.staging().join("ledger");
    let marking = |mark: Mark| layout.reading(mark.write(data_dir));
    see(Progress::Step("mark"));
    marking(Mark::Replacing)?;
    see(Progress::Step("volumes"));
    backup::put_volumes(&manifest, &layout.staging(), data_dir)?;
    see(Progress::Step("ledger"));
    if layout.ledger().exists() {
        layout.reading(fs::rename(layout.ledger(), layout.staging().join("replaced")))?;
        see(Progress::Step("no ledger"));
    }
    layout.reading(fs::rename(&staged, layout.ledger()))?;
    layout.reading(files::sync_parent(&layout.ledger()))?;
    see(Progress::Step("replaced"));
    marking(Mark::Replaced)?;
    see(Progress::Step("rest"));
    layout.clear_staging()?;
    Ok(manifest)
}

/// Refuses a ledger that the vault's keys do not open.
fn refuse_other_keys(id: &VaultId, layout: &Layout, keys: &keys::Setting) -> Result<(), RestoreError> {
    let custody = custody_of(keys.root.open(id))?;
    let key = Keyring::ledger_key_in(&keys.keyring(&layout.0), id, custody.as_ref()).map_err(OpenError::from)?;
    let ledger = JournaledLedger::open(&layout.staging().join("ledger")).map_err(OpenError::from)?;
    let row = ledger.get(&schema::vault()).map_err(OpenError::from)?;
    let opened = row.and_then(|row| open_row::<VaultRow>(&key, &schema::vault(), &row));
    opened.map(drop).ok_or(RestoreError::OtherKeys)
}

/// Says, durably, that the withdrawals since the backup were replayed: a vault that is running releases again at its next tick, one
/// that is not from its next start.
///
/// # Errors
/// When the vault is not RESTORED, or was not served since, or the disk fails.
pub fn complete(data_dir: &Path) -> Result<(), RestoreError> {
    let layout = Layout(data_dir.to_owned());
    match layout.reading(Mark::read(data_dir))? {
        None => Err(RestoreError::NotRestored),
        Some(Mark::Replacing) => Err(OpenError::Replacing(data_dir.to_owned()).into()),
        Some(Mark::Replaced) => Err(RestoreError::NotServed),
        Some(Mark::Restored | Mark::Completed) => Ok(layout.reading(Mark::Completed.write(data_dir))?),
    }
}
