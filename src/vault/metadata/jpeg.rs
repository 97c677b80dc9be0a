//! JPEG (ITU-T T.81, JFIF: T.871): segments, each after its marker, and the coded pixels of a scan after its header.

use std::collections::BTreeSet;

use super::{Malformed, exif, take, take_array};
use crate::domain::metadata::MetadataKind;

const PREFIX: u8 = 0xFF;
const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const COM: u8 = 0xFE;
const APP0: u8 = 0xE0;
const APP1: u8 = 0xE1;
const APP2: u8 = 0xE2;
const APP13: u8 = 0xED;
const APP14: u8 = 0xEE;
const APP15: u8 = 0xEF;

/// Of a JFIF segment, what precedes the size of the thumbnail.
const JFIF_LEN: usize = 12;
const NO_THUMBNAIL: [u8; 2] = [0, 0];
const ADOBE_LEN: usize = 12;
const EXIF: &[u8; 6] = b"Exif\0\0";

/// Writes the image without its metadata.
pub(super) fn strip(image: &[u8], out: &mut Vec<u8>, removed: &mut BTreeSet<MetadataKind>) -> Result<(), Malformed> {
    let mut rest = image.strip_prefix(&[PREFIX, SOI]).ok_or(Malformed)?;
    out.extend_from_slice(&[PREFIX, SOI]);
    let (mut has_scan, mut has_exif) = (false, false);
    loop {
        let marker = take_marker(&mut rest)?;
        if marker == EOI {
            out.extend_from_slice(&[PREFIX, EOI]);
            removed.extend((!rest.is_empty()).then_some(MetadataKind::Trailer));
            return if has_scan { Ok(()) } else { Err(Malformed) };
        }
        let content = take_content(&mut rest)?;
        match marker {
            // Frame headers, tables, restart interval, number of lines, hierarchy.
            0xC0..=0xC7 | 0xC9..=0xCF | 0xDB..=0xDF => put(out, marker, content),
            SOS => {
                put(out, SOS, content);
                out.extend_from_slice(take_pixels(&mut rest)?);
                has_scan = true;
            }
            APP0 if content.starts_with(b"JFIF\0") => {
                let (header, thumbnail) = content.split_at_checked(JFIF_LEN).ok_or(Malformed)?;
                // Shorter it would grow.
                if thumbnail.len() < NO_THUMBNAIL.len() {
                    return Err(Malformed);
                }
                put(out, APP0, &[header, &NO_THUMBNAIL].concat());
                removed.extend((thumbnail != NO_THUMBNAIL).then_some(MetadataKind::Thumbnail));
            }
            APP1 if content.starts_with(EXIF) && !has_exif => {
                if let Some(reduced) = content.strip_prefix(EXIF).and_then(|block| exif::reduce(block, removed)) {
                    put(out, APP1, &[EXIF.as_slice(), &reduced].concat());
                }
                has_exif = true;
            }
            APP2 if content.starts_with(b"ICC_PROFILE\0") => put(out, APP2, content),
            // How colours are coded.
            APP14 if content.starts_with(b"Adobe") => {
                if let Some(content) = content.get(..ADOBE_LEN) {
                    put(out, APP14, content);
                }
            }
            APP0..=APP15 | COM => {
                removed.insert(kind_of(marker, content));
            }
            _ => return Err(Malformed),
        }
    }
}

/// What a segment that goes holds.
fn kind_of(marker: u8, content: &[u8]) -> MetadataKind {
    const XMP: [&[u8]; 2] = [b"http://ns.adobe.com/xap/", b"http://ns.adobe.com/xmp/"];
    match marker {
        COM => MetadataKind::Text,
        APP0 if content.starts_with(b"JFXX\0") => MetadataKind::Thumbnail,
        APP1 if content.starts_with(EXIF) => MetadataKind::Exif,
        APP1 if XMP.iter().any(|name| content.starts_with(name)) => MetadataKind::Xmp,
        APP13 if content.starts_with(b"Photoshop ") => MetadataKind::Iptc,
        _ => MetadataKind::Other,
    }
}

/// A marker, after any number of fill bytes.
fn take_marker(rest: &mut &[u8]) -> Result<u8, Malformed> {
    if rest.split_off_first() != Some(&PREFIX) {
        return Err(Malformed);
    }
    loop {
        match rest.split_off_first() {
            Some(&PREFIX) => {}
            Some(marker) => return Ok(*marker),
            None => return Err(Malformed),
        }
    }
}

/// The content of a segment, after its length, which counts itself.
fn take_content<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = u16::from_be_bytes(take_array(rest)?).checked_sub(2).ok_or(Malformed)?;
    take(rest, len.into())
}

/// The coded pixels of a scan: they last until a marker other than a restart; a zero marks what only looks like one.
fn take_pixels<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let ends = |pair: &[u8]| matches!(pair, [PREFIX, next] if !matches!(*next, 0 | 0xD0..=0xD7 | PREFIX));
    let len = rest.windows(2).position(ends).ok_or(Malformed)?;
    take(rest, len)
}

fn put(out: &mut Vec<u8>, marker: u8, content: &[u8]) {
    let len = u16::try_from(content.len().saturating_add(2)).unwrap_or(u16::MAX);
    out.extend_from_slice(&[PREFIX, marker]);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(content);
}
