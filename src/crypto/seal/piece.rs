//! Pieces: which chunks a stretch of a part is sealed in, and where they are among its sealed bytes.

use std::ops::Range;

const PREFIX_LEN: u64 = 24 + 32;
const CHUNK_LEN: u64 = 16 << 10;
const TAG_LEN: u64 = 16;

/// The bytes that `plaintext_len` bytes take when sealed.
#[must_use]
pub fn sealed_len(plaintext_len: u64) -> u64 {
    sealed_upto(plaintext_len / CHUNK_LEN).saturating_add(plaintext_len % CHUNK_LEN).saturating_add(TAG_LEN)
}

/// Where full chunks end, so many of them.
fn sealed_upto(chunks: u64) -> u64 {
    PREFIX_LEN.saturating_add(chunks.saturating_mul(CHUNK_LEN.saturating_add(TAG_LEN)))
}

/// Chunks of a part that lie one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The part's length.
    size: u64,
    chunks: Range<u64>,
}

impl Piece {
    /// The sealed bytes that stand before all chunks.
    pub(super) const PREFIX: Range<u64> = 0..PREFIX_LEN;

    /// The whole of a part of `size` bytes.
    #[must_use]
    pub fn whole(size: u64) -> Self {
        Self::new(size, 0, size)
    }

    /// The piece of a part of `size` bytes that begins at `start`, the part's own beginning or where another piece ends, and
    /// has at least `length` bytes (the next full chunk more), or what is left.
    #[must_use]
    pub fn new(size: u64, start: u64, length: u64) -> Self {
        let end = start.saturating_add(length.max(1));
        let last = if end < size { end.div_ceil(CHUNK_LEN) } else { u64::MAX };
        // The last chunk is short, so it is there even if the part ends with a full one.
        Self { size, chunks: start / CHUNK_LEN..last.min((size / CHUNK_LEN).saturating_add(1)) }
    }

    /// Where in the part it begins.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.chunks.start.saturating_mul(CHUNK_LEN)
    }

    /// Where in the part it ends.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.chunks.end.saturating_mul(CHUNK_LEN).min(self.size)
    }

    /// How many bytes of the part it has.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.end().saturating_sub(self.start())
    }

    /// Whether it ends where the part ends.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.chunks.end > self.size / CHUNK_LEN
    }

    /// Whether it is all of the part.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_first() && self.is_last()
    }

    /// Whether it begins where the part begins.
    pub(super) fn is_first(&self) -> bool {
        self.chunks.start == 0
    }

    /// The numbers of its chunks.
    pub(super) fn chunks(&self) -> Range<u64> {
        self.chunks.clone()
    }

    /// Where among the part's sealed bytes its chunks are.
    pub(super) fn sealed(&self) -> Range<u64> {
        sealed_upto(self.chunks.start)..sealed_upto(self.chunks.end).min(sealed_len(self.size))
    }

    /// How many sealed bytes that are.
    pub(super) fn sealed_len(&self) -> usize {
        let Range { start, end } = self.sealed();
        usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX)
    }
}
