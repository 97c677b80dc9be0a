//! What is asked of the operating system that `std` has no word for: memory that is never swapped out, a process that leaves no core, where
//! a file is on its medium. The one file that may say `unsafe`, each time with why it is sound; it decides nothing.

#![expect(unsafe_code, reason = "system calls that take pointers; every block says why it is sound")]

use std::fs::File;
use std::io;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use rustix::mm::{MlockAllFlags, mlock, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// How many pieces of a file are asked about: one more than a root cell may have.
const EXTENTS: usize = 9;

/// Keeps the pages of this memory out of swap, for as long as the process has them.
///
/// # Errors
/// When the limit of locked memory (`RLIMIT_MEMLOCK`) is reached, or the system cannot.
pub fn lock<T>(memory: &[T]) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of a slice. Locking its pages changes neither what is in them nor who may
    // use them, and reads nothing of them.
    unsafe { mlock(memory.as_ptr().cast_mut().cast(), size_of_val(memory))? };
    Ok(())
}

/// Keeps all memory of the process out of swap, also what it asks for later, each page from when it is first used; if there is no limit
/// of locked memory. Under a limit it would make memory run out there, so nothing is done, but to raise the limit as far as it may be.
/// Whether it was done.
///
/// # Errors
/// When the system cannot.
pub fn lock_all() -> io::Result<bool> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Memlock);
    setrlimit(Resource::Memlock, Rlimit { current: maximum, maximum })?;
    if maximum.is_none() {
        mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?;
    }
    Ok(maximum.is_none())
}

/// Keeps the process from leaving a core, and others of its user from reading its memory.
///
/// # Errors
/// When the system cannot.
pub fn leave_no_core() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

/// A piece of a file on its medium, of `struct fiemap_extent` in `linux/fiemap.h`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Extent {
    /// Where it begins in the file.
    pub logical: u64,
    /// Where it begins on the medium.
    pub physical: u64,
    /// How long it is.
    pub length: u64,
    reserved: [u64; 2],
    /// What is special about it: bits of `FIEMAP_EXTENT_…`.
    pub flags: u32,
    reserved_too: [u32; 3],
}

/// `struct fiemap`, with room for the answer.
#[repr(C)]
struct Fiemap {
    header: Header,
    extents: [Extent; EXTENTS],
}

#[derive(Default)]
#[repr(C)]
struct Header {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    room: u32,
    reserved: u32,
}

/// `FS_IOC_FIEMAP`: its number has the size of the header only.
const FIEMAP: Opcode = opcode::read_write::<Header>(b'f', 11);

/// Where the first pieces of a file are on its medium, or `None` where the file system does not tell.
///
/// # Errors
/// When the file cannot be asked about.
pub fn extents(file: &File) -> io::Result<Option<Vec<Extent>>> {
    let room = u32::try_from(EXTENTS).unwrap_or(0);
    let header = Header { length: u64::MAX, room, ..Header::default() };
    let mut map = Fiemap { header, extents: [Extent::default(); EXTENTS] };
    // SAFETY: FIEMAP takes a `struct fiemap`, which is what `Fiemap` is: all plain numbers, laid out as in C. The kernel writes at
    // most as many extents behind the header as `room` says, and there is memory for as many.
    let asked = unsafe { ioctl(file, Updater::<FIEMAP, Fiemap>::new(&mut map)) };
    match asked {
        Ok(()) => {
            let count = usize::try_from(map.header.mapped).unwrap_or(0);
            Ok(Some(map.extents.into_iter().take(count).collect()))
        }
        Err(Errno::OPNOTSUPP | Errno::NOTTY) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_file_is_somewhere_and_stays_there() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[7; 8192], 0).unwrap();
        file.sync_all().unwrap();
        let Some(before) = extents(&file).unwrap() else { return println!("skipped: the file system does not tell") };
        assert_eq!(before.iter().map(|extent| extent.length).sum::<u64>(), 8192);
        file.write_all_at(&[8; 4096], 4096).unwrap();
        file.sync_all().unwrap();
        let after = extents(&file).unwrap().unwrap();
        assert_eq!(
            before.iter().map(|extent| extent.physical).collect::<Vec<_>>(),
            after.iter().map(|extent| extent.physical).collect::<Vec<_>>()
        );
    }
}
