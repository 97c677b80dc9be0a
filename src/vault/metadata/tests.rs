//! What goes and what stays, on real images and on small ones made here. The images have no metadata to begin with, so that
//! one rule judges all: put metadata in anywhere, strip it, and the image is what it was, byte for byte.

#![expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::wildcard_enum_match_arm,
    reason = "byte strings are references, and the formats to strip are three"
)]

use proptest::prelude::*;

use super::*;

const FRONT_JPEG: &[u8] = include_bytes!("../../cli/demo/specimens/0001/front.jpg");
const FACE_WITH_EXIF: &[u8] = include_bytes!("../../cli/demo/specimens/0002/face.jpg");
const BACK_PNG: &[u8] = include_bytes!("../../cli/demo/specimens/0001/back.png");
const BACK_WEBP: &[u8] = include_bytes!("../../cli/demo/specimens/0002/back.webp");
const FORMATS: [MediaType; 3] = [MediaType::Jpeg, MediaType::Png, MediaType::WebP];
const MARK: &[u8] = b"1 deg 17' 22\" N, 103 deg 51' E";

fn stripped(media_type: MediaType, image: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (stripped, removed) = strip(media_type, image)?.expect("a format to strip");
    assert!(stripped.expose().len() <= image.len().saturating_add(GROWTH), "the buffer has grown");
    // Pieces may also lose bytes that mean nothing, and a header its flags.
    assert!(
        !removed.is_empty() || stripped.expose().len() == image.len() || media_type == MediaType::Jpeg,
        "lost without a word"
    );
    Ok(stripped.expose().to_vec())
}

fn removed(media_type: MediaType, image: &[u8]) -> Vec<MetadataKind> {
    strip(media_type, image).unwrap().unwrap().1.into_iter().collect()
}

/// The EXIF block, without a word about what goes.
fn reduce(block: &[u8]) -> Option<[u8; 26]> {
    exif::reduce(block, &mut BTreeSet::new())
}

fn has_mark(image: &[u8]) -> bool {
    image.windows(MARK.len()).any(|window| window == MARK)
}

fn insert(image: &[u8], at: usize, inserted: &[Vec<u8>]) -> Vec<u8> {
    [&image[..at], &inserted.concat(), &image[at..]].concat()
}

/// An EXIF block as cameras write it, with the mark where the place of capture belongs; 0 is no orientation.
fn exif(orientation: u16) -> Vec<u8> {
    let entry = |tag: u16, kind: u16, count: u32| [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes()].concat();
    let mut entries = vec![[entry(0x010F, 2, 4), b"ACM\0".to_vec()].concat()];
    if orientation != 0 {
        entries.push([entry(0x0112, 3, 1), orientation.to_le_bytes().to_vec(), vec![0, 0]].concat());
    }
    entries.push([entry(0x8825, 4, 1), 200_u32.to_le_bytes().to_vec()].concat());
    let count = u16::try_from(entries.len()).unwrap();
    [b"II*\0\x08\0\0\0", &count.to_le_bytes()[..], &entries.concat(), &[0; 4], MARK].concat()
}

fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len().saturating_add(2)).unwrap();
    [&[0xFF, marker], &len.to_be_bytes()[..], content].concat()
}

fn png_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap();
    let crc = crc32fast::hash(&[kind, data].concat());
    [&len.to_be_bytes(), &kind[..], data, &crc.to_be_bytes()].concat()
}

fn riff_chunk(id: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap();
    [id, &len.to_le_bytes()[..], data, &[0][..data.len() % 2]].concat()
}

