//! Receipts by hand: what a person's yes is written into. A provider's backend does the same in code.

use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::Key;
use crate::cli::client::Failure;
use crate::cli::{new_uuid, read_text, wall};

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

impl Sign {
    /// Signs and prints.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let key = Key::read(&self.key)?;
        let claims = match &self.claims {
            Some(path) => {
                let text = read_text(path)?;
                serde_json::from_str(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?
            }
            None => self.claims(wall()?)?,
        };
        anstream::println!("{}", key.sign(&claims));
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
