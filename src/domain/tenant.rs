//! A tenant: an eKYC provider, with what the vault needs to know to serve it.

use chrono::{DateTime, Utc};

use crate::domain::ids::TenantId;
use crate::domain::retention::Retention;

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
}
