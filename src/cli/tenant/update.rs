//! `idvault tenant update`: what is given is changed, and nothing else.

use std::process::ExitCode;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use clap::ArgGroup;
use prost_types::FieldMask;
use sha2::{Digest, Sha256};

use super::Metadata;
use super::keys::KeyFiles;
use crate::cli::client::{Client, Failure, Options};
use crate::cli::{hex, timestamp};
use crate::proto::tenant_service_client::TenantServiceClient;
use crate::proto::{KeyRevocation, MetadataPolicy, Notice, Tenant, UpdateTenantRequest};

#[derive(Debug, clap::Args)]
#[command(group(
    ArgGroup::new("changes")
        .args(["jwks", "revoke_key", "notice", "notice_file", "metadata", "retention_days"])
        .required(true)
        .multiple(true)
))]
#[command(group(ArgGroup::new("notices").args(["notice", "notice_file"]).multiple(true)))]
pub(in crate::cli) struct Update {
    /// Its id
    tenant: String,
    #[command(flatten)]
    keys: KeyFiles,
    /// Receipts that this key signed later count for nothing; several times for several keys
    #[arg(long, value_name = "KID=TIME", value_parser = parse_revocation)]
    revoke_key: Vec<(String, DateTime<Utc>)>,
    /// A text by which it asks for consent; several times for several, oldest first. From the first on that a tenant has, receipts and
    /// records under any other count for nothing
    #[arg(long, value_name = "ID=VERSION=SHA256", conflicts_with = "notice_file")]
    notice: Vec<Text>,
    /// The same, of the text itself
    #[arg(long, value_name = "ID=VERSION=FILE")]
    notice_file: Vec<Text>,
    /// Consents under earlier versions of this one text are void from now on
    #[arg(long, requires = "notices")]
    invalidating: bool,
    /// What happens to metadata in its images
    #[arg(long, value_enum)]
    metadata: Option<Metadata>,
    /// How many days its records live, 1 to 30
    #[arg(long, value_name = "DAYS")]
    retention_days: Option<u32>,
    #[command(flatten)]
    client: Options,
}

/// A text by its name and version, and what else is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text {
    id: String,
    version: String,
    rest: String,
}

impl FromStr for Text {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.splitn(3, '=').map(str::to_owned);
        match (words.next(), words.next(), words.next()) {
            (Some(id), Some(version), Some(rest)) => Ok(Self { id, version, rest }),
            _ => Err("must be three things with = between them, such as kyc=2=kyc-2.txt"),
        }
    }
}

impl Update {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let request = self.request()?;
        let client = Client::connect(self.client).await?;
        let answer = TenantServiceClient::new(client.channel.clone()).update_tenant(client.request(request)).await?;
        client.show(answer.into_inner().tenant.as_ref())
    }

    fn request(&self) -> Result<UpdateTenantRequest, Failure> {
        let mut tenant = Tenant { name: format!("tenants/{}", self.tenant), ..Tenant::default() };
        let mut mask = FieldMask::default();
        let mut change = |field: &str| mask.paths.push(field.to_owned());
        if let Some(keys) = self.keys.read()? {
            change("jwks");
            (tenant.jwks, tenant.jwks_proofs) = keys;
        }
        if !self.revoke_key.is_empty() {
            change("key_revocations");
            let revocation = |(kid, time): &(String, _)| KeyRevocation { kid: kid.clone(), revoke_time: Some(timestamp(*time)) };
            tenant.key_revocations = self.revoke_key.iter().map(revocation).collect();
        }
        tenant.notices = self.notices()?;
        if !tenant.notices.is_empty() {
            change("notices");
        }
        if let Some(metadata) = self.metadata {
            change("metadata_policy");
            tenant.metadata_policy = MetadataPolicy::from(metadata).into();
        }
        if let Some(days) = self.retention_days {
            change("retention_days");
            tenant.retention_days = days;
        }
        Ok(UpdateTenantRequest { tenant: Some(tenant), update_mask: Some(mask) })
    }

    /// The texts given.
    fn notices(&self) -> Result<Vec<Notice>, Failure> {
        let notice = |text: &Text, sha256: String| {
            let Text { id, version, .. } = text.clone();
            Notice { id, version, sha256, invalidating: self.invalidating, ..Notice::default() }
        };
        if self.invalidating && self.notice.len().saturating_add(self.notice_file.len()) != 1 {
            return Err(Failure::usage("--invalidating is for one text: say it with that one alone"));
        }
        let mut notices: Vec<_> = self.notice.iter().map(|text| notice(text, text.rest.clone())).collect();
        for text in &self.notice_file {
            let path = std::path::Path::new(&text.rest);
            let bytes = std::fs::read(path).map_err(|error| Failure::file(path, &error))?;
            notices.push(notice(text, hex(&Sha256::digest(bytes))));
        }
        Ok(notices)
    }
}

