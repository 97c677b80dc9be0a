//! Metadata inside image files: what kinds there are, and what became of them.

use std::collections::BTreeSet;

/// A kind of metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetadataKind {
    /// Where the picture was taken: the GPS directory of EXIF.
    Location,
    /// EXIF.
    Exif,
    /// XMP.
    Xmp,
    /// IPTC and what else Photoshop keeps.
    Iptc,
    /// Comments and texts.
    Text,
    /// A small picture beside the picture.
    Thumbnail,
    /// Bytes after the end of the image.
    Trailer,
    /// Anything else that is no part of the picture.
    Other,
}

impl MetadataKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 8] =
        [Self::Location, Self::Exif, Self::Xmp, Self::Iptc, Self::Text, Self::Thumbnail, Self::Trailer, Self::Other];

    /// Its number, on the wire and on disk.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Location => 1,
            Self::Exif => 2,
            Self::Xmp => 3,
            Self::Iptc => 4,
            Self::Text => 5,
            Self::Thumbnail => 6,
            Self::Trailer => 7,
            Self::Other => 8,
        }
    }

    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// What became of the metadata inside a part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Treatment {
    /// The part is no file, or was taken in by a version that did not tell.
    #[default]
    Unknown,
    /// These kinds were there and were removed.
    Stripped(BTreeSet<MetadataKind>),
    /// The tenant's policy keeps it.
    Kept,
    /// The vault cannot remove it from this format.
    Untouched,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back() {
        for kind in MetadataKind::ALL {
            assert_eq!(MetadataKind::from_number(kind.number()), Some(kind));
        }
        assert_eq!(MetadataKind::from_number(0), None);
    }
}
