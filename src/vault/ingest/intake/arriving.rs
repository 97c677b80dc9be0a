//! A part that is arriving, held against what its header says of it.

use zeroize::Zeroizing;

use crate::vault::error::Error;
use crate::vault::ingest::PartHeader;

/// How much of a part's beginning tells its format.
const HEAD_BYTES: usize = 8 << 10;

/// A part of which all bytes are not there yet.
pub(super) struct Arriving {
    number: usize,
    header: PartHeader,
    came: u64,
    crc32c: u32,
    head: Zeroizing<Vec<u8>>,
    /// All bytes so far, if they are held back.
    held_back: Option<Zeroizing<Vec<u8>>>,
}

/// A part that is what its header says.
pub(super) struct Arrived {
    pub(super) number: usize,
    pub(super) header: PartHeader,
    /// All of its bytes, if they were held back.
    pub(super) held_back: Option<Zeroizing<Vec<u8>>>,
}

impl Arriving {
    pub(super) fn new(number: usize, header: PartHeader, is_held_back: bool) -> Self {
        // Buffers are reserved whole: a vector that grows leaves what it held in freed memory.
        let buffer = |bytes: usize| Zeroizing::new(Vec::with_capacity(bytes));
        let size = usize::try_from(header.size).unwrap_or(0);
        let held_back = is_held_back.then(|| buffer(size));
        Self { number, header, came: 0, crc32c: 0, head: buffer(size.min(HEAD_BYTES)), held_back }
    }

    /// Takes the next bytes.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.came = self.came.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.came > self.header.size {
            return Err(Error::PartSize(self.number));
        }
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        let missing = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        if missing > 0 {
            self.head.extend_from_slice(bytes.split_at(missing).0);
            if self.head.len() == HEAD_BYTES {
                self.check_format()?;
            }
        }
        if let Some(held_back) = &mut self.held_back {
            held_back.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Says that this was all.
    pub(super) fn end(self) -> Result<Arrived, Error> {
        if self.came != self.header.size || self.came == 0 {
            return Err(Error::PartSize(self.number));
        }
        if self.crc32c != self.header.crc32c {
            return Err(Error::PartChecksum(self.number));
        }
        self.check_format()?;
        Ok(Arrived { number: self.number, header: self.header, held_back: self.held_back })
    }

    fn check_format(&self) -> Result<(), Error> {
        // HEIC is a HEIF file with an HEVC picture; the crate calls all of those HEIF.
        let found = infer::get(&self.head).map(|kind| kind.mime_type().replace("image/heif", "image/heic"));
        if found.as_deref() == Some(self.header.media_type.name()) { Ok(()) } else { Err(Error::PartType(self.number)) }
    }
}
