//! The formats a part may have, and how large each may be.
//!
//! A closed list: what is not here is refused at the door. The vault checks the format a part declares against its first
//! bytes and never decodes pixels.

/// How many parts a record has at most, the attributes included.
pub const MAX_PARTS: usize = 16;

/// How many bytes all parts of a record have together at most: 64 MiB.
pub const MAX_RECORD_BYTES: u64 = 64 * MIB;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The format of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaType {
    /// `image/jpeg`.
    Jpeg = 1,
    /// `image/png`.
    Png = 2,
    /// `image/webp`.
    WebP = 3,
    /// `image/heic`.
    Heic = 4,
    /// `application/pdf`.
    Pdf = 5,
    /// `video/mp4`.
    Mp4 = 6,
    /// `video/webm`.
    WebM = 7,
    /// The attributes part: a message of the contract. Nobody declares it; the vault gives it.
    Attributes = 15,
}

impl MediaType {
    /// All formats, in the order of their numbers.
    pub const ALL: [Self; 8] =
        [Self::Jpeg, Self::Png, Self::WebP, Self::Heic, Self::Pdf, Self::Mp4, Self::WebM, Self::Attributes];

    /// Its number on disk.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Jpeg => 1,
            Self::Png => 2,
            Self::WebP => 3,
            Self::Heic => 4,
            Self::Pdf => 5,
            Self::Mp4 => 6,
            Self::WebM => 7,
            Self::Attributes => 15,
        }
    }

    /// The format with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|media_type| media_type.number() == number)
    }

    /// Its media type (RFC 6838).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Heic => "image/heic",
            Self::Pdf => "application/pdf",
            Self::Mp4 => "video/mp4",
            Self::WebM => "video/webm",
            Self::Attributes => "application/x-protobuf; message=idvault.v1.Attributes",
        }
    }

    /// The format that a part header may declare by this media type: every one but [`MediaType::Attributes`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|media_type| media_type.name() == name && *media_type != Self::Attributes)
    }

    /// How many bytes a part of this format has at most.
    #[must_use]
    pub const fn max_bytes(self) -> u64 {
        match self {
            Self::Jpeg | Self::Png | Self::WebP | Self::Heic => 10 * MIB,
            Self::Pdf => 20 * MIB,
            Self::Mp4 | Self::WebM => 50 * MIB,
            Self::Attributes => 16 * KIB,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back() {
        for media_type in MediaType::ALL {
            assert_eq!(MediaType::from_number(media_type.number()), Some(media_type));
            let declared = MediaType::from_name(media_type.name());
            assert_eq!(declared, Some(media_type).filter(|it| *it != MediaType::Attributes));
        }
    }

    #[test]
    fn strangers_have_no_format() {
        for name in ["", "image/gif", "IMAGE/JPEG", "image/jpeg; q=1", "text/html"] {
            assert_eq!(MediaType::from_name(name), None, "{name}");
        }
        assert_eq!(MediaType::from_number(0), None);
    }
}
