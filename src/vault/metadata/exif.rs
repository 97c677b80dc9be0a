//! EXIF (CIPA DC-008): a TIFF file whose first directory may say how the image is to be turned.

use std::collections::BTreeSet;

use crate::domain::metadata::MetadataKind;

const ORIENTATION: u16 = 0x0112;
/// Where the directory of the place of capture is.
const GPS: u16 = 0x8825;
const SHORT: u16 = 3;
const ENTRY_LEN: usize = 12;

/// A block that says of this one nothing but the orientation; nothing if the image is not to be turned. Notes what is left
/// out.
pub(super) fn reduce(block: &[u8], removed: &mut BTreeSet<MetadataKind>) -> Option<[u8; 26]> {
    let reduced = orientation(block).filter(|orientation| (2..=8).contains(orientation)).map(|orientation| {
        let mut reduced = *b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
        if let Some(value) = reduced.get_mut(18..20) {
            value.copy_from_slice(&orientation.to_be_bytes());
        }
        reduced
    });
    if reduced.is_none_or(|reduced| reduced != *block) {
        removed.insert(MetadataKind::Exif);
    }
    if Directory::first(block).is_some_and(|directory| directory.find(GPS).is_some()) {
        removed.insert(MetadataKind::Location);
    }
    reduced
}

fn orientation(block: &[u8]) -> Option<u16> {
    let directory = Directory::first(block)?;
    let entry = directory.find(ORIENTATION)?;
    (directory.u16_at(entry, 2)? == SHORT && directory.u32_at(entry, 4)? == 1).then(|| directory.u16_at(entry, 8))?
}

/// A TIFF directory: entries of a tag, a kind, a count and a value.
struct Directory<'a> {
    is_little_endian: bool,
    entries: &'a [u8],
}

impl<'a> Directory<'a> {
    fn first(block: &'a [u8]) -> Option<Self> {
        let is_little_endian = match block.first_chunk()? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        let mut directory = Self { is_little_endian, entries: block };
        let start = block.get(usize::try_from(directory.u32_at(block, 4)?).ok()?..)?;
        let count = usize::from(directory.u16_at(start, 0)?);
        let entries = start.get(2..)?;
        directory.entries = entries.get(..count.saturating_mul(ENTRY_LEN)).unwrap_or(entries);
        Some(directory)
    }

    fn find(&self, tag: u16) -> Option<&'a [u8]> {
        self.entries.chunks_exact(ENTRY_LEN).find(|entry| self.u16_at(entry, 0) == Some(tag))
    }

    fn u16_at(&self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.is_little_endian { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn u32_at(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.is_little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }
}
