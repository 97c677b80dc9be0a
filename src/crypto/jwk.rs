//! A tenant's receipt keys: a JWK set (RFC 7517) of public Ed25519 keys (RFC 8037).
//!
//! Never holds a private key: a set that brings one along is refused, since it has then been seen by too many.

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::VerifyingKey;
use serde_json::{Map, Value};

use crate::crypto::receipt::json;

/// How many keys a set has at most.
const MAX_KEYS: usize = 16;

/// How many bytes a set has at most.
const MAX_BYTES: usize = 16 * 1024;

/// How many characters the name of a key has at most.
const MAX_KID: usize = 128;

/// A text that is not a set of receipt keys; the message says what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JwksError(pub &'static str);

/// The keys that may sign a tenant's receipts, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<(String, VerifyingKey)>,
}

impl KeySet {
    /// Reads a JWK set.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn parse(text: &str) -> Result<Self, JwksError> {
        if text.len() > MAX_BYTES {
            return Err(JwksError("must have at most 16 KiB"));
        }
        let set = json::parse(text.as_bytes()).ok_or(JwksError("must be JSON, no member twice"))?;
        let entries = set.get("keys").and_then(Value::as_array).ok_or(JwksError("must be an object with a list of keys"))?;
        if !(1..=MAX_KEYS).contains(&entries.len()) {
            return Err(JwksError("must have 1 to 16 keys"));
        }
        let mut keys: Vec<(String, VerifyingKey)> = Vec::new();
        for entry in entries {
            let (kid, key) = read_key(entry.as_object().ok_or(JwksError("must have objects as keys"))?)?;
            if keys.iter().any(|(earlier, _)| *earlier == kid) {
                return Err(JwksError("must have a different kid for each key"));
            }
            keys.push((kid, key));
        }
        Ok(Self { keys })
    }

    /// The key of this name.
    pub(super) fn get(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.iter().find(|(name, _)| name == kid).map(|(_, key)| key)
    }
}

fn read_key(key: &Map<String, Value>) -> Result<(String, VerifyingKey), JwksError> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    if key.contains_key("d") {
        return Err(JwksError("must have no private keys"));
    }
    if text("kty") != Some("OKP") || text("crv") != Some("Ed25519") {
        return Err(JwksError("must have keys of kty OKP and crv Ed25519 only"));
    }
    if key.contains_key("use") && text("use") != Some("sig") {
        return Err(JwksError("must have keys with use sig, if any"));
    }
    if key.contains_key("alg") && !matches!(text("alg"), Some("EdDSA" | "Ed25519")) {
        return Err(JwksError("must have keys with alg EdDSA or Ed25519, if any"));
    }
    let kid = text("kid").filter(|kid| (1..=MAX_KID).contains(&kid.chars().count()));
    let kid = kid.ok_or(JwksError("must have a kid of 1 to 128 characters for each key"))?;
    let x = text("x").and_then(|x| Base64UrlUnpadded::decode_vec(x).ok()).and_then(|x| x.try_into().ok());
    let x: [u8; 32] = x.ok_or(JwksError("must have an x of 32 bytes in base64url without padding for each key"))?;
    // A point of small order makes signatures that fit any message.
    let key = VerifyingKey::from_bytes(&x).ok().filter(|key| !key.is_weak());
    Ok((kid.to_owned(), key.ok_or(JwksError("must have an x that is a public key for each key"))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use serde_json::json;

    fn jwk(kid: &str, seed: u8) -> Value {
        let x = Base64UrlUnpadded::encode_string(SigningKey::from_bytes(&[seed; 32]).verifying_key().as_bytes());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x })
    }

    #[test]
    fn keys_are_found_by_name() {
        let set = KeySet::parse(&json!({ "keys": [jwk("a", 1), jwk("b", 2)], "more": 1 }).to_string()).unwrap();
        assert_eq!(set.get("b"), Some(&SigningKey::from_bytes(&[2; 32]).verifying_key()));
        assert_eq!(set.get("c"), None);
    }

    #[test]
    fn every_rule_refuses() {
        let with = |name: &str, value: Value| {
            let mut key = jwk("a", 1);
            key[name] = value;
            json!({ "keys": [key] }).to_string()
        };
        let small_order = Base64UrlUnpadded::encode_string(&[0; 32]);
        let padded = format!("{}=", jwk("a", 1)["x"].as_str().unwrap());
        let refused = [
            String::new(),
            "[]".to_owned(),
            json!({ "keys": [] }).to_string(),
            json!({ "keys": [1] }).to_string(),
            json!({ "keys": (0..17).map(|number| jwk(&number.to_string(), 1)).collect::<Vec<_>>() }).to_string(),
            json!({ "keys": [jwk("a", 1), jwk("a", 2)] }).to_string(),
            json!({ "keys": [jwk("a", 1)], "pad": "x".repeat(MAX_BYTES) }).to_string(),
            json!({ "keys": [jwk("a", 1)] }).to_string().replace("\"kid\"", "\"kid\":\"b\",\"kid\""),
            with("d", json!("AAAA")),
            with("kty", json!("EC")),
            with("crv", json!("X25519")),
            with("use", json!("enc")),
            with("alg", json!("ES256")),
            with("kid", json!("")),
            with("kid", json!(1)),
            with("kid", json!("x".repeat(129))),
            with("x", json!("AAAA")),
            with("x", json!(padded)),
            with("x", json!(small_order)),
        ];
        for text in &refused {
            assert!(KeySet::parse(text).is_err(), "{text}");
        }
        for (name, value) in [("use", "sig"), ("alg", "EdDSA"), ("kid", "other")] {
            assert!(KeySet::parse(&with(name, json!(value))).is_ok(), "{name}");
        }
    }
}
