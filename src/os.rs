//! What the operating system does for a vault that no safe wrapper offers. The only file that may say `unsafe`.

#![expect(unsafe_code, reason = "system calls that take pointers; each says why it is sound")]

use std::fs::File;
use std::io;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

/// How many pieces of a file are asked about: one more than a root cell may have.
const EXTENTS: usize = 9;

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
