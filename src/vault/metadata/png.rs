//! PNG (W3C, third edition): chunks of a length, a type, data and a checksum.

use std::collections::BTreeSet;

use super::{Malformed, exif, take, take_array};
use crate::domain::metadata::MetadataKind;

const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";

/// In a chunk's type, the bit that tells readers that they can do without it.
const ANCILLARY: u8 = 0x20;

/// Writes the image without its metadata.
pub(super) fn strip(image: &[u8], out: &mut Vec<u8>, removed: &mut BTreeSet<MetadataKind>) -> Result<(), Malformed> {
    let mut rest = image.strip_prefix(SIGNATURE).ok_or(Malformed)?;
    out.extend_from_slice(SIGNATURE);
    let (kind, header) = take_chunk(&mut rest)?;
    if kind != *b"IHDR" {
        return Err(Malformed);
    }
    put(out, kind, header);
    let (mut has_pixels, mut has_exif) = (false, false);
    loop {
        let (kind, data) = take_chunk(&mut rest)?;
        match &kind {
            b"IEND" => {
                put(out, kind, &[]);
                removed.extend((!rest.is_empty()).then_some(MetadataKind::Trailer));
                return if has_pixels { Ok(()) } else { Err(Malformed) };
            }
            b"IDAT" => {
                put(out, kind, data);
                has_pixels = true;
            }
            // Palette, transparency, background, colour space, pixel shape, animation.
            b"PLTE" | b"tRNS" | b"bKGD" | b"sBIT" | b"gAMA" | b"cHRM" | b"sRGB" | b"iCCP" | b"cICP" | b"mDCV" | b"cLLI"
            | b"pHYs" | b"acTL" | b"fcTL" | b"fdAT" => put(out, kind, data),
            b"eXIf" if !has_exif => {
                if let Some(reduced) = exif::reduce(data, removed) {
                    put(out, kind, &reduced);
                }
                has_exif = true;
            }
            [first, ..] if first & ANCILLARY != 0 => {
                removed.insert(kind_of(kind, data));
            }
            _ => return Err(Malformed),
        }
    }
}

/// What a chunk that goes holds.
fn kind_of(kind: [u8; 4], data: &[u8]) -> MetadataKind {
    match &kind {
        b"iTXt" if data.starts_with(b"XML:com.adobe.xmp\0") => MetadataKind::Xmp,
        b"tEXt" | b"zTXt" | b"iTXt" => MetadataKind::Text,
        b"eXIf" => MetadataKind::Exif,
        _ => MetadataKind::Other,
    }
}

fn take_chunk<'a>(rest: &mut &'a [u8]) -> Result<([u8; 4], &'a [u8]), Malformed> {
    let len = u32::from_be_bytes(take_array(rest)?);
    let kind = take_array(rest)?;
    let data = take(rest, usize::try_from(len).map_err(|_| Malformed)?)?;
    if u32::from_be_bytes(take_array(rest)?) == crc32(kind, data) { Ok((kind, data)) } else { Err(Malformed) }
}

fn put(out: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&kind);
    out.extend_from_slice(data);
    out.extend_from_slice(&crc32(kind, data).to_be_bytes());
}

fn crc32(kind: [u8; 4], data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&kind);
    hasher.update(data);
    hasher.finalize()
}
