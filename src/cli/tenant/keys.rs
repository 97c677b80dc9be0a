//! The receipt keys of a tenant, as files bring them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::client::Failure;
use crate::cli::read_text;

/// Keys and proofs.
#[derive(Debug, clap::Args)]
pub(super) struct KeyFiles {
    /// Its receipt keys, a JWK set as `idvault consent key` prints it; several times to join several
    #[arg(long, value_name = "FILE")]
    jwks: Vec<PathBuf>,
    /// A proof that it holds a new one of these keys, as `idvault consent prove` prints it; several times for several
    #[arg(long, value_name = "FILE", requires = "jwks")]
    proof: Vec<PathBuf>,
}

impl KeyFiles {
    /// All keys as one JWK set, and their proofs. None when no keys are given.
    pub(super) fn read(&self) -> Result<Option<(String, Vec<String>)>, Failure> {
        if self.jwks.is_empty() {
            return Ok(None);
        }
        let mut keys = Vec::new();
        for path in &self.jwks {
            keys.extend(keys_in(path)?);
        }
        let proof = |path: &PathBuf| Ok(read_text(path)?.trim().to_owned());
        let proofs = self.proof.iter().map(proof).collect::<Result<_, Failure>>()?;
        Ok(Some((json!({ "keys": keys }).to_string(), proofs)))
    }
}

fn keys_in(path: &Path) -> Result<Vec<Value>, Failure> {
    let mut set: Value = serde_json::from_str(&read_text(path)?).unwrap_or_default();
    match set.get_mut("keys").map(Value::take) {
        Some(Value::Array(keys)) if keys.iter().any(|key| key.get("d").is_some()) => {
            Err(Failure::usage(format!("{} holds a private key, which is nobody else's", path.display())))
        }
        Some(Value::Array(keys)) => Ok(keys),
        _ => Err(Failure::usage(format!("{} is no JWK set", path.display())).with("`idvault consent key` prints one")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path, texts: &[&str]) -> Vec<PathBuf> {
        let write = |(number, text): (usize, &&str)| {
            let path = dir.join(number.to_string());
            std::fs::write(&path, text).unwrap();
            path
        };
        texts.iter().enumerate().map(write).collect()
    }

    #[test]
    fn sets_are_joined_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let jwks = files(dir.path(), &[r#"{"keys": [{"kid": "a"}]}"#, r#"{"keys": [{"kid": "c"}, {"kid": "b"}]}"#, "proof\n"]);
        let (jwks, proof) = (jwks[..2].to_vec(), jwks[2..].to_vec());
        let (set, proofs) = KeyFiles { jwks, proof }.read().unwrap().unwrap();
        assert_eq!(set, r#"{"keys":[{"kid":"a"},{"kid":"c"},{"kid":"b"}]}"#);
        assert_eq!(proofs, ["proof"]);
        assert_eq!(KeyFiles { jwks: Vec::new(), proof: Vec::new() }.read().unwrap(), None);
    }

    #[test]
    fn what_is_no_set_of_public_keys_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for (text, says) in [("{}", "no JWK set"), ("keys", "no JWK set"), (r#"{"keys": [{"d": "x"}]}"#, "private key")] {
            let jwks = files(dir.path(), &[text]);
            let failure = KeyFiles { jwks, proof: Vec::new() }.read().unwrap_err().to_string();
            assert!(failure.contains(says), "{failure}");
        }
    }
}
