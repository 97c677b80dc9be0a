//! The keys of certificates of destruction, and of those that are being put together.

use super::{Table, Tag};
use crate::domain::ids::CertificateId;

/// The key of a certificate.
#[must_use]
pub fn certificate(tenant: Tag, certificate: CertificateId) -> Vec<u8> {
    Table::Certificate.key(&[&tenant.0, certificate.0.as_bytes()])
}

/// What the keys of a tenant's certificates begin with.
#[must_use]
pub fn certificates_of(tenant: Tag) -> Vec<u8> {
    Table::Certificate.key(&[&tenant.0])
}

/// What the keys of all certificates begin with.
#[must_use]
pub fn certificates() -> Vec<u8> {
    Table::Certificate.key(&[])
}

/// The certificate in such a key.
#[must_use]
pub fn certificate_of(key: &[u8]) -> Option<CertificateId> {
    Some(CertificateId(uuid::Uuid::from_bytes(*key.last_chunk()?)))
}

/// What the keys of a certificate's tokens begin with; the number of the piece follows.
#[must_use]
pub fn certificate_tokens(tenant: Tag, certificate: CertificateId) -> Vec<u8> {
    Table::CertificateTokens.key(&[&tenant.0, certificate.0.as_bytes()])
}

/// The key of a certificate that is being put together.
#[must_use]
pub fn draft(tenant: Tag, generation: u64) -> Vec<u8> {
    Table::Draft.key(&[&tenant.0, &generation.to_be_bytes()])
}

/// What the keys of all of those begin with.
#[must_use]
pub fn drafts() -> Vec<u8> {
    Table::Draft.key(&[])
}

/// The key of a piece of its tokens.
#[must_use]
pub fn draft_piece(tenant: Tag, generation: u64, piece: u32) -> Vec<u8> {
    Table::DraftTokens.key(&[&tenant.0, &generation.to_be_bytes(), &piece.to_be_bytes()])
}

/// What the keys of all pieces of the draft under this key begin with.
#[must_use]
pub fn draft_pieces(draft: &[u8]) -> Vec<u8> {
    Table::DraftTokens.key(&[draft.get(1..).unwrap_or_default()])
}
