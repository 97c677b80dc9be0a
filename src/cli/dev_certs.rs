//! `idvault dev-certs`: a certificate authority and everybody's certificates, for trials on one machine.
//!
//! The authority's key lies beside them, so whoever can read the folder can be anyone. Nothing that is there is replaced.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate, TimeDelta};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};

use super::client::Failure;
use super::{wall, write_private};
use crate::domain::ids::{Identity, TrustDomain};

/// How long the certificates are in force, from the midnight (UTC) before they are made.
const LIFE: TimeDelta = TimeDelta::days(30);
/// What the authority and the vault's own certificate are called.
const AUTHORITY: &str = "ca";
const SERVER: &str = "server";

/// Whom to make certificates for
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder to write to, made if absent
    #[arg(long)]
    dir: PathBuf,
    /// The SPIFFE trust domain of everybody
    #[arg(long, value_name = "DOMAIN", default_value = "example.test")]
    trust_domain: TrustDomain,
    /// The names and IP addresses under which the vault is called
    #[arg(long, value_name = "HOST", default_values = ["localhost", "127.0.0.1", "::1"])]
    host: Vec<String>,
    /// Who calls, and the name of their files
    #[arg(long, value_name = "NAME=KIND/ID", default_values = [
        "operator=person/olga",
        "requester=person/rita",
        "privacy-officer=person/paul",
        "model-owner=person/mona",
        "auditor=person/anna",
        "acme=tenant/acme",
        "trainer=workload/trainer",
    ])]
    caller: Vec<Caller>,
}

/// A caller and the name of its files.
#[derive(Debug, Clone)]
struct Caller {
    name: String,
    identity: Identity,
}

impl FromStr for Caller {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = text.split_once('=').ok_or("must be NAME=KIND/ID, such as acme=tenant/acme")?;
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if name.is_empty() || !plain || [AUTHORITY, SERVER].contains(&name) {
            return Err(format!("the name must be of [A-Za-z0-9_-], and neither {AUTHORITY} nor {SERVER}"));
        }
        let identity = path.parse().map_err(|_| "KIND must be tenant, person or workload, as in acme=tenant/acme")?;
        Ok(Self { name: name.to_owned(), identity })
    }
}

/// A file that is made but not written.
struct Pem {
    path: PathBuf,
    text: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { dir, .. } = arguments;
    for path in write(arguments)? {
        anstream::eprintln!("wrote {}", path.display());
    }
    anstream::println!("[tls]");
    for (setting, file) in [("cert", "server.pem"), ("key", "server.key"), ("client_ca", "ca.pem")] {
        // A string of JSON is one of TOML as well.
        anstream::println!("{setting} = {}", serde_json::Value::from(dir.join(file).display().to_string()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the certificates of these callers, for a vault on this machine.
pub(super) fn make_for(dir: &Path, trust_domain: TrustDomain, callers: &[&str]) -> Result<(), Failure> {
    let caller = callers.iter().map(|caller| caller.parse().map_err(Failure::usage)).collect::<Result<_, _>>()?;
    write(&Arguments { dir: dir.to_owned(), trust_domain, host: vec!["127.0.0.1".to_owned()], caller }).map(drop)
}

fn write(arguments: &Arguments) -> Result<Vec<PathBuf>, Failure> {
    let Arguments { dir, trust_domain, host, caller } = arguments;
    let pems = make(dir, trust_domain, host, caller)?;
    let mut seen = BTreeSet::new();
    if let Some(pem) = pems.iter().find(|pem| pem.path.exists() || !seen.insert(&pem.path)) {
        return Err(Failure::usage(format!("{} would be overwritten", pem.path.display())).with("name another folder or caller"));
    }
    std::fs::create_dir_all(dir).map_err(|error| Failure::file(dir, &error))?;
    for Pem { path, text } in &pems {
        write_private(path, text.as_bytes())?;
    }
    Ok(pems.into_iter().map(|pem| pem.path).collect())
}

/// The authority, the vault and everybody else: a certificate and a key each.
fn make(dir: &Path, domain: &TrustDomain, hosts: &[String], callers: &[Caller]) -> Result<Vec<Pem>, Failure> {
    let mut params = params("idvault dev-certs", Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(params, new_key()?).map_err(strange)?;
    let mut pems = Vec::from(files(dir, AUTHORITY, authority.as_ref(), authority.key()));
    let names = CertificateParams::new(hosts).map_err(|error| Failure::usage(format!("--host: {error}")))?.subject_alt_names;
    pems.extend(leaf(dir, SERVER, names, ExtendedKeyUsagePurpose::ServerAuth, &authority)?);
    for Caller { name, identity } in callers {
        let uri = SanType::URI(identity.to_uri(domain).try_into().map_err(strange)?);
        pems.extend(leaf(dir, name, vec![uri], ExtendedKeyUsagePurpose::ClientAuth, &authority)?);
    }
    Ok(pems)
}

/// A certificate of one end of connections.
fn leaf(
    dir: &Path,
    name: &str,
    names: Vec<SanType>,
    usage: ExtendedKeyUsagePurpose,
    authority: &Issuer<KeyPair>,
) -> Result<[Pem; 2], Failure> {
    let mut params = params(name, names)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    let key = new_key()?;
    Ok(files(dir, name, &params.signed_by(&key, authority).map_err(strange)?, &key))
}

/// What all certificates have: what they are called, and when they are in force.
fn params(common_name: &str, names: Vec<SanType>) -> Result<CertificateParams, Failure> {
    let midnight = |day: NaiveDate| match (u8::try_from(day.month()), u8::try_from(day.day())) {
        (Ok(month), Ok(of_month)) => Ok(date_time_ymd(day.year(), month, of_month)),
        _ => Err(strange("the date")),
    };
    let today = wall()?.date_naive();
    let end = today.checked_add_signed(LIFE).ok_or_else(|| strange("the date"))?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    (params.not_before, params.not_after) = (midnight(today)?, midnight(end)?);
    Ok(params)
}

/// A fresh key on P-256, which every TLS library knows.
fn new_key() -> Result<KeyPair, Failure> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(strange)
}

fn files(dir: &Path, name: &str, certificate: &Certificate, key: &KeyPair) -> [Pem; 2] {
    let pem = |end, text| Pem { path: dir.join(format!("{name}.{end}")), text };
    [pem("pem", certificate.pem()), pem("key", key.serialize_pem())]
}

fn strange(error: impl std::fmt::Display) -> Failure {
    Failure::refused(format!("the certificates cannot be made: {error}"))
}
