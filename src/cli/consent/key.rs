//! Receipt keys by hand: made, and proven to be held. A provider's backend does the same in code.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::cli::client::Failure;
use crate::cli::{read_text, write_private};
use crate::crypto::{key_proof, random, receipt};

/// The name of a key that is not given another.
pub(in crate::cli) const DEFAULT_KID: &str = "receipts-1";

/// Which key to make.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Make {
    /// Where the private key goes, a JWK that only you can read
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Its name
    #[arg(long, default_value = DEFAULT_KID)]
    kid: String,
}

/// Which key to prove, and to whom.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Prove {
    /// The private key that `idvault consent key` made
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The vault's id
    #[arg(long)]
    vault: String,
    /// The tenant whose key it is
    #[arg(long)]
    tenant: String,
}

impl Make {
    /// Makes the key and prints its JWK set.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        anstream::println!("{:#}", Key::make(&self.out, &self.kid)?.jwks());
        Ok(ExitCode::SUCCESS)
    }
}

impl Prove {
    /// Prints the proof.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        anstream::println!("{}", Key::read(&self.key)?.prove(&self.vault, &self.tenant));
        Ok(ExitCode::SUCCESS)
    }
}

/// A private receipt key, Ed25519, and its name.
pub(in crate::cli) struct Key {
    kid: String,
    key: SigningKey,
}

impl Key {
    /// Makes a key: the private half goes into a new file.
    pub(in crate::cli) fn make(path: &Path, kid: &str) -> Result<Self, Failure> {
        let seed = Zeroizing::new(random::array().map_err(|error| Failure::refused(error.to_string()))?);
        let key = Self { kid: kid.to_owned(), key: SigningKey::from_bytes(&seed) };
        let d = Zeroizing::new(Base64UrlUnpadded::encode_string(&*seed));
        let private = Zeroizing::new(format!(
            "{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":{},\"x\":\"{}\",\"d\":\"{}\"}}\n",
            json!(kid),
            key.x(),
            *d
        ));
        write_private(path, private.as_bytes())?;
        Ok(key)
    }

    /// Reads a key that was made so.
    pub(in crate::cli) fn read(path: &Path) -> Result<Self, Failure> {
        let text = Zeroizing::new(read_text(path)?);
        let jwk: Value = serde_json::from_str(&text).unwrap_or_default();
        let member = |name: &str| jwk.get(name).and_then(Value::as_str);
        let seed = member("d").and_then(|d| Base64UrlUnpadded::decode_vec(d).ok()).and_then(|d| d.try_into().ok());
        let (Some(kid), Some("OKP"), Some(seed)) = (member("kid"), member("kty"), seed) else {
            return Err(Failure::usage(format!("{} is no key that `idvault consent key` made", path.display())));
        };
        Ok(Self { kid: kid.to_owned(), key: SigningKey::from_bytes(&seed) })
    }

    /// The JWK set of its public half.
    pub(in crate::cli) fn jwks(&self) -> Value {
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": self.x() }] })
    }

    /// The proof, for a vault, that a tenant holds it.
    pub(in crate::cli) fn prove(&self, vault: &str, tenant: &str) -> String {
        key_proof::sign(vault, tenant, &self.kid, &self.key)
    }

    /// A receipt of these claims.
    pub(super) fn sign(&self, claims: &Value) -> String {
        receipt::sign(claims, &self.kid, &self.key)
    }

    fn x(&self) -> String {
        Base64UrlUnpadded::encode_string(self.key.verifying_key().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::jwk::KeySet;

    #[test]
    fn a_key_is_read_as_it_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("receipts.jwk");
        let made = Key::make(&path, "receipts-2").unwrap();
        let read = Key::read(&path).unwrap();
        assert_eq!(read.jwks(), made.jwks());
        assert_eq!(read.prove("hk-1", "acme"), made.prove("hk-1", "acme"));
        assert!(KeySet::parse(&made.jwks().to_string()).is_ok());
        assert!(Key::make(&path, "receipts-2").is_err(), "a key that is there is never replaced");
    }

    #[test]
    fn what_is_no_private_key_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("public.jwk");
        std::fs::write(&path, r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AAAA"}"#).unwrap();
        assert!(Key::read(&path).is_err());
    }
}
