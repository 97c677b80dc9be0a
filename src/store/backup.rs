//! Backups: the ledger's dump and journal and the volumes in a directory of their own, and a manifest that says what is whole.
//!
//! A backup is taken while the vault serves, by reading alone. The ledger comes first: a row is written after the bytes that it
//! names, so the volumes, copied later, have what every copied row names, unless its hour was deleted meanwhile. Files only grow, so
//! each copy is what its file was at some moment, and the last segment of the journal may end within a transaction, as after a crash.
//! Keys are nowhere near.
//!
//! The manifest comes last: a directory without one is no backup.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ledger::LedgerError;
use super::ledger::journaled::JournaledLedger;
use crate::files;

const MANIFEST: &str = "manifest.json";
const FORMAT: u32 = 1;
/// How often the ledger is begun anew when the vault took a dump meanwhile: it takes one a day, or after 1 GiB.
const TRIES: usize = 8;
/// How much is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Why there is no backup, or it is not put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is something in the directory.
    #[error("{0} is not empty: name a directory that is, or is not there yet")]
    NotEmpty(PathBuf),
    /// The directory is one of the vault's own.
    #[error("{0} is inside the data directory: name another one, best on another disk")]
    Inside(PathBuf),
    /// The ledger was never served by this version.
    #[error("{0} has no journal: serve the vault once before it is backed up")]
    NoJournal(PathBuf),
    /// The vault forgot what was to be copied, each time.
    #[error("the ledger changed again and again while it was copied: try again later")]
    Moving,
    /// There is no manifest.
    #[error("{0} is no backup, or one that was not finished: it has no manifest")]
    Unfinished(PathBuf),
    /// The manifest is not what was written.
    #[error("the manifest of {0} was changed, or is of another version")]
    ManifestChanged(PathBuf),
    /// A file is not what the manifest says.
    #[error("{0} is not what was backed up")]
    Changed(PathBuf),
    /// The ledger in the backup, or the one to be copied, is not whole.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    /// The vault's id.
    pub vault: String,
    /// When it was begun, by the wall clock, RFC 3339: withdrawals since are not in it.
    pub taken: String,
    /// The last transaction of the ledger that is in it.
    pub sequence: u64,
    /// Its files.
    pub files: Vec<Entry>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Where it is, in the backup and in the data directory.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// The manifest as a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checked {
    manifest: Manifest,
    /// Of the manifest as JSON without spaces.
    sha256: String,
}

/// How far it has come: for those who watch, and for tests that act in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// About so many bytes are to be copied.
    Total(u64),
    /// This file is next.
    File(&'a str),
    /// So many bytes are done.
    Bytes(u64),
    /// Everything is copied, and this is next.
    Step(&'static str),
}

impl Manifest {
    /// How many bytes the files have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|entry| entry.bytes).fold(0, u64::saturating_add)
    }

    /// The manifest of the backup in `dir`.
    ///
    /// # Errors
    /// When there is none, or it is not what was written.
    pub fn read(dir: &Path) -> Result<Self, BackupError> {
        let path = dir.join(MANIFEST);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BackupError::Unfinished(dir.to_owned())),
            text => text.map_err(at(&path))?,
        };
        let checked: Option<Checked> = serde_json::from_slice(&text).ok();
        let whole = checked.filter(|Checked { manifest, sha256 }| {
            manifest.format == FORMAT
                && digest_of(manifest).as_ref() == Some(sha256)
                && manifest.files.iter().all(|entry| is_ours(&entry.path))
        });
        whole.map(|checked| checked.manifest).ok_or_else(|| BackupError::ManifestChanged(dir.to_owned()))
    }

    fn write(self, dir: &Path) -> Result<Self, BackupError> {
        let path = dir.join(MANIFEST);
        let sha256 = digest_of(&self).unwrap_or_default();
        let checked = Checked { manifest: self, sha256 };
        let text = serde_json::to_vec_pretty(&checked).map_err(|error| at(&path)(error.into()))?;
        files::replace(&path, &text).map_err(at(&path))?;
        Ok(checked.manifest)
    }
}

impl Entry {
    fn is_volume(&self) -> bool {
        self.path.starts_with("volumes/")
    }

