//! Metadata in images: what a camera or a program wrote beside the pixels, the place of capture first of all.
//!
//! An image is cut into the segments or chunks of its container, and only those that say how the pixels are shown are
//! written again: a list of what stays, so that what nobody knows goes. That removes EXIF, XMP, IPTC, comments, texts,
//! thumbnails, maker notes, further images and all that follows the image's end. Of EXIF the orientation stays, alone.
//!
//! Pixels are never decoded nor encoded again: their bytes, colour profiles and the rest of what stays are copied as they
//! are, and what somebody hides *in* them on purpose stays there.

mod exif;
mod jpeg;
mod png;
mod webp;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use crate::crypto::seal::Plaintext;
use crate::domain::media::MediaType;
use crate::domain::metadata::MetadataKind;

/// By how many bytes an image can grow: what [`exif`] adds to a block that ends without the offset of a next directory.
const GROWTH: usize = 4;

/// An image that breaks the rules of its container, ends early or holds no pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the image is malformed")]
pub(super) struct Malformed;

/// Whether metadata can be removed from files of this format.
pub(super) fn can_strip(media_type: MediaType) -> bool {
    matches!(media_type, MediaType::Jpeg | MediaType::Png | MediaType::WebP)
}

/// The image without its metadata, and what of it there was; nothing for a format that stays as it is. Every buffer that
/// held some of it is wiped.
///
/// # Errors
/// When the image is malformed.
pub(super) fn strip(media_type: MediaType, image: &[u8]) -> Result<Option<(Plaintext, BTreeSet<MetadataKind>)>, Malformed> {
    let strip = match media_type {
        MediaType::Jpeg => jpeg::strip,
        MediaType::Png => png::strip,
        MediaType::WebP => webp::strip,
        MediaType::Heic | MediaType::Pdf | MediaType::Mp4 | MediaType::WebM | MediaType::Attributes => return Ok(None),
    };
    // Large enough from the beginning: a vector that grows leaves what it held in freed memory.
    let mut out = Zeroizing::new(Vec::with_capacity(image.len().saturating_add(GROWTH)));
    let mut removed = BTreeSet::new();
    strip(image, &mut out, &mut removed)?;
    Ok(Some((Plaintext::from(std::mem::take(&mut *out)), removed)))
}

/// Takes the next `len` bytes.
fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    rest.split_off(..len).ok_or(Malformed)
}

/// Takes the next `N` bytes.
fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (array, tail) = rest.split_first_chunk().ok_or(Malformed)?;
    *rest = tail;
    Ok(*array)
}
