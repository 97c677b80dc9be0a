//! The key that signs certificates: in a directory of its own, since it must outlive every root.
//!
//! `signing/key`: magic `IDVSIGN1`, the seed of an Ed25519 key (RFC 8032, 32 bytes), SHA-256 of both. `signing/vault.vkey`: what
//! others verify with, in the clear.

use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::audit::note::NoteSigner;
use crate::crypto::secret::Secret;
use crate::domain::ids::VaultId;
use crate::files;

const MAGIC: &[u8; 8] = b"IDVSIGN1";

/// The vault's signer, from the directory at `dir`; made there if there is none and none `is_known`.
///
/// # Errors
/// When the key is damaged, is missing although the vault has signed something, or cannot be read or made.
pub(in crate::vault) fn open(dir: &Path, vault: &VaultId, is_known: bool) -> io::Result<NoteSigner> {
    let path = dir.join("key");
    let seed = match fs::read(&path).map(Zeroizing::new) {
        Ok(file) => decode(&file).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, said(&path, "is damaged")))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_known => {
            files::make_dir(dir)?;
            let seed = Secret::random().map_err(io::Error::other)?;
            files::replace(&path, &encode(&seed))?;
            seed
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what =
                "is missing, but the vault has signed certificates: put it back; what another key signs nobody could verify";
            return Err(io::Error::new(io::ErrorKind::NotFound, said(&path, what)));
        }
        Err(error) => return Err(io::Error::new(error.kind(), said(&path, &error.to_string()))),
    };
    let signer = NoteSigner::new(vault.as_str(), seed.expose());
    let vkey = format!("{}\n", signer.verifier().to_vkey());
    let public = dir.join("vault.vkey");
    if fs::read_to_string(&public).ok().as_ref() != Some(&vkey) {
        files::replace(&public, vkey.as_bytes())?;
    }
    Ok(signer)
}

fn encode(seed: &Secret) -> Zeroizing<Vec<u8>> {
    let mut file = Zeroizing::new(Vec::with_capacity(72));
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(seed.expose());
    let digest = Sha256::digest(&*file);
    file.extend_from_slice(&digest);
    file
}

fn decode(file: &[u8]) -> Option<Secret> {
    let (body, digest) = file.split_at_checked(40)?;
    let seed = Secret::from_slice(body.strip_prefix(MAGIC)?)?;
    (Sha256::digest(body).as_slice() == digest).then_some(seed)
}

fn said(path: &Path, what: &str) -> String {
    format!("{} {what}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_never_again() {
        let home = tempfile::tempdir().unwrap();
        let (dir, vault) = (home.path().join("signing"), "hk-1".parse().unwrap());
        let vkey = open(&dir, &vault, false).unwrap().verifier().to_vkey();
        assert_eq!(open(&dir, &vault, true).unwrap().verifier().to_vkey(), vkey);
        assert_eq!(fs::read_to_string(dir.join("vault.vkey")).unwrap(), format!("{vkey}\n"));
        let mut file = fs::read(dir.join("key")).unwrap();
        file[20] ^= 1;
        fs::write(dir.join("key"), file).unwrap();
        assert!(open(&dir, &vault, true).err().unwrap().to_string().contains("is damaged"));
        fs::remove_file(dir.join("key")).unwrap();
        assert!(open(&dir, &vault, true).err().unwrap().to_string().contains("is missing"));
        assert_ne!(open(&dir, &vault, false).unwrap().verifier().to_vkey(), vkey);
    }
}
