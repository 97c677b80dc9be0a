//! The few things about files that durability needs and `std` does not say in one word.

pub mod direct;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, FlockOperation};

/// Makes the directory at `path`, readable by its owner alone, and makes its name in the parent durable.
///
/// # Errors
/// When it cannot be made or synced; an existing directory is no error.
pub fn make_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_parent(path),
        // Whoever made it may have been killed before its name was durable.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => sync_parent(path),
        Err(error) => Err(error),
    }
}

/// Makes the names in the directory that holds `path` durable.
///
/// # Errors
/// When the directory cannot be synced.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Opens the file at `path` for reading and writing, made if absent, readable by its owner alone.
///
/// # Errors
/// When it cannot be opened.
pub fn open_rw(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Writes `bytes`, which hold no secret, at `offset`, syncs, and reads them back past the page cache: what returns `Ok` is on the
/// medium.
///
/// # Errors
/// When writing, syncing or reading fails, or other bytes come back.
pub fn write_and_verify(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)?;
    sync_and_verify(file, bytes, offset)
}

/// Syncs `bytes` that were written at `offset` and hold no secret, and the length of the file, and reads them back past the page cache.
///
/// # Errors
/// When syncing or reading fails, or other bytes come back.
pub fn sync_and_verify(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    // Not the times of the file, which would cost a transaction of the file system's journal.
    file.sync_data()?;
    forget_cached(file)?;
    // Nothing after it is read ahead.
    rustix::fs::fadvise(file, offset, None, Advice::Random)?;
    let mut back = vec![0; bytes.len()];
    file.read_exact_at(&mut back, offset)?;
    if back == bytes { Ok(()) } else { Err(other_bytes()) }
}

/// Has the system forget what it keeps of a file in memory, so that the next read is of the medium.
///
/// # Errors
/// When it refuses.
pub fn forget_cached(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fadvise(file, 0, None, Advice::DontNeed)?)
}

/// What to say when other bytes come back than were written.
#[must_use]
pub fn other_bytes() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the medium gave back other bytes than were written")
}

/// Syncs the file at `path` and reads it past the page cache, which may have what a failed sync of another run never wrote.
///
/// # Errors
/// When syncing or reading fails.
pub fn read_medium(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.sync_data()?;
    forget_cached(&file)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces the file at `path` by one with these bytes, durably and all at once.
///
/// # Errors
/// When a step fails; the old file then still stands.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let file = open_rw(&new)?;
    file.set_len(0)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_parent(path)
}

/// Which boot of the machine this is: what was written in an earlier one and not synced may be lost.
///
/// # Errors
/// When the kernel does not say it.
pub fn boot_id() -> io::Result<Vec<u8>> {
    fs::read("/proc/sys/kernel/random/boot_id")
}

/// Takes the exclusive lock of the file at `path`, for as long as the returned file is open.
///
/// # Errors
/// With [`io::ErrorKind::WouldBlock`] when another process holds it.
pub fn lock(path: &Path) -> io::Result<File> {
    let file = open_rw(path)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_bytes_come_back_and_replacing_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cell");
        let file = open_rw(&path).unwrap();
        write_and_verify(&file, b"root", 4096).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 4100);
        replace(&path, b"other").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"other");
    }

    #[test]
    fn a_lock_is_held_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = lock(&path).unwrap();
        assert_eq!(lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        lock(&path).unwrap();
    }
}