    /// Whether the first bytes of the file at `path` are this file.
    fn begins(&self, path: &Path) -> bool {
        let digest = File::open(path).and_then(|file| pump(file.take(self.bytes), io::sink(), &mut |_| ()));
        digest.is_ok_and(|found| found == (self.bytes, self.sha256.clone()))
    }
}

/// Backs up what `data_dir` holds of a vault into the directory `to`, which is made if it is not there. `taken` is now.
///
/// # Errors
/// When something is in the way, is not whole, or a disk fails; there is no manifest then.
pub fn take(
    vault: &str,
    data_dir: &Path,
    to: &Path,
    taken: String,
    see: &mut dyn FnMut(Progress<'_>),
) -> Result<Manifest, BackupError> {
    files::make_dir(to).map_err(at(to))?;
    if fs::read_dir(to).map_err(at(to))?.next().is_some() {
        return Err(BackupError::NotEmpty(to.to_owned()));
    }
    let lengths = ["ledger/dump", "ledger/journal", "volumes"].map(|part| length_of(&data_dir.join(part)));
    see(Progress::Total(lengths.into_iter().fold(0, u64::saturating_add)));
    let mut files = take_ledger(data_dir, to, see)?;
    // What a start would do with it; also that nothing is missing in it.
    let sequence = JournaledLedger::check(&to.join("ledger"))?;
    take_volumes(data_dir, to, &mut files, see)?;
    Manifest { format: FORMAT, vault: vault.to_owned(), taken, sequence, files }.write(to)
}

/// Copies the newest dump and the journal since, from the same moment: begun anew when the vault took another dump meanwhile.
fn take_ledger(data_dir: &Path, to: &Path, see: &mut dyn FnMut(Progress<'_>)) -> Result<Vec<Entry>, BackupError> {
    let ledger = data_dir.join("ledger");
    if !ledger.join("journal").exists() {
        return Err(BackupError::NoJournal(ledger));
    }
    for _ in 0..TRIES {
        let copy = to.join("ledger");
        match fs::remove_dir_all(&copy) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&copy)(error)),
            _ => {}
        }
        for dir in [copy.clone(), copy.join("dump"), copy.join("journal")] {
            files::make_dir(&dir).map_err(at(&dir))?;
        }
        let Some(paths) = JournaledLedger::sources(&ledger)? else { continue };
        let mut files = Vec::new();
        for path in &paths {
            match take_file(data_dir, path, to, see)? {
                Some(entry) => files.push(entry),
                None => break,
            }
        }
        if files.len() == paths.len() {
            return Ok(files);
        }
    }
    Err(BackupError::Moving)
}

