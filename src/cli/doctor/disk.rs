//! The file system below the data directory: whether it overwrites in place, and how much room it has.

use std::path::Path;

use rustix::fs::{statfs, statvfs};

use super::directory::parent;
use super::finding::Finding;
use crate::store::volume::RESERVE;

/// File systems by their magic numbers (statfs(2)), and whether they overwrite in place.
const KINDS: [(u64, &str, bool); 10] = [
    (0x0000_ef53, "ext4", true),
    (0x5846_5342, "xfs", true),
    (0x9123_683e, "btrfs", false),
    (0x2fc1_2fc1, "zfs", false),
    (0xca45_1a4e, "bcachefs", false),
    (0xf2f5_2010, "f2fs", false),
    (0x794c_7630, "overlay", false),
    (0x0102_1994, "tmpfs", false),
    (0x0000_6969, "nfs", false),
    (0x6573_5546, "fuse", false),
];

pub(super) fn examine(dir: &Path) -> Vec<Finding> {
    let place = if dir.exists() { dir } else { parent(dir) };
    match (statfs(place), statvfs(place)) {
        (Ok(kind), Ok(room)) => {
            vec![file_system(u64::try_from(kind.f_type).unwrap_or(0)), free_space(room.f_bavail.saturating_mul(room.f_frsize))]
        }
        // What is wrong with the directory is said elsewhere.
        _ => Vec::new(),
    }
}

fn file_system(magic: u64) -> Finding {
    const WHAT: &str = "file system";
    const NEXT: &str = "keep the data directory on ext4 or XFS, without snapshots";
    match KINDS.iter().find(|(known, ..)| *known == magic) {
        Some((_, name, true)) => Finding::ok(WHAT, *name),
        Some((_, name, false)) => Finding::warn(WHAT, format!("{name}: may keep an old root instead of overwriting it"), NEXT),
        None => Finding::warn(WHAT, format!("of kind {magic:#x}: whether it overwrites in place is not known"), NEXT),
    }
}

fn free_space(bytes: u64) -> Finding {
    const WHAT: &str = "free space";
    let finding = format!("{} MiB", bytes >> 20);
    if bytes < RESERVE {
        return Finding::fail(WHAT, finding, "make room: with less than 64 MiB the vault takes in nothing");
    }
    Finding::ok(WHAT, finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade;

    #[test]
    fn only_what_overwrites_in_place_is_well() {
        for (magic, grade) in [(0xef53, Grade::Ok), (0x9123_683e, Grade::Warn), (0x0102_1994, Grade::Warn), (1, Grade::Warn)] {
            assert_eq!(file_system(magic).grade, grade, "{magic:x}");
        }
        assert_eq!(examine(Path::new(".")).len(), 2);
    }

    #[test]
    fn the_reserve_must_be_free() {
        assert_eq!(free_space(RESERVE - 1).grade, Grade::Fail);
        assert_eq!(free_space(RESERVE).grade, Grade::Ok);
    }
}
