//! Consent receipts on the wire: compact JWS (RFC 7515) that a tenant signs with Ed25519 (RFC 8037).
//!
//! Strict: one algorithm family, keys only from the tenant's registered set, nothing in the header that points elsewhere,
//! one encoding of every receipt. The signature is checked before any claim is read. An error names the claim and its
//! rule, never its value.

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signature, Signer, SigningKey};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::crypto::jwk::KeySet;
use crate::domain::ids::{TenantId, VaultId};
use crate::domain::receipt::Receipt;

mod claims;
pub(super) mod json;

use json::Object;

/// How many bytes a receipt has at most.
pub const MAX_RECEIPT_BYTES: usize = 16 * 1024;

/// The `typ` of a receipt.
const TYPE: &str = "consent-receipt+jwt";

/// Header parameters that bring a key along, or demand what is not understood here.
const REFUSED_PARAMETERS: [&str; 5] = ["jku", "jwk", "x5u", "x5c", "crit"];

/// Whom a receipt must come from and be made for.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The tenant that hands it over.
    pub issuer: &'a TenantId,
    /// This vault.
    pub audience: &'a VaultId,
}

/// Why a receipt is not accepted; each time the one who sent it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It is not a receipt: which claim or part of it, and what that must be.
    #[error("the receipt is malformed: {0}")]
    Malformed(String),
    /// The tenant registered no key of that name.
    #[error("the receipt is signed with a key that is not registered")]
    KeyUnknown,
    /// The registered key did not sign it.
    #[error("the signature of the receipt is invalid")]
    SignatureInvalid,
}

impl ReceiptError {
    fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed(what.into())
    }
}

/// Checks a receipt that a tenant hands over, and reads it. Its times are for [`crate::domain::policy`] to judge.
///
/// # Errors
/// [`ReceiptError`]: what is wrong first.
pub fn verify(compact: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<Receipt, ReceiptError> {
    let jws = Jws::parse(compact)?;
    let key = keys.get(&jws.kid).ok_or(ReceiptError::KeyUnknown)?;
    key.verify_strict(jws.signed.as_bytes(), &jws.signature).map_err(|_| ReceiptError::SignatureInvalid)?;
    let receipt = claims::read(&jws.payload)?;
    if receipt.issuer != *expected.issuer {
        return Err(ReceiptError::malformed("iss must be the tenant that sends it"));
    }
    if receipt.audience != *expected.audience {
        return Err(ReceiptError::malformed("aud must be this vault"));
    }
    Ok(receipt)
}

/// Reads a receipt that was verified before it was stored, in a row that is sealed. Its signature is not checked again,
/// so a key that was replaced since does no harm.
///
/// # Errors
/// [`ReceiptError::Malformed`] when it is not a receipt.
pub fn parse_stored(compact: &str) -> Result<Receipt, ReceiptError> {
    claims::read(&Jws::parse(compact)?.payload)
}

/// The digest by which a record and its receipt are tied: over the receipt as it was sent.
#[must_use]
pub fn sha256(compact: &str) -> [u8; 32] {
    Sha256::digest(compact.as_bytes()).into()
}

/// Signs `claims` as a tenant does, with the key that it registered as `kid`.
#[must_use]
pub fn sign(claims: &Value, kid: &str, key: &SigningKey) -> String {
    let header = serde_json::json!({ "alg": "EdDSA", "typ": TYPE, "kid": kid });
    let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = encode(&key.sign(signed.as_bytes()).to_bytes());
    format!("{signed}.{signature}")
}

/// A JWS taken apart; nothing of it is verified yet.
struct Jws<'a> {
    kid: String,
    payload: Vec<u8>,
    /// What the signature is over: header and payload as they were sent.
    signed: &'a str,
    signature: Signature,
}

impl<'a> Jws<'a> {
    fn parse(compact: &'a str) -> Result<Self, ReceiptError> {
        if compact.len() > MAX_RECEIPT_BYTES {
            return Err(ReceiptError::malformed("it must have at most 16 KiB"));
        }
        let not_compact = || ReceiptError::malformed("it must be three parts with dots between them");
        let (signed, signature) = compact.rsplit_once('.').ok_or_else(not_compact)?;
        let (header, payload) = signed.split_once('.').ok_or_else(not_compact)?;
        let signature = Signature::from_slice(&decode(signature, "signature")?)
            .map_err(|_| ReceiptError::malformed("signature must be 64 bytes"))?;
        Ok(Self { kid: read_header(&decode(header, "header")?)?, payload: decode(payload, "payload")?, signed, signature })
    }
}

/// The `kid` of a header that asks for nothing but this.
fn read_header(bytes: &[u8]) -> Result<String, ReceiptError> {
    let header = json::parse(bytes).ok_or_else(|| ReceiptError::malformed("header must be JSON, no member twice"))?;
    let header = Object::document(&header, "header")?;
    if let Some(name) = REFUSED_PARAMETERS.into_iter().find(|name| header.has(name)) {
        return Err(header.wrong(name, "is not allowed"));
    }
    header.value("alg", "must be EdDSA or Ed25519", |alg| matches!(alg, "EdDSA" | "Ed25519").then_some(()))?;
    header.value("typ", "must be consent-receipt+jwt", |typ| (typ == TYPE).then_some(()))?;
    Ok(header.text("kid")?.to_owned())
}

/// Canonical only: no padding, no other alphabet, no stray bits.
fn decode(text: &str, what: &str) -> Result<Vec<u8>, ReceiptError> {
    Base64UrlUnpadded::decode_vec(text).map_err(|_| ReceiptError::Malformed(format!("{what} must be base64url without padding")))
}

fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests;
