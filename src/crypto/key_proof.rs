//! Proofs of possession: a tenant shows that it holds a receipt key before the vault takes it, so that it cannot say later
//! that a receipt was somebody else's.
//!
//! A proof is a compact JWS that the key itself signs, over who it is for: `aud` the vault, `iss` the tenant, `jkt` the key's
//! thumbprint (RFC 7638). It has no time: it says who holds the key, not when, and the vault notes when it was told.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::json;

use super::json::{self, Malformed, Object};
use super::jwk::KeySet;
use super::jws::{self, Jws, JwsError, SigningKey};
use crate::domain::ids::{TenantId, VaultId};

/// The `typ` of a proof.
const TYPE: &str = "idvault-key-proof+jwt";

/// The `kid` of the key in `keys` whose possession `proof` shows, by this tenant to this vault.
///
/// # Errors
/// [`JwsError`]: what is wrong first.
pub fn verify(proof: &str, keys: &KeySet, tenant: &TenantId, vault: &VaultId) -> Result<String, JwsError> {
    let jws = Jws::parse(proof, TYPE)?;
    let thumbprint = Base64UrlUnpadded::encode_string(&jws.verify(keys)?.thumbprint());
    let claims = json::parse(&jws.payload).ok_or_else(|| Malformed::new("claims must be JSON, no member twice"))?;
    let claims = Object::document(&claims, "claims")?;
    let expected = [
        ("aud", vault.as_str(), "must be this vault"),
        ("iss", tenant.as_str(), "must be the tenant"),
        ("jkt", &thumbprint, "must be the key's thumbprint (RFC 7638)"),
    ];
    for (name, wanted, rule) in expected {
        claims.value(name, rule, |text| (text == wanted).then_some(()))?;
    }
    Ok(jws.kid)
}

/// Proves possession of `key`, which `tenant` registers with `vault` as `kid`.
#[must_use]
pub fn sign(vault: &str, tenant: &str, kid: &str, key: &impl SigningKey) -> String {
    let thumbprint = Base64UrlUnpadded::encode_string(&key.public_key().thumbprint());
    jws::sign(TYPE, &json!({ "aud": vault, "iss": tenant, "jkt": thumbprint }), kid, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::receipt;
    use ed25519_dalek::SigningKey as Ed25519;

    fn jwk(kid: &str, key: &Ed25519) -> serde_json::Value {
        let x = Base64UrlUnpadded::encode_string(key.verifying_key().as_bytes());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x })
    }

    fn check(proof: &str, keys: &[serde_json::Value]) -> Result<String, JwsError> {
        let keys = KeySet::parse(&json!({ "keys": keys }).to_string()).unwrap();
        verify(proof, &keys, &"acme".parse().unwrap(), &"hk-1".parse().unwrap())
    }

    #[test]
    fn a_proof_is_of_one_key_one_tenant_and_one_vault() {
        let (own, other) = (Ed25519::from_bytes(&[1; 32]), Ed25519::from_bytes(&[2; 32]));
        let keys = [jwk("a", &own), jwk("b", &other)];
        assert_eq!(check(&sign("hk-1", "acme", "a", &own), &keys), Ok("a".to_owned()));
        let malformed = |text: &str| Err(JwsError::Malformed(text.to_owned()));
        assert_eq!(check(&sign("hk-2", "acme", "a", &own), &keys), malformed("aud must be this vault"));
        assert_eq!(check(&sign("hk-1", "rival", "a", &own), &keys), malformed("iss must be the tenant"));
        assert_eq!(check(&sign("hk-1", "acme", "c", &own), &keys), Err(JwsError::KeyUnknown));
        assert_eq!(check(&sign("hk-1", "acme", "b", &own), &keys), Err(JwsError::SignatureInvalid));
        // Of another key's thumbprint, and a receipt in place of a proof.
        let thumbprint = Base64UrlUnpadded::encode_string(&other.public_key().thumbprint());
        let claims = json!({ "aud": "hk-1", "iss": "acme", "jkt": thumbprint });
        assert_eq!(check(&jws::sign(TYPE, &claims, "a", &own), &keys), malformed("jkt must be the key's thumbprint (RFC 7638)"));
        let receipt = receipt::sign(&claims, "a", &own);
        assert_eq!(check(&receipt, &keys), malformed("typ must be idvault-key-proof+jwt"));
        for text in ["", "a.b", "a.b.c"] {
            assert!(matches!(check(text, &keys), Err(JwsError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn a_p256_key_proves_itself() {
        let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        let encode = Base64UrlUnpadded::encode_string;
        let jwk =
            json!({ "kty": "EC", "crv": "P-256", "kid": "p", "x": encode(point.x().unwrap()), "y": encode(point.y().unwrap()) });
        assert_eq!(check(&sign("hk-1", "acme", "p", &key), &[jwk]), Ok("p".to_owned()));
    }
}