/// A small image, in the pieces between which metadata may stand.
fn pieces(media_type: MediaType) -> Vec<Vec<u8>> {
    let scan = |pixels: &[u8]| [segment(0xDA, &[1, 1, 0, 0, 63, 0]), pixels.to_vec()].concat();
    match media_type {
        MediaType::Jpeg => vec![
            segment(0xE0, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0"),
            segment(0xE2, b"ICC_PROFILE\0\x01\x01profile"),
            segment(0xEE, b"Adobe\0\x64\0\0\0\0\x01"),
            segment(0xDB, &[1; 65]),
            segment(0xC2, &[8, 0, 16, 0, 16, 1, 1, 0x11, 0]),
            segment(0xC4, &[2; 20]),
            scan(b"pix\xFF\0els\xFF\xD0more\xFF\xD7"),
            segment(0xC4, &[3; 20]),
            scan(b"second\xFF\0scan\xFF"),
        ],
        MediaType::Png => vec![
            png_chunk(b"gAMA", &[0, 0, 0xB1, 0x8F]),
            png_chunk(b"iCCP", b"p\0\0profile"),
            png_chunk(b"acTL", &[0; 8]),
            png_chunk(b"fcTL", &[0; 26]),
            png_chunk(b"IDAT", b"pixels"),
            png_chunk(b"IDAT", b"more pixels"),
            png_chunk(b"fdAT", b"\0\0\0\x01moving"),
        ],
        _ => vec![
            riff_chunk(b"ICCP", b"profile"),
            riff_chunk(b"ANIM", &[0; 6]),
            riff_chunk(b"ANMF", &[&[0; 16][..], &riff_chunk(b"ALPH", b"odd"), &riff_chunk(b"VP8 ", b"pixels")].concat()),
            riff_chunk(b"VP8L", b"more pixels"),
        ],
    }
}

/// The image of these pieces; `flags` are those of metadata in the header of a WebP file.
fn assemble(media_type: MediaType, pieces: &[Vec<u8>], flags: u8) -> Vec<u8> {
    let body = pieces.concat();
    match media_type {
        MediaType::Jpeg => [b"\xFF\xD8", &body[..], b"\xFF\xD9"].concat(),
        MediaType::Png => {
            let header = png_chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]);
            [b"\x89PNG\r\n\x1a\n", &header[..], &body, &png_chunk(b"IEND", &[])].concat()
        }
        _ => {
            let header = riff_chunk(b"VP8X", &[0x32 | flags, 0, 0, 0, 9, 0, 0, 9, 0, 0]);
            riff_chunk(b"RIFF", &[b"WEBP", &header[..], &body].concat())
        }
    }
}

/// A piece with this EXIF block.
fn exif_piece(media_type: MediaType, block: &[u8]) -> Vec<u8> {
    match media_type {
        MediaType::Jpeg => segment(0xE1, &[b"Exif\0\0", block].concat()),
        MediaType::Png => png_chunk(b"eXIf", block),
        _ => riff_chunk(b"EXIF", block),
    }
}

/// A piece that is metadata and says this, and does not turn the image.
fn metadata(media_type: MediaType, kind: usize, text: &[u8]) -> Vec<u8> {
    let say = |name: &[u8]| [name, text].concat();
    match media_type {
        MediaType::Jpeg => match kind % 7 {
            0 => exif_piece(media_type, &say(&exif(1))),
            1 => segment(0xE1, &say(b"http://ns.adobe.com/xap/1.0/\0")),
            2 => segment(0xED, &say(b"Photoshop 3.0\0")),
            3 => segment(0xFE, text),
            4 => segment(0xE0, &say(b"JFXX\0")),
            5 => segment(0xE2, &say(b"MPF\0")),
            _ => segment(0xEF, text),
        },
        MediaType::Png => match kind % 6 {
            0 => exif_piece(media_type, &say(&exif(1))),
            1 => png_chunk(b"tEXt", &say(b"Comment\0")),
            2 => png_chunk(b"zTXt", &say(b"Raw profile type exif\0")),
            3 => png_chunk(b"iTXt", &say(b"XML:com.adobe.xmp\0\0\0\0\0")),
            4 => png_chunk(b"tIME", text),
            _ => png_chunk(b"caBX", text),
        },
        _ => match kind % 3 {
            0 => exif_piece(media_type, &say(&exif(1))),
            1 => riff_chunk(b"XMP ", text),
            _ => riff_chunk(b"note", text),
        },
    }
}

fn formats() -> impl Strategy<Value = MediaType> {
    prop::sample::select(&FORMATS[..])
}

#[test]
fn images_without_metadata_stay_as_they_are() {
    for (media_type, image) in [(MediaType::Jpeg, FRONT_JPEG), (MediaType::Png, BACK_PNG), (MediaType::WebP, BACK_WEBP)] {
        assert!(stripped(media_type, image).unwrap() == image, "{media_type:?}");
    }
    let without_exif = [&FACE_WITH_EXIF[..20], &FACE_WITH_EXIF[44..]].concat();
    assert!(stripped(MediaType::Jpeg, FACE_WITH_EXIF).unwrap() == without_exif);
}

