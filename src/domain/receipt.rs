//! What a consent receipt says, once its signature and its form have been checked.
//!
//! A receipt is written by the tenant when a person decides, and never changes. It keeps the tenant's pseudonyms to
//! itself: they are never shown by `Debug`.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::domain::category::CategorySet;
use crate::domain::ids::{CallId, ConsentId, InvalidId, TenantId, VaultId};
use crate::domain::purpose::Purpose;

/// A person, by the tenant's pseudonym: 1 to 128 characters.
#[derive(Clone, PartialEq, Eq)]
pub struct SubjectRef(String);

impl SubjectRef {
    /// The pseudonym.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubjectRef {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if (1..=128).contains(&text.chars().count()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId("must be 1 to 128 characters"))
        }
    }
}

impl fmt::Debug for SubjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectRef(redacted)")
    }
}

/// Whose law a person is under: an ISO 3166 alpha-2 code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Jurisdiction(String);

impl Jurisdiction {
    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Jurisdiction {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId("must be an ISO 3166 code of two upper-case letters"))
        }
    }
}

/// Whether a person can consent alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectClass {
    /// Of age.
    Adult,
    /// Not of age: a guardian consents too.
    Minor,
}

/// What the person was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Name of the text.
    pub id: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// The language in which it was shown (BCP 47).
    pub language: String,
}

/// The act of deciding.
#[derive(Clone, PartialEq, Eq)]
pub struct ConsentAct {
    /// When.
    pub time: DateTime<Utc>,
    /// How, such as `in_app`.
    pub method: String,
    /// Who acted, in the tenant's words. Never shown by `Debug`.
    pub actor: String,
}

impl fmt::Debug for ConsentAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsentAct").field("time", &self.time).field("method", &self.method).finish_non_exhaustive()
    }
}

/// What a person decided on a purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantDecision {
    /// Yes.
    Given,
    /// No. Beats every yes to the same.
    Refused,
}

/// How a person decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentType {
    /// By an act of their own for exactly this.
    Explicit,
    /// By an act that says so among other things.
    Expressed,
    /// By not objecting.
    Deemed,
}

/// What makes the processing lawful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LawfulBasis {
    /// The person's consent.
    Consent,
    /// An interest of the tenant that outweighs the person's.
    LegitimateInterest,
}

/// One decision: a purpose, what for, by whom, where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The purpose decided on.
    pub purpose: Purpose,
    /// The categories of data decided on.
    pub categories: CategorySet,
    /// Yes or no.
    pub decision: GrantDecision,
    /// How the person decided.
    pub consent_type: ConsentType,
    /// What makes it lawful.
    pub lawful_basis: LawfulBasis,
    /// Legal entities that may receive the data; none when empty.
    pub recipients: Vec<String>,
    /// Regions in which they may; none when empty.
    pub regions: Vec<String>,
    /// The element of the user interface with which an explicit decision was made.
    pub ui_element_id: Option<String>,
    /// What a basis other than consent rests on.
    pub basis_ref: Option<String>,
}

impl Grant {
    /// Whether the vault can use what it gives: [`Grant::is_grounded`] and explicit, by an element of its own.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.is_grounded() && self.consent_type == ConsentType::Explicit && self.ui_element_id.is_some()
    }

    /// Whether all but explicitness is there: the basis is consent, and somebody somewhere may receive the data.
    #[must_use]
    pub fn is_grounded(&self) -> bool {
        self.lawful_basis == LawfulBasis::Consent && !self.recipients.is_empty() && !self.regions.is_empty()
    }
}

/// A consent receipt.
#[derive(Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The name of the key that signed it (`kid`).
    pub kid: String,
    /// The tenant that signed it (`iss`).
    pub issuer: TenantId,
    /// The vault it was made for (`aud`).
    pub audience: VaultId,
    /// The consent's name (`jti`).
    pub id: ConsentId,
    /// When it was signed (`iat`).
    pub issued_at: DateTime<Utc>,
    /// From when on it holds (`nbf`).
    pub not_before: DateTime<Utc>,
    /// From when on it no longer holds (`exp`).
    pub expires_at: DateTime<Utc>,
    /// Who decided.
    pub subject_ref: SubjectRef,
    /// Whether they can alone.
    pub subject_class: SubjectClass,
    /// The law they are under.
    pub jurisdiction: Jurisdiction,
    /// What they were shown.
    pub notice: Notice,
    /// How they decided.
    pub event: ConsentAct,
    /// What they decided.
    pub grants: Vec<Grant>,
    /// The guardian of a minor, by the tenant's pseudonym.
    pub guardian_ref: Option<String>,
    /// The only check this receipt is good for, when it names one.
    pub bound_call_id: Option<CallId>,
}

impl Receipt {
    /// The categories given for `purpose` by grants that `counts` accepts, less all that is refused for it.
    #[must_use]
    pub fn given(&self, purpose: Purpose, counts: impl Fn(&Grant) -> bool) -> CategorySet {
        let (mut given, mut refused) = (CategorySet::default(), CategorySet::default());
        for grant in self.grants.iter().filter(|grant| grant.purpose == purpose) {
            match grant.decision {
                GrantDecision::Given if counts(grant) => given = given.union(grant.categories),
                GrantDecision::Given => {}
                GrantDecision::Refused => refused = refused.union(grant.categories),
            }
        }
        given.without(refused)
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("issuer", &self.issuer).field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudonyms_are_bounded_in_characters_and_hidden() {
        let longest = "é".repeat(128);
        assert_eq!(longest.parse::<SubjectRef>().map(|it| it.as_str().to_owned()), Ok(longest));
        assert!("".parse::<SubjectRef>().is_err());
        assert!("é".repeat(129).parse::<SubjectRef>().is_err());
        assert!(!format!("{:?}", "subject-7".parse::<SubjectRef>()).contains("subject-7"));
    }

    #[test]
    fn jurisdictions_are_two_capitals() {
        assert_eq!("HK".parse::<Jurisdiction>().map(|it| it.as_str().to_owned()), Ok("HK".to_owned()));
        for text in ["", "H", "hk", "HKG", "H1", "É"] {
            assert!(text.parse::<Jurisdiction>().is_err(), "{text}");
        }
    }
}
