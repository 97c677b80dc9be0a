//! Receipts by hand: a key, and a receipt that a person's yes is written into. A provider's backend does the same in code.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64ct::{Base64UrlUnpadded, Encoding};
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::cli::client::Failure;
use crate::cli::{new_uuid, read_text, wall, write_private};
use crate::crypto::{random, receipt};

/// The name of a key that is not given another.
pub(in crate::cli) const DEFAULT_KID: &str = "receipts-1";

/// Which key to make.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Key {
    /// Where the private key goes, a JWK that only you can read
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Its name
    #[arg(long, default_value = DEFAULT_KID)]
    kid: String,
}

/// What a person agreed to.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Sign {
    /// The private key that `idvault consent key` made
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// All claims, a JSON file; instead of the options below
    #[arg(long, value_name = "FILE", conflicts_with_all = ["vault", "tenant", "subject", "purpose", "category", "recipient", "region"])]
    claims: Option<PathBuf>,
    /// The vault's id
    #[arg(long, required_unless_present = "claims")]
    vault: Option<String>,
    /// The tenant
    #[arg(long, required_unless_present = "claims")]
    tenant: Option<String>,
    /// The person, by your pseudonym: never a name or a number
    #[arg(long, required_unless_present = "claims")]
    subject: Option<String>,
    /// The law the person is under, ISO 3166 alpha-2
    #[arg(long, default_value = "SG")]
    jurisdiction: String,
    /// A purpose agreed to, such as `TRAIN_FACE_MATCH`; several times for several
    #[arg(long, required_unless_present = "claims")]
    purpose: Vec<String>,
    /// A category agreed to, such as `FACE_IMAGE`; several times for several
    #[arg(long, required_unless_present = "claims")]
    category: Vec<String>,
    /// A legal entity that may receive the data; several times for several
    #[arg(long, required_unless_present = "claims")]
    recipient: Vec<String>,
    /// A region where it may; several times for several
    #[arg(long, required_unless_present = "claims")]
    region: Vec<String>,
    /// For how many days it holds
    #[arg(long, default_value_t = 365)]
    days: u16,
}

impl Key {
    /// Makes the key.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        anstream::println!("{:#}", make_key(&self.out, &self.kid)?);
        Ok(ExitCode::SUCCESS)
    }
}

/// Makes a receipt key: the private key into a new file, the JWK set of its public half returned.
pub(in crate::cli) fn make_key(path: &Path, kid: &str) -> Result<Value, Failure> {
    let seed = Zeroizing::new(random::array().map_err(|error| Failure::refused(error.to_string()))?);
    let key = SigningKey::from_bytes(&seed);
    let encode = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
    let (d, x) = (Zeroizing::new(encode(&*seed)), encode(key.verifying_key().as_bytes()));
    let private = Zeroizing::new(format!(
        "{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":{},\"x\":\"{x}\",\"d\":\"{}\"}}\n",
        json!(kid),
        *d
    ));
    write_private(path, private.as_bytes())?;
    Ok(json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x }] }))
}

impl Sign {
    /// Signs and prints.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let (kid, key) = read_key(&self.key)?;
        let claims = match &self.claims {
            Some(path) => {
                let text = read_text(path)?;
                serde_json::from_str(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?
            }
            None => self.claims(wall()?)?,
        };
        anstream::println!("{}", receipt::sign(&claims, &kid, &key));
        Ok(ExitCode::SUCCESS)
    }

    fn claims(&self, now: DateTime<Utc>) -> Result<Value, Failure> {
        let end = now.checked_add_signed(TimeDelta::days(self.days.into())).unwrap_or(now);
        let grant = |purpose: &String| {
            json!({
                "purpose": purpose, "categories": self.category, "decision": "given", "consent_type": "explicit",
                "lawful_basis": "consent", "recipients": self.recipient, "regions": self.region,
                "ui_element_id": "idvault-consent-sign",
            })
        };
        Ok(json!({
            "schema": "idvault.consent/1", "iss": self.tenant, "aud": self.vault, "jti": new_uuid()?,
            "iat": now.timestamp(), "nbf": now.timestamp(), "exp": end.timestamp(),
            "subject_ref": self.subject, "subject_class": "adult", "jurisdiction": self.jurisdiction,
            "notice": { "id": "by-hand", "version": "1", "sha256": "0".repeat(64), "language": "en" },
            "event": { "time": now.to_rfc3339(), "method": "by_hand", "actor": "subject" },
            "grants": self.purpose.iter().map(grant).collect::<Vec<_>>(),
        }))
    }
}

fn read_key(path: &Path) -> Result<(String, SigningKey), Failure> {
    let text = Zeroizing::new(read_text(path)?);
    let jwk: Value = serde_json::from_str(&text).unwrap_or_default();
    let member = |name: &str| jwk.get(name).and_then(Value::as_str);
    let seed = member("d").and_then(|d| Base64UrlUnpadded::decode_vec(d).ok()).and_then(|d| d.try_into().ok());
    let (Some(kid), Some("OKP"), Some(seed)) = (member("kid"), member("kty"), seed) else {
        return Err(Failure::usage(format!("{} is no key that `idvault consent key` made", path.display())));
    };
    Ok((kid.to_owned(), SigningKey::from_bytes(&seed)))
}
