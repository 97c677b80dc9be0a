//! A tenant: an eKYC provider, with what the vault needs to know to serve it.

use chrono::{DateTime, Utc};

use crate::domain::ids::TenantId;
use crate::domain::receipt::Receipt;
use crate::domain::retention::Retention;
use crate::domain::shredding::Shredding;

/// What happens to metadata inside uploaded image files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataPolicy {
    /// It is removed from JPEG, PNG and WebP before they are sealed; other formats stay as they were sent.
    Strip,
    /// Files are sealed as they were sent.
    Keep,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// The keys that sign its receipts: a JWK set (RFC 7517) as JSON, checked when it was given.
    pub jwks: String,
    /// How long its records live.
    pub retention: Retention,
    /// What happens to metadata in its images.
    pub metadata_policy: MetadataPolicy,
    /// When it was created.
    pub create_time: DateTime<Utc>,
    /// What its receipts rest on, besides its keys.
    pub terms: Terms,
    /// Whether all that it has is to be destroyed.
    pub shredding: Shredding,
}

/// The end of a receipt key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRevocation {
    /// The key's name.
    pub kid: String,
    /// Receipts of the key that were signed later count for nothing.
    pub time: DateTime<Utc>,
}

/// A version of the text by which consent is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeVersion {
    /// Name of the text.
    pub id: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Whether consents under earlier versions are void.
    pub invalidating: bool,
    /// When it was registered.
    pub registered_at: DateTime<Utc>,
}

/// What a tenant's receipts rest on, besides its keys: which of these were revoked, and which texts people were shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Revoked keys, each once.
    pub revocations: Vec<KeyRevocation>,
    /// Registered texts, oldest first. None: any text will do.
    pub notices: Vec<NoticeVersion>,
    /// Whether all that the tenant has is being destroyed, or was: then no receipt counts.
    pub is_shredded: bool,
}

/// Why a receipt counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Void {
    /// Its key was revoked before it was signed.
    KeyRevoked,
    /// Its notice is not a registered one.
    NoticeUnknown,
    /// A later version of its notice voids consents under earlier ones.
    NoticeReplaced,
    /// All that the tenant has is being destroyed, or was.
    TenantShredded,
}

impl Terms {
    /// Whether a receipt counts.
    ///
    /// # Errors
    /// Why it does not.
    pub fn hold(&self, receipt: &Receipt) -> Result<(), Void> {
        if self.is_shredded {
            return Err(Void::TenantShredded);
        }
        if self.revocations.iter().any(|revoked| revoked.kid == receipt.kid && receipt.issued_at > revoked.time) {
            return Err(Void::KeyRevoked);
        }
        if self.notices.is_empty() {
            return Ok(());
        }
        let shown = &receipt.notice;
        let mut versions = self.notices.iter().filter(|notice| notice.id == shown.id);
        let is_shown = |notice: &&NoticeVersion| notice.version == shown.version && notice.sha256 == shown.sha256;
        versions.by_ref().find(is_shown).ok_or(Void::NoticeUnknown)?;
        if versions.any(|later| later.invalidating) { Err(Void::NoticeReplaced) } else { Ok(()) }
    }
}
