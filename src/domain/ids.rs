//! Names of things: every identifier is a type of its own, parsed once at the edge and valid from then on.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// A text that is not the identifier it should be; the message says what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(pub &'static str);

/// True when `text` has between 1 and `max` bytes, all of them accepted by `allowed`.
fn is_token(text: &str, max: usize, allowed: fn(u8) -> bool) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(allowed)
}

/// Declares an identifier made of text: its alphabet, its longest length and the sentence that explains both.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:literal, $allowed:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if is_token(text, $max, $allowed) { Ok(Self(text.to_owned())) } else { Err(InvalidId($rule)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// Declares an identifier made of a UUID, written in its canonical lower-case form.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let uuid = Uuid::try_parse(text).map_err(|_| InvalidId("must be a UUID"))?;
                let mut buffer = Uuid::encode_buffer();
                if uuid.hyphenated().encode_lower(&mut buffer) == text {
                    Ok(Self(uuid))
                } else {
                    Err(InvalidId("must be a UUID in lower case with hyphens"))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

text_id!(
    /// A tenant: an eKYC provider, known by its AppID.
    TenantId, 63, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-', "must be 1 to 63 characters of [a-z0-9-]"
);
text_id!(
    /// A vault: the audience of its consent receipts, set once in the configuration.
    VaultId, 128, |b| b.is_ascii_alphanumeric() || b"._:/-".contains(&b), "must be 1 to 128 characters of [A-Za-z0-9._:/-]"
);
text_id!(
    /// The tenant's own name for one eKYC check.
    CallId, 64, |b| b.is_ascii_alphanumeric() || b"._-".contains(&b), "must be 1 to 64 characters of [A-Za-z0-9._-]"
);
text_id!(
    /// A SPIFFE trust domain (SPIFFE-ID, section 2.1).
    TrustDomain, 255, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b), "must be 1 to 255 characters of [a-z0-9._-]"
);

uuid_id!(
    /// A record: one eKYC check of one person; `UUIDv7`.
    RecordId
);
uuid_id!(
    /// A consent, by the `jti` of its receipt.
    ConsentId
);
uuid_id!(
    /// A training job; `UUIDv7`.
    JobId
);
uuid_id!(
    /// A snapshot of a training job; `UUIDv7`.
    SnapshotId
);
uuid_id!(
    /// A certificate of destruction; `UUIDv7`.
    CertificateId
);

/// A caller's name for one attempt to create something, `UUIDv4`: the same name within 24 hours is the same attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(Uuid);

impl RequestId {
    /// The 16 bytes of the UUID.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl FromStr for RequestId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const RULE: InvalidId = InvalidId("must be a UUIDv4");
        let uuid = Uuid::try_parse(text).map_err(|_| RULE)?;
        if uuid.get_version_num() == 4 { Ok(Self(uuid)) } else { Err(RULE) }
    }
}

/// Who calls: a SPIFFE id of the vault's trust domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// `spiffe://<trust domain>/tenant/<id>`: an eKYC provider's backend.
    Tenant(TenantId),
    /// `spiffe://<trust domain>/workload/<name>`: a training workload.
    Workload(String),
    /// `spiffe://<trust domain>/person/<name>`: a person.
    Person(String),
}

impl Identity {
    const RULE: InvalidId =
        InvalidId("must be spiffe://<trust domain>/tenant|workload|person/<name> of this vault's trust domain");

    /// Reads a SPIFFE id that belongs to `domain`.
    ///
    /// # Errors
    /// When the text is not such an id, or belongs to another trust domain.
    pub fn parse(uri: &str, domain: &TrustDomain) -> Result<Self, InvalidId> {
        let path = uri.strip_prefix("spiffe://").and_then(|rest| rest.strip_prefix(domain.as_str())).ok_or(Self::RULE)?;
        path.strip_prefix('/').ok_or(Self::RULE)?.parse()
    }

    /// The SPIFFE id in `domain`.
    #[must_use]
    pub fn to_uri(&self, domain: &TrustDomain) -> String {
        format!("spiffe://{domain}/{self}")
    }
}

/// The path of a SPIFFE id: the identity within its trust domain.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(id) => write!(f, "tenant/{id}"),
            Self::Workload(name) => write!(f, "workload/{name}"),
            Self::Person(name) => write!(f, "person/{name}"),
        }
    }
}

impl FromStr for Identity {
    type Err = InvalidId;

    fn from_str(path: &str) -> Result<Self, InvalidId> {
        let (kind, name) = path.split_once('/').ok_or(Self::RULE)?;
        if !is_token(name, 255, |b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return Err(Self::RULE);
        }
        match kind {
            "tenant" => Ok(Self::Tenant(name.parse()?)),
            "workload" => Ok(Self::Workload(name.to_owned())),
            "person" => Ok(Self::Person(name.to_owned())),
            _ => Err(Self::RULE),
        }
    }
}

/// An hour of expiry, counted from 1970-01-01T00:00Z; records of an hour are due at its start. 24 bits: until the year 3883.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(u32);

impl Hour {
    /// The last hour that fits.
    pub const MAX: Self = Self((1 << 24) - 1);

    /// The hour with this number, if it fits in 24 bits.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The hour `count` later, or the last one.
    #[must_use]
    pub fn plus(self, count: u32) -> Self {
        Self(self.0.saturating_add(count).min(Self::MAX.0))
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A record's number within the vault, 40 bits, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(u64);

impl Serial {
    /// How many bits a serial has: the depth of the key tree.
    pub const BITS: u32 = 40;
    /// The last serial.
    pub const MAX: Self = Self((1 << Self::BITS) - 1);

    /// The serial with this number, if it fits in 40 bits.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Where a record's key grows: its hour's tree and its leaf there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The hour in which the record expires.
    pub hour: Hour,
    /// The record's leaf in that hour's tree.
    pub serial: Serial,
}

impl Place {
    /// The place as one number that sorts by hour, then by serial: the hour's 24 bits, then the serial's 40.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        (u64::from(self.hour.0) << Serial::BITS) | self.serial.0
    }

    /// The place that [`Place::to_u64`] gave this number.
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        let hour = u32::try_from(number >> Serial::BITS).unwrap_or(u32::MAX);
        Self { hour: Hour(hour), serial: Serial(number & Serial::MAX.0) }
    }
}