/// Copies the volumes that are there.
fn take_volumes(
    data_dir: &Path,
    to: &Path,
    files: &mut Vec<Entry>,
    see: &mut dyn FnMut(Progress<'_>),
) -> Result<(), BackupError> {
    let volumes = data_dir.join("volumes");
    files::make_dir(&to.join("volumes")).map_err(at(to))?;
    for hour in names(&volumes).map_err(at(&volumes))?.into_iter().filter(|hour| is_number(hour)) {
        let dir = volumes.join(&hour);
        let volumes = match names(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            names => names.map_err(at(&dir))?,
        };
        let copy = to.join("volumes").join(&hour);
        files::make_dir(&copy).map_err(at(&copy))?;
        for volume in volumes {
            let path = format!("volumes/{hour}/{volume}");
            if is_ours(&path) {
                files.extend(take_file(data_dir, &path, to, see)?);
            }
        }
    }
    Ok(())
}

/// Copies a file as it is now; nothing if it is not there any more.
fn take_file(data_dir: &Path, path: &str, to: &Path, see: &mut dyn FnMut(Progress<'_>)) -> Result<Option<Entry>, BackupError> {
    see(Progress::File(path));
    match copy(&data_dir.join(path), &to.join(path), see) {
        Err(BackupError::Disk { path: of, error }) if error.kind() == io::ErrorKind::NotFound && of == data_dir.join(path) => {
            Ok(None)
        }
        copied => copied.map(|(bytes, sha256)| Some(Entry { path: path.to_owned(), bytes, sha256 })),
    }
}

/// Puts together in `staging` what `data_dir` must get from the backup in `from`: the ledger, with an index, and every volume that is
/// not there as it was backed up. Everything is held against the manifest.
///
/// # Errors
/// When anything is not what was backed up, or a disk fails.
pub fn stage(
    manifest: &Manifest,
    from: &Path,
    data_dir: &Path,
    staging: &Path,
    see: &mut dyn FnMut(Progress<'_>),
) -> Result<(), BackupError> {
    see(Progress::Total(manifest.bytes()));
    for dir in ["", "ledger", "ledger/dump", "ledger/journal", "volumes"] {
        files::make_dir(&staging.join(dir)).map_err(at(staging))?;
    }
    for entry in &manifest.files {
        see(Progress::File(&entry.path));
        if entry.is_volume() && entry.begins(&data_dir.join(&entry.path)) {
            see(Progress::Bytes(entry.bytes));
            continue;
        }
        let (source, target) = (from.join(&entry.path), staging.join(&entry.path));
        if let Some(dir) = target.parent() {
            files::make_dir(dir).map_err(at(dir))?;
        }
        let found = copy(&source, &target, see)?;
        if found != (entry.bytes, entry.sha256.clone()) {
            return Err(BackupError::Changed(source));
        }
    }
    JournaledLedger::rebuild(&staging.join("ledger"))?;
    Ok(())
}

/// Moves the volumes that were put together in `staging` to their places in `data_dir`.
///
/// # Errors
/// When the disk fails.
pub fn put_volumes(manifest: &Manifest, staging: &Path, data_dir: &Path) -> Result<(), BackupError> {
    files::make_dir(&data_dir.join("volumes")).map_err(at(data_dir))?;
    for entry in manifest.files.iter().filter(|entry| entry.is_volume()) {
        let (staged, volume) = (staging.join(&entry.path), data_dir.join(&entry.path));
        if !staged.exists() {
            continue;
        }
        if let Some(dir) = volume.parent() {
            files::make_dir(dir).map_err(at(dir))?;
        }
        fs::rename(&staged, &volume).and_then(|()| files::sync_parent(&volume)).map_err(at(&volume))?;
    }
    Ok(())
}

/// Whether this is where a backup has files, and nowhere else.
fn is_ours(path: &str) -> bool {
    let is = |name: &str, extension| name.strip_suffix(extension).is_some_and(is_number);
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["ledger", "dump", name] => is(name, ".dump"),
        ["ledger", "journal", name] => is(name, ".journal"),
        ["volumes", hour, name] => is_number(hour) && is(name, ".vol"),
        _ => false,
    }
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Copies a file as it is now, durably. Its length and its SHA-256.
fn copy(from: &Path, to: &Path, see: &mut dyn FnMut(Progress<'_>)) -> Result<(u64, String), BackupError> {
    let source = File::open(from).map_err(at(from))?;
    let target = files::open_rw(to).and_then(|file| file.set_len(0).map(|()| file)).map_err(at(to))?;
    let done = pump(source, &target, see).and_then(|done| target.sync_all().map(|()| done));
    done.and_then(|done| files::sync_parent(to).map(|()| done)).map_err(at(to))
}

fn pump(mut from: impl Read, mut to: impl Write, see: &mut dyn FnMut(Progress<'_>)) -> io::Result<(u64, String)> {
    let (mut piece, mut hash, mut done) = (vec![0; PIECE_BYTES], Sha256::new(), 0_u64);
    loop {
        let read = from.read(&mut piece)?;
        let bytes = piece.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            return Ok((done, hex(&hash.finalize())));
        }
        hash.update(bytes);
        to.write_all(bytes)?;
        let read = u64::try_from(read).unwrap_or(0);
        done = done.saturating_add(read);
        see(Progress::Bytes(read));
    }
}

fn digest_of(manifest: &Manifest) -> Option<String> {
    serde_json::to_vec(manifest).ok().map(|text| hex(&Sha256::digest(text)))
}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

/// The names in a directory that are text, in order: all names of ours are.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// How many bytes the files below `dir` have by now, as far as can be seen.
fn length_of(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let lengths = entries.map(|path| if path.is_dir() { length_of(&path) } else { path.metadata().map_or(0, |file| file.len()) });
    lengths.fold(0, u64::saturating_add)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    |error| BackupError::Disk { path, error }
}
