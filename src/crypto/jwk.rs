//! A tenant's receipt keys: a JWK set (RFC 7517) of public keys, Ed25519 (RFC 8037) or P-256 (RFC 7518, section 6.2).
//!
//! Never holds a private key: a set that brings one along is refused, since it has then been seen by too many.

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::VerifyingKey;
use p256::ecdsa::signature::Verifier;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::json;

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
    keys: Vec<(String, PublicKey)>,
}

/// How a receipt is signed; each key signs in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032).
    EdDsa,
    /// ECDSA on P-256 with SHA-256, the signature as two 32-byte numbers (RFC 7518, section 3.4).
    Es256,
}

/// A public key that verifies receipts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// For [`Algorithm::EdDsa`].
    Ed25519(VerifyingKey),
    /// For [`Algorithm::Es256`].
    P256(p256::ecdsa::VerifyingKey),
}

impl Algorithm {
    /// The algorithm of this name (RFC 7518, RFC 8037, RFC 9864).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            "ES256" => Some(Self::Es256),
            _ => None,
        }
    }

    /// The name under which this version signs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }
}

impl PublicKey {
    /// The one algorithm that it is for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::EdDsa,
            Self::P256(_) => Algorithm::Es256,
        }
    }

    /// Its required members alone, in the order of their names, without spaces: the form that RFC 7638 hashes.
    #[must_use]
    pub fn to_jwk(&self) -> String {
        let encode = |bytes: Option<&[u8]>| Base64UrlUnpadded::encode_string(bytes.unwrap_or_default());
        match self {
            Self::Ed25519(key) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(Some(key.as_bytes()))),
            Self::P256(key) => {
                let point = key.to_sec1_point(false);
                let (x, y) = (point.x().map(|x| &x[..]), point.y().map(|y| &y[..]));
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, encode(x), encode(y))
            }
        }
    }

    /// Its thumbprint (RFC 7638) with SHA-256: the same for the same key, whatever its name.
    #[must_use]
    pub fn thumbprint(&self) -> [u8; 32] {
        Sha256::digest(self.to_jwk()).into()
    }

    /// Whether it signed `message`. ECDSA has a second signature for each, which anybody can compute: it is another receipt
    /// of the same id, and refused as such.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        match self {
            Self::Ed25519(key) => key.verify_strict(message, &signature.into()).is_ok(),
            Self::P256(key) => {
                p256::ecdsa::Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
        }
    }
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
        let mut keys: Vec<(String, PublicKey)> = Vec::new();
        for entry in entries {
            let (kid, key) = read_key(entry.as_object().ok_or(JwksError("must have objects as keys"))?)?;
            if keys.iter().any(|(earlier, _)| *earlier == kid) {
                return Err(JwksError("must have a different kid for each key"));
            }
            keys.push((kid, key));
        }
        Ok(Self { keys })
    }

    /// The keys with their names, in the order of the set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &PublicKey)> {
        self.keys.iter().map(|(kid, key)| (kid.as_str(), key))
    }

    /// The key of this name.
    #[must_use]
    pub fn get(&self, kid: &str) -> Option<&PublicKey> {
        self.keys.iter().find(|(name, _)| name == kid).map(|(_, key)| key)
    }
}

fn read_key(key: &Map<String, Value>) -> Result<(String, PublicKey), JwksError> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    if key.contains_key("d") {
        return Err(JwksError("must have no private keys"));
    }
    let public = match (text("kty"), text("crv")) {
        (Some("OKP"), Some("Ed25519")) => {
            let x =
                coordinate(text("x")).ok_or(JwksError("must have an x of 32 bytes in base64url without padding for each key"))?;
            // A point of small order makes signatures that fit any message.
            VerifyingKey::from_bytes(&x).ok().filter(|key| !key.is_weak()).map(PublicKey::Ed25519)
        }
        (Some("EC"), Some("P-256")) => {
            let (Some(x), Some(y)) = (coordinate(text("x")), coordinate(text("y"))) else {
                return Err(JwksError("must have an x and a y of 32 bytes in base64url without padding for each P-256 key"));
            };
            // An uncompressed point (SEC 1, section 2.3.4).
            p256::ecdsa::VerifyingKey::from_sec1_bytes(&[&[4], &x[..], &y].concat()).ok().map(PublicKey::P256)
        }
        _ => return Err(JwksError("must have keys of kty OKP and crv Ed25519, or kty EC and crv P-256, only")),
    };
    let public = public.ok_or(JwksError("must have coordinates that are a public key for each key"))?;
    if key.contains_key("use") && text("use") != Some("sig") {
        return Err(JwksError("must have keys with use sig, if any"));
    }
    if key.contains_key("alg") && Algorithm::from_name(text("alg").unwrap_or_default()) != Some(public.algorithm()) {
        return Err(JwksError("must have keys with an alg that fits their kty, if any: EdDSA or Ed25519, ES256"));
    }
    let kid = text("kid").filter(|kid| (1..=MAX_KID).contains(&kid.chars().count()));
    Ok((kid.ok_or(JwksError("must have a kid of 1 to 128 characters for each key"))?.to_owned(), public))
}

fn coordinate(text: Option<&str>) -> Option<[u8; 32]> {
    Base64UrlUnpadded::decode_vec(text?).ok()?.try_into().ok()
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
        assert_eq!(set.get("b"), Some(&PublicKey::Ed25519(SigningKey::from_bytes(&[2; 32]).verifying_key())));
        assert_eq!(set.get("c"), None);
    }

    #[test]
    fn a_p256_key_is_a_point_of_the_curve() {
        // The public key of RFC 7515, appendix A.3.
        let key = json!({
            "kty": "EC", "crv": "P-256", "kid": "a", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        let parse = |key: &Value| KeySet::parse(&json!({ "keys": [key] }).to_string());
        assert_eq!(parse(&key).unwrap().get("a").unwrap().algorithm(), Algorithm::Es256);
        for (name, value) in [("alg", "ES256"), ("use", "sig")] {
            let mut key = key.clone();
            key[name] = json!(value);
            assert!(parse(&key).is_ok(), "{name}");
        }
        let other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for (name, value) in [("y", other), ("x", other), ("y", "AAAA"), ("alg", "EdDSA"), ("crv", "P-384"), ("d", other)] {
            let mut key = key.clone();
            key[name] = json!(value);
            assert!(parse(&key).is_err(), "{name} {value}");
        }
        let mut short = key;
        short.as_object_mut().unwrap().remove("y");
        assert!(parse(&short).is_err());
    }

    #[test]
    fn thumbprints_are_those_of_rfc_7638() {
        // RFC 8037, appendix A.3.
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
        let set = KeySet::parse(&json!({ "keys": [key] }).to_string()).unwrap();
        let (_, key) = set.iter().next().unwrap();
        assert_eq!(Base64UrlUnpadded::encode_string(&key.thumbprint()), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
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