fn parse_revocation(text: &str) -> Result<(String, DateTime<Utc>), &'static str> {
    const RULE: &str = "must be KID=TIME, the time in RFC 3339, such as receipts-1=2026-05-01T00:00:00Z";
    let (kid, time) = text.rsplit_once('=').ok_or(RULE)?;
    let time = DateTime::parse_from_rfc3339(time).map_err(|_| RULE)?;
    Ok((kid.to_owned(), time.to_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, FromArgMatches, Parser};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        update: Update,
    }

    fn parse(words: &str) -> Result<Update, clap::Error> {
        let matches = Line::command().try_get_matches_from(format!("update acme {words}").split_whitespace())?;
        Ok(Line::from_arg_matches(&matches)?.update)
    }

    fn request(words: &str) -> (Tenant, Vec<String>) {
        let request = parse(words).unwrap().request().unwrap();
        (request.tenant.unwrap(), request.update_mask.unwrap().paths)
    }

    #[test]
    fn what_is_given_is_in_the_mask_and_nothing_else() {
        let (tenant, mask) = request("--retention-days 7");
        assert_eq!((tenant.name.as_str(), tenant.retention_days, mask), ("tenants/acme", 7, vec!["retention_days".to_owned()]));
        let (tenant, mask) = request("--metadata keep --revoke-key a=b=2026-05-01T00:00:00+02:00");
        assert_eq!(mask, ["key_revocations", "metadata_policy"]);
        let [revocation] = tenant.key_revocations.try_into().unwrap();
        assert_eq!((revocation.kid.as_str(), revocation.revoke_time.unwrap().seconds), ("a=b", 1_777_586_400));
    }

    #[test]
    fn a_text_is_named_by_its_hash() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let (tenant, mask) = request("--notice kyc=1=00 --invalidating");
        assert_eq!(mask, ["notices"]);
        assert_eq!((tenant.notices[0].version.as_str(), tenant.notices[0].sha256.as_str()), ("1", "00"));
        assert!(tenant.notices[0].invalidating);
        let path = file.path().display();
        let (tenant, _) = request(&format!("--notice-file kyc=2={path} --notice-file kyc=3={path}"));
        let [second, third] = tenant.notices.try_into().unwrap();
        assert_eq!((second.version.as_str(), third.version.as_str(), third.invalidating), ("2", "3", false));
        // FIPS 180-2, appendix B.1.
        assert_eq!(second.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn what_makes_no_sense_is_not_understood() {
        assert!(parse("--notice a=1=00 --notice a=2=00 --invalidating").unwrap().request().is_err());
        for words in [
            "",
            "--invalidating",
            "--proof p",
            "--notice a=b",
            "--notice a=1=00 --notice-file a=2=f",
            "--revoke-key a=yesterday",
            "--invalidating --retention-days 7",
        ] {
            assert!(parse(words).is_err(), "{words}");
        }
    }
}
