//! `idvault verify`: what a vault has signed, verified without it and without a network.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::audit::certificate::{FORM, field, token};
use crate::audit::merkle::Proof;
use crate::audit::note::Verifier;
use crate::domain::ids::{RecordId, TenantId};
use crate::proto::MembershipProof;

use super::client::Failure;

const PROOF_FORM: &str = "idvault/membership/v1";

/// What to verify
#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// A certificate of destruction, as `idvault certificate show --out FILE` saved it
    Certificate(Arguments),
}

/// Which, and by whose key
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The key of the vault, or a file with it: the vault has it in signing/vault.vkey. Get it from the vault's operator, not with the
    /// certificate
    #[arg(long, value_name = "KEY")]
    key: String,
    /// A record that must be one of the certificate's: tenants/TENANT/records/RECORD
    #[arg(long, requires = "proof")]
    record: Option<String>,
    /// The proof of that, as `idvault certificate show --proof FILE` saved it
    #[arg(long, value_name = "FILE", requires = "record")]
    proof: Option<PathBuf>,
}

pub(super) fn run(action: &Action) -> Result<ExitCode, Failure> {
    let Action::Certificate(arguments) = action;
    let key = if Path::new(&arguments.key).is_file() { read(Path::new(&arguments.key))? } else { arguments.key.clone() };
    let verifier = Verifier::parse(&key).map_err(|error| Failure::usage(error.to_string()))?;
    let note = read(&arguments.file)?;
    let refused = |why: String| Failure::refused(format!("{}: NOT VERIFIED: {why}", arguments.file.display()));
    let text = certificate(&verifier, &note).map_err(refused)?;
    if let (Some(record), Some(proof)) = (&arguments.record, &arguments.proof) {
        member(text, record, &read(proof)?).map_err(refused)?;
    }
    anstream::print!("{text}");
    anstream::println!("\nverified: signed by the vault {}", verifier.name());
    if let Some(record) = &arguments.record {
        anstream::println!("verified: {record} is one of its records");
    }
    Ok(ExitCode::SUCCESS)
}

/// The text of a certificate that this key signed.
fn certificate<'a>(verifier: &Verifier, note: &'a str) -> Result<&'a str, String> {
    let text = verifier.open(note).map_err(|error| error.to_string())?;
    if text.lines().next() != Some(FORM) {
        return Err(format!("it is signed, but no certificate: its first line is not {FORM}"));
    }
    match field(text, "vault") {
        Some(vault) if vault == verifier.name() => Ok(text),
        vault => Err(format!("it is of the vault {:?}, the key of {:?}", vault.unwrap_or_default(), verifier.name())),
    }
}

/// Makes sure that a record is one of a certificate's.
fn member(text: &str, record: &str, proof: &str) -> Result<(), String> {
    let (tenant, id) = record_in(record).ok_or("the record must be tenants/TENANT/records/RECORD")?;
    let named = field(text, "name").and_then(|name| name.strip_prefix("tenants/")?.split('/').next());
    if named != Some(tenant.as_str()) {
        return Err("the record is of another tenant than the certificate".to_owned());
    }
    let proof = parse_proof(proof).ok_or("the proof is not in its form, or damaged")?;
    let root = proof.root(&token(&tenant, id)).map(|root| base16ct::lower::encode_string(&root));
    let count = proof.count.to_string();
    if root.as_deref() == field(text, "tokens") && Some(count.as_str()) == field(text, "records") {
        Ok(())
    } else {
        Err("the record is not one of the certificate's, or the proof is of another".to_owned())
    }
}

/// A proof as a file: its form, then place, count and hashes, a line each.
pub(super) fn proof_text(proof: &MembershipProof) -> String {
    let path = proof.path.iter().map(|hash| format!("path: {}", base16ct::lower::encode_string(hash)));
    let lines = [PROOF_FORM.to_owned(), format!("index: {}", proof.index), format!("count: {}", proof.count)];
    lines.into_iter().chain(path).map(|line| line + "\n").collect()
}

fn parse_proof(text: &str) -> Option<Proof> {
    let mut lines = text.lines();
    if lines.next()? != PROOF_FORM {
        return None;
    }
    let index = lines.next()?.strip_prefix("index: ")?.parse().ok()?;
    let count = lines.next()?.strip_prefix("count: ")?.parse().ok()?;
    let hash = |line: &str| {
        let mut hash = [0; 32];
        let decoded = base16ct::lower::decode(line.strip_prefix("path: ")?, &mut hash).ok()?;
        (decoded.len() == 32).then_some(hash)
    };
    Some(Proof { index, count, path: lines.map(hash).collect::<Option<_>>()? })
}

fn record_in(name: &str) -> Option<(TenantId, RecordId)> {
    let (tenant, record) = name.strip_prefix("tenants/")?.split_once("/records/")?;
    Some((tenant.parse().ok()?, record.parse().ok()?))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::merkle;
    use crate::audit::note::NoteSigner;

    #[test]
    fn a_certificate_is_of_the_vault_whose_key_it_is() {
        let signer = NoteSigner::new("hk-1", &[1; 32]);
        let of = |text: &str| certificate(&signer.verifier(), &signer.sign(text)).map(str::to_owned);
        assert!(of(&format!("{FORM}\nvault: hk-1\n")).is_ok());
        assert!(of(&format!("{FORM}\nvault: hk-2\n")).unwrap_err().contains("hk-2"));
        assert!(of("idvault/other/v1\nvault: hk-1\n").unwrap_err().contains("no certificate"));
        let other = NoteSigner::new("hk-1", &[2; 32]).sign(&format!("{FORM}\nvault: hk-1\n"));
        assert!(certificate(&signer.verifier(), &other).unwrap_err().contains("not by the key given"));
    }

    #[test]
    fn membership_is_of_one_record_in_one_certificate() {
        let records: Vec<RecordId> = (0..5).map(|number| RecordId(uuid::Uuid::from_u128(number))).collect();
        let acme = "acme".parse().unwrap();
        let mut tokens: Vec<_> = records.iter().map(|record| token(&acme, *record)).collect();
        tokens.sort_unstable();
        let root = base16ct::lower::encode_string(&merkle::root(&tokens));
        let text = format!("{FORM}\nvault: hk-1\nname: tenants/acme/certificates/1\nrecords: 5\ntokens: {root}\n");
        let proof = |record: RecordId| {
            let index = tokens.binary_search(&token(&acme, record)).unwrap();
            let Proof { index, count, path } = merkle::prove(&tokens, index).unwrap();
            proof_text(&MembershipProof { token: Vec::new(), index, count, path: path.into_iter().map(Vec::from).collect() })
        };
        let name = |tenant: &str, record: RecordId| format!("tenants/{tenant}/records/{record}");
        for record in &records {
            assert_eq!(member(&text, &name("acme", *record), &proof(*record)), Ok(()));
            assert!(member(&text, &name("beta", *record), &proof(*record)).is_err());
        }
        assert!(member(&text, &name("acme", records[0]), &proof(records[1])).is_err());
        assert!(member(&text, &name("acme", records[0]), &proof(records[0]).replace("count: 5", "count: 6")).is_err());
        assert!(member(&text, &name("acme", records[0]), "noise").is_err());
        assert!(member(&text.replace("records: 5", "records: 4"), &name("acme", records[0]), &proof(records[0])).is_err());
    }
}