#[test]
fn a_real_image_gives_up_what_was_put_in() {
    for (media_type, image, first, last) in [
        (MediaType::Jpeg, FRONT_JPEG, 2, FRONT_JPEG.len() - 2),
        (MediaType::Png, BACK_PNG, 33, BACK_PNG.len() - 12),
        (MediaType::WebP, BACK_WEBP, 12, BACK_WEBP.len()),
    ] {
        let all: Vec<_> = (0..7).map(|kind| metadata(media_type, kind, MARK)).collect();
        let mut image_with = insert(&insert(image, last, &all), first, &all);
        if media_type == MediaType::WebP {
            let len = u32::try_from(image_with.len() - 8).unwrap();
            image_with[4..8].copy_from_slice(&len.to_le_bytes());
        }
        image_with.extend_from_slice(MARK);
        assert!(has_mark(&image_with));
        assert!(stripped(media_type, &image_with).unwrap() == image, "{media_type:?}");
    }
}

#[test]
fn what_goes_is_told() {
    use MetadataKind::{Exif, Iptc, Location, Other, Text, Thumbnail, Trailer, Xmp};
    let expected: [(MediaType, &[&[MetadataKind]]); 3] = [
        (MediaType::Jpeg, &[&[Location, Exif], &[Xmp], &[Iptc], &[Text], &[Thumbnail], &[Other], &[Other]]),
        (MediaType::Png, &[&[Location, Exif], &[Text], &[Text], &[Xmp], &[Other], &[Other]]),
        (MediaType::WebP, &[&[Location, Exif], &[Xmp], &[Other]]),
    ];
    for (media_type, kinds) in expected {
        let with = |extra: Vec<Vec<u8>>| assemble(media_type, &[extra, pieces(media_type)].concat(), 0);
        for (number, wanted) in kinds.iter().enumerate() {
            assert_eq!(removed(media_type, &with(vec![metadata(media_type, number, MARK)])), *wanted, "{media_type:?} {number}");
        }
        assert_eq!(removed(media_type, &with(vec![])), [], "{media_type:?}");
        assert_eq!(removed(media_type, &[&with(vec![])[..], b"!"].concat()), [Trailer], "{media_type:?}");
        let turned = reduce(&exif(6)).unwrap();
        assert_eq!(removed(media_type, &with(vec![exif_piece(media_type, &turned)])), [], "{media_type:?}: only turned");
        let twice = with(vec![exif_piece(media_type, &turned), exif_piece(media_type, &turned)]);
        assert_eq!(removed(media_type, &twice), [Exif], "{media_type:?}: twice");
    }
    let mut jpeg = pieces(MediaType::Jpeg);
    jpeg[0] = segment(0xE0, &[b"JFIF\0\x01\x02\0\0\x01\0\x01\x01\x0A", MARK].concat());
    assert_eq!(removed(MediaType::Jpeg, &assemble(MediaType::Jpeg, &jpeg, 0)), [Thumbnail]);
}

