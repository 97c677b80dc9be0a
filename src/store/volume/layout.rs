//! Which frames an extent names: full ones, one behind the other, and at the end of a part one that is shorter.

use std::ops::Range;

use crate::domain::record::Extent;

/// Bytes of the payload of a full frame, and of the frame.
const PAYLOAD_BYTES: u64 = (1 << 20) - 64;
const FRAME_BYTES: u64 = 1 << 20;

/// Where a frame lies.
pub(super) struct Located {
    pub(super) volume: u32,
    pub(super) offset: u64,
    /// The length of its payload.
    pub(super) length: usize,
}

impl Located {
    /// Whether `next` lies right behind this one, so that one read can fetch both.
    pub(super) fn is_before(&self, next: &Self) -> bool {
        self.volume == next.volume && self.offset.saturating_add(FRAME_BYTES) == next.offset
    }
}

/// Whether a frame lies right behind others, which are full: then one extent names them all.
pub(super) fn follows(last: &Extent, next: &Extent) -> bool {
    let (frames, rest) = (last.length / PAYLOAD_BYTES, last.length % PAYLOAD_BYTES);
    rest == 0 && last.volume == next.volume && offset(last, frames) == next.offset
}

/// The frames of a part that hold any of its sealed bytes in `range`, in their order, each with which of its payload those are.
pub(super) fn frames_with(extents: &[Extent], range: Range<u64>) -> impl Iterator<Item = (Located, Range<usize>)> {
    let mut begin = 0_u64;
    let frames = extents.iter().flat_map(|extent| {
        (0..extent.length.div_ceil(PAYLOAD_BYTES)).map(move |number| {
            let length = extent.length.saturating_sub(number.saturating_mul(PAYLOAD_BYTES)).min(PAYLOAD_BYTES);
            (extent.volume, offset(extent, number), length)
        })
    });
    frames.filter_map(move |(volume, offset, length)| {
        let end = begin.saturating_add(length);
        let wanted = range.start.clamp(begin, end)..range.end.clamp(begin, end);
        let [from, to] = [wanted.start, wanted.end].map(|at| in_memory(at.saturating_sub(begin)));
        begin = end;
        (from < to).then_some((Located { volume, offset, length: in_memory(length) }, from..to))
    })
}

/// Where the frame with this number in an extent begins.
fn offset(extent: &Extent, number: u64) -> u64 {
    extent.offset.saturating_add(number.saturating_mul(FRAME_BYTES))
}

/// A length within a frame.
fn in_memory(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
