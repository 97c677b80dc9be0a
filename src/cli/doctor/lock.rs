//! Whether the vault is running: who holds the lock of its directory.
//!
//! Asks the kernel's list of locks. Trying the lock, if only for a moment, would turn away a vault that starts just then.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::finding::Finding;

/// The process that holds the lock: 0 if it cannot be seen from here.
pub(super) fn holder(dir: &Path) -> Option<u32> {
    let inode = fs::metadata(dir.join("lock")).ok()?.ino();
    holder_in(&fs::read_to_string("/proc/locks").ok()?, inode)
}

pub(super) fn finding(holder: Option<u32>) -> Finding {
    let finding = holder.map_or("not running".to_owned(), |process| format!("running, process {process}"));
    Finding::ok("vault", finding)
}

/// Who holds a file by flock(2), in the text of /proc/locks: `1: FLOCK ADVISORY WRITE 42 08:01:7 0 EOF` is process 42 with
/// inode 7. The device is passed over, since some file systems say another one than stat(2).
fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, _, mode, process, file) = (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
        let same = kind == "FLOCK" && mode == "WRITE" && file.rsplit(':').next()?.parse() == Ok(inode);
        same.then(|| process.parse().unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found_by_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 41 08:01:7 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 40 08:01:7 0 EOF\n\
                     2: FLOCK  ADVISORY  READ  43 08:01:7 0 EOF\n3: FLOCK  ADVISORY  WRITE 42 08:01:7 0 EOF\n4:";
        assert_eq!(holder_in(locks, 7), Some(42));
        assert_eq!(holder_in(locks, 8), None);
    }

    #[test]
    fn a_lock_that_is_held_is_seen_and_stays_held() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()), None);
        let lock = crate::files::lock(&dir.path().join("lock")).unwrap();
        assert_eq!(holder(dir.path()), Some(std::process::id()));
        drop(lock);
        assert_eq!(holder(dir.path()), None);
    }
}
