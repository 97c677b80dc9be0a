//! WebP (RFC 9649): RIFF chunks of an id, a length and data; the frames of an animation have chunks of their own.

use std::collections::BTreeSet;

use super::{Malformed, exif, take, take_array};
use crate::domain::metadata::MetadataKind;

const FRAME_HEADER_LEN: usize = 16;
/// Bytes of the extended header. What stands behind them in its chunk, nobody reads.
const HEADER_LEN: usize = 10;

/// In the extended header: alpha, colour profile and animation, the flags of what stays.
const KEPT_FLAGS: u8 = 0x10 | 0x20 | 0x02;
const EXIF_FLAG: u8 = 0x08;

/// What a file and the frames of an animation are made of.
struct Chunk<'a> {
    id: [u8; 4],
    data: &'a [u8],
}

/// Writes the image without its metadata.
pub(super) fn strip(mut image: &[u8], out: &mut Vec<u8>, removed: &mut BTreeSet<MetadataKind>) -> Result<(), Malformed> {
    let file = take_chunk(&mut image)?;
    removed.extend((!image.is_empty()).then_some(MetadataKind::Trailer));
    if file.id != *b"RIFF" {
        return Err(Malformed);
    }
    let chunks = split(file.data.strip_prefix(b"WEBP").ok_or(Malformed)?)?;
    if !chunks.iter().any(|chunk| matches!(&chunk.id, b"VP8 " | b"VP8L" | b"ANMF")) {
        return Err(Malformed);
    }
    let mut exif = chunks.iter().find(|chunk| chunk.id == *b"EXIF").and_then(|chunk| reduce(chunk.data, removed));
    put(out, file.id, |out| {
        out.extend_from_slice(b"WEBP");
        for Chunk { id, data } in chunks {
            match &id {
                b"VP8X" => {
                    removed.extend((data.len() > HEADER_LEN).then_some(MetadataKind::Other));
                    put_data(out, id, &header(data, exif.is_some())?)?;
                }
                b"ICCP" | b"ANIM" | b"ALPH" | b"VP8 " | b"VP8L" => put_data(out, id, data)?,
                b"ANMF" => put_frame(out, id, data, removed)?,
                b"EXIF" => match exif.take() {
                    Some(reduced) => put_data(out, id, &reduced)?,
                    None => {
                        removed.insert(MetadataKind::Exif);
                    }
                },
                b"XMP " => {
                    removed.insert(MetadataKind::Xmp);
                }
                _ => {
                    removed.insert(MetadataKind::Other);
                }
            }
        }
        Ok(())
    })
}

/// EXIF in WebP begins as in JPEG, by some writers, or at once.
fn reduce(block: &[u8], removed: &mut BTreeSet<MetadataKind>) -> Option<[u8; 26]> {
    exif::reduce(block.strip_prefix(b"Exif\0\0").unwrap_or(block), removed)
}

/// The extended header: flags, three reserved bytes and the size of the canvas.
fn header(data: &[u8], has_exif: bool) -> Result<Vec<u8>, Malformed> {
    let (flags, size) = (data.first().ok_or(Malformed)?, data.get(4..HEADER_LEN).ok_or(Malformed)?);
    let exif = if has_exif { EXIF_FLAG } else { 0 };
    Ok([&[flags & KEPT_FLAGS | exif, 0, 0, 0], size].concat())
}

fn put_frame(out: &mut Vec<u8>, id: [u8; 4], mut frame: &[u8], removed: &mut BTreeSet<MetadataKind>) -> Result<(), Malformed> {
    let header = take(&mut frame, FRAME_HEADER_LEN)?;
    let chunks = split(frame)?;
    put(out, id, |out| {
        out.extend_from_slice(header);
        for chunk in chunks {
            if matches!(&chunk.id, b"ALPH" | b"VP8 " | b"VP8L") {
                put_data(out, chunk.id, chunk.data)?;
            } else {
                removed.insert(MetadataKind::Other);
            }
        }
        Ok(())
    })
}

fn split(mut rest: &[u8]) -> Result<Vec<Chunk<'_>>, Malformed> {
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        chunks.push(take_chunk(&mut rest)?);
    }
    Ok(chunks)
}

/// A chunk; after data of odd length there is a byte of padding.
fn take_chunk<'a>(rest: &mut &'a [u8]) -> Result<Chunk<'a>, Malformed> {
    let id = take_array(rest)?;
    let len = usize::try_from(u32::from_le_bytes(take_array(rest)?)).map_err(|_| Malformed)?;
    let data = take(rest, len)?;
    take(rest, len % 2)?;
    Ok(Chunk { id, data })
}

fn put_data(out: &mut Vec<u8>, id: [u8; 4], data: &[u8]) -> Result<(), Malformed> {
    put(out, id, |out| {
        out.extend_from_slice(data);
        Ok(())
    })
}

/// Writes a chunk, and its length when that is known.
fn put(out: &mut Vec<u8>, id: [u8; 4], write_data: impl FnOnce(&mut Vec<u8>) -> Result<(), Malformed>) -> Result<(), Malformed> {
    out.extend_from_slice(&id);
    let len_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let data_at = out.len();
    write_data(out)?;
    let len = u32::try_from(out.len().saturating_sub(data_at)).map_err(|_| Malformed)?;
    out.get_mut(len_at..data_at).ok_or(Malformed)?.copy_from_slice(&len.to_le_bytes());
    if len % 2 == 1 {
        out.push(0);
    }
    Ok(())
}
