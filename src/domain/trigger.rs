//! Why records are destroyed.

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// Their time was over.
    RetentionExpired = 1,
    /// The person withdrew the consent, or the last training purpose of it.
    ConsentWithdrawn = 2,
    /// The tenant asked for it.
    RecordShredded = 3,
    /// The person was erased.
    SubjectErased = 4,
    /// All records of the tenant were to go.
    TenantShredded = 5,
}

impl Trigger {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::RetentionExpired, Self::ConsentWithdrawn, Self::RecordShredded, Self::SubjectErased, Self::TenantShredded];

    /// Its number, on the wire and on disk.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::RetentionExpired => 1,
            Self::ConsentWithdrawn => 2,
            Self::RecordShredded => 3,
            Self::SubjectErased => 4,
            Self::TenantShredded => 5,
        }
    }

    /// The one with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.number() == number)
    }

    /// Its name in certificates.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RetentionExpired => "RETENTION_EXPIRED",
            Self::ConsentWithdrawn => "CONSENT_WITHDRAWN",
            Self::RecordShredded => "RECORD_SHREDDED",
            Self::SubjectErased => "SUBJECT_ERASED",
            Self::TenantShredded => "TENANT_SHREDDED",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.name() == name)
    }

    /// The rule that asks for it, in words.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::RetentionExpired => "identification data is destroyed when its retention ends, within 30 days of its upload",
            Self::ConsentWithdrawn => "identification data is destroyed when no training purpose is consented to any more",
            Self::RecordShredded => "identification data is destroyed when its tenant asks for it",
            Self::SubjectErased => "all identification data of a person is destroyed when the person is erased",
            Self::TenantShredded => "all identification data of a tenant is destroyed when the tenant is shredded",
        }
    }
}
