//! Whether a file is on a medium where overwriting a block destroys what was in it, as far as software can tell.
//!
//! A file system that writes elsewhere (copy on write, log-structured, overlay), that keeps what is written in a journal, or
//! that shares blocks with a snapshot leaves the old bytes behind. What a flash translation layer keeps below nobody sees.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{IFlags, fstatfs, ioctl_getflags, major, minor};

use crate::os::{self, Extent};

/// File systems that overwrite in place, by their magic numbers (`linux/magic.h`): ext2 to ext4, XFS, and those in memory.
const IN_PLACE: [(u64, &str); 4] = [(0xef53, "ext4"), (0x5846_5342, "xfs"), (0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs")];
/// `FIEMAP_EXTENT_…`: the place is unknown, not written yet, encoded, within metadata, or shared.
const NOT_IN_PLACE: u32 = 0x2 | 0x4 | 0x8 | 0x200 | 0x2000;

/// The blocks of a file, as they were found when it was looked at first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Blocks(Option<Vec<Extent>>);

impl Blocks {
    /// Looks at the blocks of a file.
    ///
    /// # Errors
    /// When any of them is not the file's own, or would not be overwritten in place.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let extents = os::extents(file)?;
        match extents.iter().flatten().find(|extent| extent.flags & NOT_IN_PLACE != 0) {
            Some(extent) => Err(refusal(&format!("its block at {} has the marks {:#x}", extent.logical, extent.flags))),
            None => Ok(Self(extents)),
        }
    }

    /// Makes sure that the file is still in the same blocks.
    ///
    /// # Errors
    /// When it has moved, or a block is shared now.
    pub(super) fn must_be_of(&self, file: &File) -> io::Result<()> {
        if Self::of(file)? == *self { Ok(()) } else { Err(refusal("writing has moved it to other blocks")) }
    }

    /// Whether the file system tells where blocks are.
    pub(super) fn are_known(&self) -> bool {
        self.0.is_some()
    }
}

/// Makes sure that the file system of a file overwrites in place.
///
/// # Errors
/// When it does not, or is none of those that are known to.
pub(super) fn check(file: &File) -> io::Result<()> {
    let kind = u64::try_from(fstatfs(file)?.f_type).unwrap_or(0);
    if !IN_PLACE.iter().any(|(magic, _)| *magic == kind) {
        let known = IN_PLACE.map(|(_, name)| name).join(", ");
        return Err(refusal(&format!("its file system (type {kind:#x}) is none of those known to overwrite in place: {known}")));
    }
    if ioctl_getflags(file).is_ok_and(|flags| flags.contains(IFlags::JOURNALING)) {
        return Err(refusal("its data is journaled (chattr +j)"));
    }
    if journals_data(file)? { Err(refusal("its file system journals data (data=journal)")) } else { Ok(()) }
}

/// Whether the file system that a file is on keeps data in its journal: what it was mounted with, and what ext4 says of itself.
fn journals_data(file: &File) -> io::Result<bool> {
    let device = file.metadata()?.dev();
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mounts.lines().filter_map(|line| mount_on(line, (major(device), minor(device)))).any(|(source, options)| {
        let name = source.rsplit('/').next().unwrap_or_default();
        let own = fs::read_to_string(format!("/proc/fs/ext4/{name}/options")).unwrap_or_default();
        options.split(',').chain(own.lines()).any(|option| option == "data=journal")
    }))
}

/// The source and the options of the file system in a line of `mountinfo` (proc(5)), if it is of this device.
fn mount_on(line: &str, (major, minor): (u32, u32)) -> Option<(&str, &str)> {
    let (place, what) = line.split_once(" - ")?;
    let device = place.split(' ').nth(2)?;
    let mut what = what.split(' ').skip(1);
    (device == format!("{major}:{minor}")).then_some((what.next()?, what.next()?))
}

fn refusal(why: &str) -> io::Error {
    let what = "the root cell is not where overwriting it destroys what was in it";
    let how = "put it elsewhere (`path` in [root.file]), use another custody, or accept it (`allow_copies = true` there)";
    io::Error::new(io::ErrorKind::Unsupported, format!("{what}: {why}; {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_file_of_the_test_is_in_place_or_refused_with_a_way_out() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[0; 8192], 0).unwrap();
        file.sync_all().unwrap();
        match check(&file) {
            Ok(()) => Blocks::of(&file).unwrap().must_be_of(&file).unwrap(),
            Err(error) => assert!(error.to_string().contains("allow_copies"), "{error}"),
        }
    }

    #[test]
    fn a_file_that_is_nowhere_yet_and_a_special_one_are_refused() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[7; 10], 0).unwrap();
        if os::extents(&file).unwrap().is_some_and(|extents| !extents.is_empty()) {
            assert!(Blocks::of(&file).is_err(), "not written yet, so its place is not known");
        }
        assert!(check(&File::open("/proc/self/status").unwrap()).unwrap_err().to_string().contains("0x9fa0"));
    }

    #[test]
    fn blocks_that_moved_are_noticed() {
        let (one, other) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        for file in [&one, &other] {
            file.write_all_at(&[0; 8192], 0).unwrap();
            file.sync_all().unwrap();
        }
        let blocks = Blocks::of(&one).unwrap();
        if blocks.are_known() {
            assert!(blocks.must_be_of(&other).is_err());
        }
    }

    #[test]
    fn mounts_are_read() {
        let line = "36 35 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,data=journal";
        assert_eq!(mount_on(line, (254, 0)), Some(("/dev/vda", "rw,data=journal")));
        assert_eq!(mount_on(line, (254, 1)), None);
        assert_eq!(mount_on("36 35 254:0", (254, 0)), None);
    }
}
