//! Files read and written past the page cache (`O_DIRECT`), where the file system allows it.
//!
//! Sealed bytes are read once and would only push out of memory what is read often. Direct I/O wants file offset, length and
//! memory on a multiple of the block size: frames lie on 4096, [`AlignedBuffer`] does the same in memory. Who does not
//! allow it says EINVAL, at once or at the first use; the file is then used like any other.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// What direct I/O wants a multiple of: at least the block size of every usual disk.
pub(crate) const ALIGNMENT: usize = 4096;

/// Bytes that begin on a multiple of 4096 in memory.
#[derive(Debug)]
pub struct AlignedBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl AlignedBuffer {
    /// An empty one, with room for so many bytes. More would move it off its alignment.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let mut bytes: Vec<u8> = Vec::with_capacity(capacity.saturating_add(ALIGNMENT));
        let start = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        bytes.resize(start, 0);
        Self { bytes, start }
    }

    /// So many zeros.
    #[must_use]
    pub fn zeroed(length: usize) -> Self {
        let mut buffer = Self::with_capacity(length);
        buffer.bytes.resize(buffer.start.saturating_add(length), 0);
        buffer
    }

    /// All of the memory, and where in it these bytes of the buffer are.
    pub(crate) fn into_buffer(self, range: Range<usize>) -> (Vec<u8>, Range<usize>) {
        (self.bytes, self.start.saturating_add(range.start)..self.start.saturating_add(range.end))
    }

    /// Where bytes are added at the end.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..).unwrap_or_default()
    }
}

/// A file that is used directly, if it can be.
#[derive(Debug)]
pub struct DirectFile(File);

impl DirectFile {
    /// Uses this file directly from now on, if its file system allows it.
    ///
    /// # Errors
    /// When the system does not say how it is open.
    pub fn new(file: File) -> io::Result<Self> {
        match fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::DIRECT) {
            Ok(()) | Err(Errno::INVAL) => Ok(Self(file)),
            Err(error) => Err(error.into()),
        }
    }

    /// The file, for what is neither read nor written.
    pub(crate) fn file(&self) -> &File {
        &self.0
    }

    /// Writes all of it there.
    ///
    /// # Errors
    /// When the disk fails or is full.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.or_plainly(|file| file.write_all_at(bytes, offset))
    }

    pub(crate) fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.or_plainly(|file| file.read_exact_at(bytes, offset))
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    /// EINVAL is a refusal of direct I/O, before anything was done; no other error is tried again.
    fn or_plainly(&self, mut transfer: impl FnMut(&File) -> io::Result<()>) -> io::Result<()> {
        match transfer(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                fcntl_setfl(&self.0, fcntl_getfl(&self.0)?.difference(OFlags::DIRECT))?;
                transfer(&self.0)
            }
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::fs::Mode;

    fn is_direct(file: &DirectFile) -> bool {
        fcntl_getfl(&file.0).unwrap().contains(OFlags::DIRECT)
    }

    proptest! {
        #[test]
        fn a_buffer_stays_aligned_as_it_fills(pieces in prop::collection::vec(0_usize..9000, 0..9)) {
            let total = pieces.iter().sum();
            let mut buffer = AlignedBuffer::with_capacity(total);
            for piece in pieces {
                buffer.end().extend(std::iter::repeat_n(7, piece));
            }
            prop_assert_eq!(buffer.bytes(), vec![7; total]);
            prop_assert_eq!(buffer.bytes().as_ptr().addr() % ALIGNMENT, 0);
            prop_assert_eq!(AlignedBuffer::zeroed(total).bytes_mut().len(), total);
        }
    }

    #[test]
    fn aligned_bytes_go_directly_and_what_is_refused_goes_plainly() {
        let named = tempfile::NamedTempFile::new().unwrap();
        if let Err(error) = rustix::fs::open(named.path(), OFlags::RDWR | OFlags::DIRECT, Mode::empty()) {
            return println!("skipped: the file system refuses direct I/O: {error}");
        }
        let file = DirectFile::new(named.reopen().unwrap()).unwrap();
        let mut buffer = AlignedBuffer::zeroed(3 * ALIGNMENT);
        buffer.bytes_mut().fill(7);
        file.write_all_at(buffer.bytes(), 4096).unwrap();
        file.read_exact_at(buffer.bytes_mut(), 4096).unwrap();
        assert!(is_direct(&file), "aligned bytes go directly");
        // What is not aligned is refused as a file system refuses that takes the flag and then no transfer.
        file.write_all_at(&[8; 99], 5).unwrap();
        let mut back = [0; 99];
        file.read_exact_at(&mut back, 5).unwrap();
        assert_eq!(back, [8; 99]);
        file.read_exact_at(buffer.bytes_mut(), 4096).unwrap();
        assert_eq!(buffer.bytes(), [7; 3 * ALIGNMENT]);
    }

    #[test]
    fn a_file_system_without_direct_io_is_used_plainly() {
        let file = DirectFile::new(File::open("/proc/version").unwrap()).unwrap();
        if is_direct(&file) {
            return println!("skipped: proc takes direct I/O");
        }
        let mut back = [0; 6];
        file.read_exact_at(&mut back, 0).unwrap();
        assert_eq!(back, *b"Linux ");
    }

    #[test]
    fn no_other_error_is_tried_again() {
        let tries = std::cell::Cell::new(0);
        let file = DirectFile::new(tempfile::tempfile().unwrap()).unwrap();
        let failing = |_: &File| {
            tries.set(tries.get() + 1);
            Err(Errno::IO.into())
        };
        file.or_plainly(failing).unwrap_err();
        assert_eq!(tries.get(), 1);
    }
}
