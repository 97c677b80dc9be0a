//! Consent receipts on the wire: compact JWS (RFC 7515) that a tenant signs with Ed25519 (RFC 8037) or P-256 (RFC 7518).
//!
//! Strict: two algorithms, each for keys of its own, keys only from the tenant's registered set, nothing in the header that points elsewhere,
//! one encoding of every receipt. The signature is checked before any claim is read. An error names the claim and its
//! rule, never its value.

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::Signer;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::crypto::jwk::{Algorithm, KeySet};
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
    if key.algorithm() != jws.algorithm {
        return Err(ReceiptError::malformed("alg must be that of the key"));
    }
    if !key.verifies(jws.signed.as_bytes(), &jws.signature) {
        return Err(ReceiptError::SignatureInvalid);
    }
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
pub fn sign(claims: &Value, kid: &str, key: &impl ReceiptKey) -> String {
    let header = serde_json::json!({ "alg": key.algorithm(), "typ": TYPE, "kid": kid });
    let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    format!("{signed}.{}", encode(&key.signature(signed.as_bytes())))
}

/// A private key with which a tenant signs.
pub trait ReceiptKey {
    /// The name of its algorithm, for the header.
    fn algorithm(&self) -> &'static str;

    /// The signature of `message`.
    fn signature(&self, message: &[u8]) -> [u8; 64];
}

impl ReceiptKey for ed25519_dalek::SigningKey {
    fn algorithm(&self) -> &'static str {
        "EdDSA"
    }

    fn signature(&self, message: &[u8]) -> [u8; 64] {
        self.sign(message).to_bytes()
    }
}

impl ReceiptKey for p256::ecdsa::SigningKey {
    fn algorithm(&self) -> &'static str {
        "ES256"
    }

    fn signature(&self, message: &[u8]) -> [u8; 64] {
        let signature: p256::ecdsa::Signature = self.sign(message);
        signature.to_bytes().into()
    }
}

/// A JWS taken apart; nothing of it is verified yet.
struct Jws<'a> {
    kid: String,
    algorithm: Algorithm,
    payload: Vec<u8>,
    /// What the signature is over: header and payload as they were sent.
    signed: &'a str,
    signature: [u8; 64],
}

impl<'a> Jws<'a> {
    fn parse(compact: &'a str) -> Result<Self, ReceiptError> {
        if compact.len() > MAX_RECEIPT_BYTES {
            return Err(ReceiptError::malformed("it must have at most 16 KiB"));
        }
        let not_compact = || ReceiptError::malformed("it must be three parts with dots between them");
        let (signed, signature) = compact.rsplit_once('.').ok_or_else(not_compact)?;
        let (header, payload) = signed.split_once('.').ok_or_else(not_compact)?;
        let signature = decode(signature, "signature")?;
        let signature = signature.try_into().map_err(|_| ReceiptError::malformed("signature must be 64 bytes"))?;
        let (kid, algorithm) = read_header(&decode(header, "header")?)?;
        Ok(Self { kid, algorithm, payload: decode(payload, "payload")?, signed, signature })
    }
}

/// The `kid` and the algorithm of a header that asks for nothing but this.
fn read_header(bytes: &[u8]) -> Result<(String, Algorithm), ReceiptError> {
    let header = json::parse(bytes).ok_or_else(|| ReceiptError::malformed("header must be JSON, no member twice"))?;
    let header = Object::document(&header, "header")?;
    if let Some(name) = REFUSED_PARAMETERS.into_iter().find(|name| header.has(name)) {
        return Err(header.wrong(name, "is not allowed"));
    }
    let algorithm = header.value("alg", "must be EdDSA, Ed25519 or ES256", Algorithm::from_name)?;
    header.value("typ", "must be consent-receipt+jwt", |typ| (typ == TYPE).then_some(()))?;
    Ok((header.text("kid")?.to_owned(), algorithm))
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