#[test]
fn of_exif_the_orientation_stays_if_it_turns_the_image() {
    for (media_type, orientation) in FORMATS.into_iter().flat_map(|format| (0..=9).map(move |value| (format, value))) {
        let with = |tiff: &[u8], flag| {
            let exif = exif_piece(media_type, tiff);
            assemble(media_type, &[vec![exif], pieces(media_type)].concat(), flag)
        };
        let wanted = if (2..=8).contains(&orientation) {
            let value = u8::try_from(orientation).unwrap();
            with(&[b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", &[value][..], &[0; 6]].concat(), 8)
        } else {
            assemble(media_type, &pieces(media_type), 0)
        };
        assert!(stripped(media_type, &with(&exif(orientation), 8)).unwrap() == wanted, "{media_type:?} {orientation}");
        assert!(stripped(media_type, &wanted).unwrap() == wanted, "{media_type:?} {orientation}: again");
    }
}

#[test]
fn the_first_exif_block_alone_counts() {
    for media_type in FORMATS {
        let with = |orientations: &[u16]| {
            let blocks = orientations.iter().map(|orientation| exif_piece(media_type, &exif(*orientation)));
            stripped(media_type, &assemble(media_type, &pieces(media_type).into_iter().chain(blocks).collect::<Vec<_>>(), 8))
        };
        assert_eq!((with(&[6, 3]), with(&[1, 3])), (with(&[6]), with(&[])), "{media_type:?}");
    }
}

#[test]
fn an_orientation_is_one_short_number_within_the_directory() {
    let block = exif(6);
    let entry = block.windows(2).position(|tag| tag == b"\x12\x01").unwrap();
    assert!(reduce(&block).is_some());
    // The count of entries, then of the entry the kind, the count and the value.
    for (at, value) in [(8, 1), (entry + 2, 4), (entry + 4, 2), (entry + 9, 1)] {
        let mut other = block.clone();
        other[at] = value;
        assert_eq!(reduce(&other), None, "{at}");
    }
}

#[test]
fn kept_pieces_lose_what_is_more_than_the_image_needs() {
    let jfif = segment(0xE0, &[b"JFIF\0\x01\x02\0\0\x01\0\x01\x01\x0A", MARK].concat());
    let adobe = segment(0xEE, &[b"Adobe\0\x64\0\0\0\0\x01", MARK].concat());
    let mut jpeg = pieces(MediaType::Jpeg);
    (jpeg[0], jpeg[2]) = (jfif, adobe);
    let frame = [&[0; 16][..], &riff_chunk(b"ALPH", b"odd"), &riff_chunk(b"note", MARK), &riff_chunk(b"VP8 ", b"pixels")];
    let mut webp = pieces(MediaType::WebP);
    webp[2] = riff_chunk(b"ANMF", &frame.concat());
    for (media_type, crammed) in [(MediaType::Jpeg, jpeg), (MediaType::WebP, webp)] {
        let clean = assemble(media_type, &pieces(media_type), 0);
        assert!(stripped(media_type, &assemble(media_type, &crammed, 12)).unwrap() == clean, "{media_type:?}");
    }
}

#[test]
fn what_is_no_whole_image_is_refused() {
    for media_type in FORMATS {
        let whole = assemble(media_type, &pieces(media_type), 0);
        assert!((0..whole.len()).all(|len| stripped(media_type, &whole[..len]).is_err()), "{media_type:?}: cut short");
        assert_eq!(stripped(media_type, &assemble(media_type, &[], 0)), Err(Malformed), "{media_type:?}: no pixels");
        for other in FORMATS.into_iter().filter(|other| *other != media_type) {
            assert_eq!(stripped(other, &whole), Err(Malformed), "{media_type:?} as {other:?}");
        }
    }
    let mut damaged = BACK_PNG.to_vec();
    damaged[100] ^= 1;
    assert_eq!(stripped(MediaType::Png, &damaged), Err(Malformed), "a wrong checksum");
    let critical = insert(BACK_PNG, 33, &[png_chunk(b"NEED", b"")]);
    assert_eq!(stripped(MediaType::Png, &critical), Err(Malformed), "an unknown chunk that readers must know");
    assert_eq!(stripped(MediaType::Jpeg, &insert(FRONT_JPEG, 2, &[vec![0]])), Err(Malformed), "a byte between segments");
}

#[test]
fn other_formats_stay_as_they_are() {
    for media_type in MediaType::ALL.into_iter().filter(|media_type| !FORMATS.contains(media_type)) {
        assert!(!can_strip(media_type) && strip(media_type, MARK).unwrap().is_none(), "{media_type:?}");
    }
}

proptest! {
    /// Metadata of every kind, at any place between any pieces, with any text, leaves nothing behind.
    #[test]
    fn metadata_anywhere_goes(
        media_type in formats(),
        inserted in prop::collection::vec((any::<prop::sample::Index>(), 0..42_usize, prop::collection::vec(any::<u8>(), 0..40)), 1..12),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let clean = pieces(media_type);
        let mut with = clean.clone();
        for (at, kind, text) in inserted {
            with.insert(at.index(with.len().saturating_add(1)), metadata(media_type, kind, &text));
        }
        let image = [assemble(media_type, &with, 12), tail].concat();
        prop_assert!(stripped(media_type, &image).unwrap() == assemble(media_type, &clean, 0));
    }

    /// Whatever bytes come: no panic, and what was stripped once is stripped for good.
    #[test]
    fn no_bytes_are_too_strange(
        media_type in formats(),
        kinds in prop::collection::vec(0..42_usize, 0..4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        len in any::<prop::sample::Index>(),
    ) {
        let metadata = kinds.into_iter().map(|kind| metadata(media_type, kind, MARK));
        let mut image = assemble(media_type, &metadata.chain(pieces(media_type)).collect::<Vec<_>>(), 12);
        for (at, value) in changes {
            let at = at.index(image.len());
            image[at] = value;
        }
        for image in [&image[..], &image[..len.index(image.len())]] {
            if let Ok(once) = stripped(media_type, image) {
                prop_assert!(stripped(media_type, &once) == Ok(once));
            }
        }
    }

    /// The directory of an EXIF block may be any bytes.
    #[test]
    fn no_exif_is_too_strange(order in prop::sample::select(&[b"II*\0", b"MM\0*"][..]), bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let reduced = reduce(&[&order[..], &bytes].concat());
        prop_assert_eq!(reduced, reduced.and_then(|block| reduce(&block)));
    }
}
