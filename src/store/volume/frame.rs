//! The frame: a piece of a sealed part on disk. All numbers are big-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | magic `IVF1` |
//! | 4..8 | CRC-32C of bytes 8.. to the end of the payload |
//! | 8..12, 12..16 | hour of expiry and number of the volume: which volume this is |
//! | 16..24 | sequence: which frame of the volume this is |
//! | 24..32 | up to which offset the volume was synced when this frame was written |
//! | 32..40 | serial of the record |
//! | 40..42 | number of the part |
//! | 42..44 | zero |
//! | 44..48 | length of the payload |
//! | 48..64 | zero |
//! | 64.. | payload, then zeros up to a multiple of 4096 |

use super::VolumeError;
use crate::domain::ids::Place;
use crate::files::direct::ALIGNMENT;

const MAGIC: [u8; 4] = *b"IVF1";

/// Bytes before the payload.
pub(super) const HEADER_LEN: usize = 64;

/// The most that one frame holds, so that the whole frame is 1 MiB.
pub const MAX_PAYLOAD: usize = (1 << 20) - HEADER_LEN;

/// What a frame says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHeader {
    /// The record.
    pub(super) place: Place,
    /// The volume within the record's hour.
    pub(super) volume: u32,
    /// The part of the record.
    pub(super) part: u8,
    /// Which frame of the volume this is.
    pub(super) sequence: u64,
    /// Up to which offset the volume was known to be durable.
    pub(super) synced_upto: u64,
}

impl FrameHeader {
    /// Adds the frame with this payload to `out`, padded to its alignment.
    pub(super) fn add_frame(&self, payload: &[u8], out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.place.hour.number().to_be_bytes());
        out.extend_from_slice(&self.volume.to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.synced_upto.to_be_bytes());
        out.extend_from_slice(&self.place.serial.number().to_be_bytes());
        out.extend_from_slice(&u16::from(self.part).to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(payload);
        let frame = out.get_mut(begin..).unwrap_or_default();
        let crc = crc32c::crc32c(frame.get(8..).unwrap_or_default());
        if let Some(field) = frame.get_mut(4..8) {
            field.copy_from_slice(&crc.to_be_bytes());
        }
        out.resize(begin.saturating_add(length(payload.len())), 0);
    }
}

/// The length of the frame with a payload of this length, padding included.
pub(super) fn length(payload: usize) -> usize {
    HEADER_LEN.saturating_add(payload).next_multiple_of(ALIGNMENT)
}

/// The length of frames with these payloads one behind the other.
pub(super) fn length_of_all(frames: &[(u8, Vec<u8>)]) -> usize {
    frames.iter().map(|(_, payload)| length(payload.len())).sum()
}

/// The payload of `frame` (header and payload, no padding), if it is whole and belongs to this record, volume and part.
pub(super) fn payload(frame: &[u8], place: Place, volume: u32, part: u8) -> Result<&[u8], VolumeError> {
    let (header, payload) = frame.split_first_chunk::<HEADER_LEN>().ok_or(VolumeError::Damaged("no whole header"))?;
    let field = |from: usize, to: usize| header.get(from..to).unwrap_or_default();
    if field(0, 4) != MAGIC {
        return Err(VolumeError::Damaged("no frame starts here"));
    }
    if field(4, 8) != crc32c::crc32c(frame.get(8..).unwrap_or_default()).to_be_bytes() {
        return Err(VolumeError::Damaged("the checksum does not hold"));
    }
    let expected = [
        (field(8, 12), &place.hour.number().to_be_bytes()[..]),
        (field(12, 16), &volume.to_be_bytes()),
        (field(32, 40), &place.serial.number().to_be_bytes()),
        (field(40, 42), &u16::from(part).to_be_bytes()),
        (field(44, 48), &u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes()),
    ];
    if expected.iter().any(|(found, wanted)| found != wanted) {
        return Err(VolumeError::Damaged("the frame belongs to another part"));
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{Hour, Serial};

    #[test]
    fn the_bytes_stay_what_they_are() {
        let place = Place { hour: Hour::new(500_000).unwrap(), serial: Serial::new(77).unwrap() };
        let header = FrameHeader { place, volume: 3, part: 2, sequence: 7, synced_upto: 28_672 };
        let mut out = vec![9; 4096];
        header.add_frame(b"sealed", &mut out);
        // Made outside this code, from docs/format.md.
        let wanted = "49564631a5a254890007a1200000000300000000000000070000000000007000000000000000004d0002000000000006000000000000000000000000000000007365616c6564";
        assert_eq!(base16ct::lower::encode_string(&out[4096..4096 + HEADER_LEN + 6]), wanted);
        assert_eq!(out[4096 + HEADER_LEN + 6..], [0; 4096 - HEADER_LEN - 6]);
        assert_eq!((out[..4096].to_vec(), length(6), length(MAX_PAYLOAD)), (vec![9; 4096], 4096, 1 << 20));
    }
}
