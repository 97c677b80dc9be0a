//! Signed notes: a text with an Ed25519 signature under it, in the form of <https://c2sp.org/signed-note>.
//!
//! A note that is verified here has one signature and nothing else: every byte of it counts.

use base64ct::{Base64, Encoding};
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use sha2::{Digest, Sha256};

const ED25519: u8 = 1;
const ID_LEN: usize = 4;

/// Why a note or a key is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The key is not in the form of a verifier key.
    #[error("the key is not <name>+<8 hex digits>+<base64>, as vault.vkey in the vault's directory signing has it")]
    Key,
    /// The text is not a signed note.
    #[error("it is not a signed note: a text, an empty line, and one line with a signature")]
    Form,
    /// Somebody else has signed it.
    #[error("it is signed by {0:?}, not by the key given")]
    OtherSigner(String),
    /// The signature is not one of this text by this key.
    #[error("the signature does not hold: the text or the signature was changed")]
    Signature,
}

/// Who signs, as others know them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    key: VerifyingKey,
}

/// Who signs.
#[expect(missing_debug_implementations, reason = "holds a secret key")]
pub struct NoteSigner {
    name: String,
    key: ed25519_dalek::SigningKey,
}

impl NoteSigner {
    /// Signs under this name.
    #[must_use]
    pub fn new(name: &str, seed: &[u8; 32]) -> Self {
        Self { name: name.to_owned(), key: ed25519_dalek::SigningKey::from_bytes(seed) }
    }

    /// What others verify with.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// The note with this text, which ends with a line break.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        let signed = Base64::encode_string(&[&self.verifier().id()[..], &signature].concat());
        format!("{text}\n\u{2014} {} {signed}\n", self.name)
    }
}

impl Verifier {
    /// The key in the form of the specification: `<name>+<id>+<base64>`.
    ///
    /// # Errors
    /// [`NoteError::Key`].
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        let (rest, key) =
            vkey.trim_end().split_once('+').and_then(|(name, rest)| Some((name, rest.split_once('+')?))).ok_or(NoteError::Key)?;
        let (id, key) = key;
        let bytes = Base64::decode_vec(key).map_err(|_| NoteError::Key)?;
        let key = match bytes.split_first() {
            Some((&ED25519, key)) => {
                key.try_into().ok().and_then(|key| VerifyingKey::from_bytes(key).ok()).ok_or(NoteError::Key)?
            }
            _ => return Err(NoteError::Key),
        };
        let verifier = Self { name: rest.to_owned(), key };
        let is_name = !verifier.name.is_empty() && !verifier.name.contains(char::is_whitespace);
        if is_name && id == base16ct::lower::encode_string(&verifier.id()) { Ok(verifier) } else { Err(NoteError::Key) }
    }

    /// The same form of it.
    #[must_use]
    pub fn to_vkey(&self) -> String {
        let key = Base64::encode_string(&[&[ED25519][..], self.key.as_bytes()].concat());
        format!("{}+{}+{key}", self.name, base16ct::lower::encode_string(&self.id()))
    }

    /// The name it signs under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a note, if it is signed by this key, once, and there is nothing else.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        let signed = note.strip_suffix('\n').ok_or(NoteError::Form)?;
        let (text, line) = signed.rsplit_once("\n\n").ok_or(NoteError::Form)?;
        let (name, encoded) = line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' ')).ok_or(NoteError::Form)?;
        if line.contains('\n') {
            return Err(NoteError::Form);
        }
        if name != self.name {
            return Err(NoteError::OtherSigner(name.to_owned()));
        }
        let bytes = Base64::decode_vec(encoded).map_err(|_| NoteError::Signature)?;
        let (id, signature) = bytes.split_first_chunk::<ID_LEN>().ok_or(NoteError::Signature)?;
        let signature = Signature::from_slice(signature).map_err(|_| NoteError::Signature)?;
        if *id != self.id() {
            return Err(NoteError::OtherSigner(name.to_owned()));
        }
        let end = text.len().saturating_add(1);
        let text = note.get(..end).ok_or(NoteError::Form)?;
        self.key.verify_strict(text.as_bytes(), &signature).map_err(|_| NoteError::Signature)?;
        Ok(text)
    }

    fn id(&self) -> [u8; ID_LEN] {
        let digest =
            Sha256::new().chain_update(&self.name).chain_update(b"\n").chain_update([ED25519]).chain_update(self.key.as_bytes());
        let [a, b, c, d, ..] = digest.finalize().0;
        [a, b, c, d]
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of the Go package golang.org/x/mod/sumdb/note.
    const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn a_note_that_others_signed_is_verified() {
        let verifier = Verifier::parse(VKEY).unwrap();
        assert_eq!(verifier.to_vkey(), VKEY);
        assert!(verifier.open(NOTE).unwrap().ends_with("what your problem is.\n"));
    }

    #[test]
    fn a_note_of_another_key_or_name_is_refused_by_name() {
        let (one, other) = (NoteSigner::new("hk-1", &[1; 32]), NoteSigner::new("hk-2", &[1; 32]));
        let note = one.sign("text\n");
        assert_eq!(one.verifier().open(&note), Ok("text\n"));
        assert_eq!(other.verifier().open(&note), Err(NoteError::OtherSigner("hk-1".to_owned())));
        let same_name = NoteSigner::new("hk-1", &[2; 32]).verifier();
        assert_eq!(same_name.open(&note), Err(NoteError::OtherSigner("hk-1".to_owned())));
        assert_eq!(one.verifier().open(&format!("{note}\u{2014} x eDA4\n")), Err(NoteError::Form));
        for key in ["", "a+b", "hk-1+00000000+AQ==", &VKEY.replace("c74f", "c74e"), &VKEY.replace("Peter", "Piter")] {
            assert_eq!(Verifier::parse(key), Err(NoteError::Key), "{key}");
        }
    }

    proptest! {
        #[test]
        fn no_byte_of_a_note_can_be_changed(text in "[a-z: \n]{0,60}", at in 0_usize..400, to: u8) {
            let signer = NoteSigner::new("hk-1", &[7; 32]);
            let note = signer.sign(&format!("{text}\n"));
            let mut bytes = note.clone().into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            if let Ok(changed) = String::from_utf8(bytes) {
                prop_assert!(signer.verifier().open(&changed).is_err());
            }
        }
    }
}
