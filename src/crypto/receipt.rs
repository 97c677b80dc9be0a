//! Consent receipts on the wire: compact JWS that a tenant signs.
//!
//! Keys come only from the tenant's registered set. The signature is checked before any claim is read. An error names the
//! claim and its rule, never its value.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::json::Malformed;
use super::jwk::KeySet;
use super::jws::{self, Jws, JwsError, SigningKey};
use crate::domain::ids::{TenantId, VaultId};
use crate::domain::receipt::Receipt;

mod claims;

/// The `typ` of a receipt.
const TYPE: &str = "consent-receipt+jwt";

/// Whom a receipt must come from and be made for.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The tenant that hands it over.
    pub issuer: &'a TenantId,
    /// This vault.
    pub audience: &'a VaultId,
}

/// Checks a receipt that a tenant hands over, and reads it. Its times are for [`crate::domain::policy`] to judge.
///
/// # Errors
/// [`JwsError`]: what is wrong first.
pub fn verify(compact: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<Receipt, JwsError> {
    let jws = Jws::parse(compact, TYPE)?;
    jws.verify(keys)?;
    let receipt = claims::read(&jws.payload, jws.kid)?;
    if receipt.issuer != *expected.issuer {
        return Err(Malformed::new("iss must be the tenant that sends it").into());
    }
    if receipt.audience != *expected.audience {
        return Err(Malformed::new("aud must be this vault").into());
    }
    Ok(receipt)
}

/// Reads a receipt that was verified before it was stored, in a row that is sealed. Its signature is not checked again,
/// so a key that was replaced since does no harm.
///
/// # Errors
/// [`JwsError::Malformed`] when it is not a receipt.
pub fn parse_stored(compact: &str) -> Result<Receipt, JwsError> {
    let jws = Jws::parse(compact, TYPE)?;
    Ok(claims::read(&jws.payload, jws.kid)?)
}

/// The digest by which a record and its receipt are tied: over the receipt as it was sent.
#[must_use]
pub fn sha256(compact: &str) -> [u8; 32] {
    Sha256::digest(compact.as_bytes()).into()
}

/// Signs `claims` as a tenant does, with the key that it registered as `kid`.
#[must_use]
pub fn sign(claims: &Value, kid: &str, key: &impl SigningKey) -> String {
    jws::sign(TYPE, claims, kid, key)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests;
