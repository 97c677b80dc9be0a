//! Compact JWS (RFC 7515) as tenants sign them, with Ed25519 (RFC 8037) or P-256 (RFC 7518): receipts and proofs of keys.
//!
//! Strict: two algorithms, nothing in the header that points elsewhere, one encoding of every text, a type that each kind
//! has for itself, so that none passes for another. Whose key it is, and what is said, is for the callers.

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::Signer;
use serde_json::Value;

use super::json::{self, Malformed, Object};
use super::jwk::{Algorithm, KeySet, PublicKey};

/// How many bytes a JWS has at most.
pub const MAX_BYTES: usize = 16 * 1024;

/// Header parameters that bring a key along, or demand what is not understood here.
const REFUSED_PARAMETERS: [&str; 5] = ["jku", "jwk", "x5u", "x5c", "crit"];

/// Why a JWS is not accepted; each time the one who sent it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// It is not what it should be: which claim or part of it, and what that must be.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The set has no key of that name.
    #[error("signed with a key that is not registered")]
    KeyUnknown,
    /// The key did not sign it.
    #[error("the signature is invalid")]
    SignatureInvalid,
}

impl From<Malformed> for JwsError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.to_string())
    }
}

/// A private key with which a tenant signs.
pub trait SigningKey {
    /// The public half.
    fn public_key(&self) -> PublicKey;

    /// The signature of `message`.
    fn signature(&self, message: &[u8]) -> [u8; 64];
}

impl SigningKey for ed25519_dalek::SigningKey {
    fn public_key(&self) -> PublicKey {
        PublicKey::Ed25519(self.verifying_key())
    }

    fn signature(&self, message: &[u8]) -> [u8; 64] {
        self.sign(message).to_bytes()
    }
}

impl SigningKey for p256::ecdsa::SigningKey {
    fn public_key(&self) -> PublicKey {
        PublicKey::P256(*self.verifying_key())
    }

    fn signature(&self, message: &[u8]) -> [u8; 64] {
        let signature: p256::ecdsa::Signature = self.sign(message);
        signature.to_bytes().into()
    }
}

/// Signs `claims` with the key that is registered as `kid`.
pub(super) fn sign(typ: &str, claims: &Value, kid: &str, key: &impl SigningKey) -> String {
    let header = serde_json::json!({ "alg": key.public_key().algorithm().name(), "typ": typ, "kid": kid });
    let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    format!("{signed}.{}", encode(&key.signature(signed.as_bytes())))
}

/// A JWS taken apart; nothing of it is verified yet.
pub(super) struct Jws<'a> {
    /// The name of its key.
    pub(super) kid: String,
    /// What it says.
    pub(super) payload: Vec<u8>,
    algorithm: Algorithm,
    /// What the signature is over: header and payload as they were sent.
    signed: &'a str,
    signature: [u8; 64],
}

impl<'a> Jws<'a> {
    /// Takes apart a JWS of the type `typ`.
    pub(super) fn parse(compact: &'a str, typ: &str) -> Result<Self, Malformed> {
        if compact.len() > MAX_BYTES {
            return Err(Malformed::new("it must have at most 16 KiB"));
        }
        let not_compact = || Malformed::new("it must be three parts with dots between them");
        let (signed, signature) = compact.rsplit_once('.').ok_or_else(not_compact)?;
        let (header, payload) = signed.split_once('.').ok_or_else(not_compact)?;
        let signature = decode(signature, "signature")?;
        let signature = signature.try_into().map_err(|_| Malformed::new("signature must be 64 bytes"))?;
        let (kid, algorithm) = read_header(&decode(header, "header")?, typ)?;
        Ok(Self { kid, algorithm, payload: decode(payload, "payload")?, signed, signature })
    }

    /// The key of `keys` that signed it.
    pub(super) fn verify<'k>(&self, keys: &'k KeySet) -> Result<&'k PublicKey, JwsError> {
        let key = keys.get(&self.kid).ok_or(JwsError::KeyUnknown)?;
        if key.algorithm() != self.algorithm {
            return Err(Malformed::new("alg must be that of the key").into());
        }
        if key.verifies(self.signed.as_bytes(), &self.signature) { Ok(key) } else { Err(JwsError::SignatureInvalid) }
    }
}

/// The `kid` and the algorithm of a header that asks for nothing but this.
fn read_header(bytes: &[u8], typ: &str) -> Result<(String, Algorithm), Malformed> {
    let header = json::parse(bytes).ok_or_else(|| Malformed::new("header must be JSON, no member twice"))?;
    let header = Object::document(&header, "header")?;
    if let Some(name) = REFUSED_PARAMETERS.into_iter().find(|name| header.has(name)) {
        return Err(header.wrong(name, "is not allowed"));
    }
    let algorithm = header.value("alg", "must be EdDSA, Ed25519 or ES256", Algorithm::from_name)?;
    header.value("typ", &format!("must be {typ}"), |text| (text == typ).then_some(()))?;
    Ok((header.text("kid")?.to_owned(), algorithm))
}

/// Canonical only: no padding, no other alphabet, no stray bits.
fn decode(text: &str, what: &str) -> Result<Vec<u8>, Malformed> {
    Base64UrlUnpadded::decode_vec(text).map_err(|_| Malformed::new(format!("{what} must be base64url without padding")))
}

fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}
