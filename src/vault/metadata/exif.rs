//! EXIF (CIPA DC-008): a TIFF file whose first directory may say how the image is to be turned.

const ORIENTATION: u16 = 0x0112;
const SHORT: u16 = 3;
const ENTRY_LEN: usize = 12;

/// A block that says of this one nothing but the orientation; nothing if the image is not to be turned.
pub(super) fn reduce(block: &[u8]) -> Option<[u8; 26]> {
    let orientation = orientation(block).filter(|orientation| (2..=8).contains(orientation))?;
    let mut reduced = *b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
    if let Some(value) = reduced.get_mut(18..20) {
        value.copy_from_slice(&orientation.to_be_bytes());
    }
    Some(reduced)
}

fn orientation(block: &[u8]) -> Option<u16> {
    let is_little_endian = match block.first_chunk()? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let u16_at = |bytes: &[u8], at: usize| {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if is_little_endian { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let u32_at = |bytes: &[u8], at: usize| {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if is_little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = block.get(usize::try_from(u32_at(block, 4)?).ok()?..)?;
    let count = usize::from(u16_at(directory, 0)?);
    let mut entries = directory.get(2..)?.chunks_exact(ENTRY_LEN).take(count);
    let entry = entries.find(|entry| u16_at(entry, 0) == Some(ORIENTATION))?;
    (u16_at(entry, 2)? == SHORT && u32_at(entry, 4)? == 1).then(|| u16_at(entry, 8))?
}
