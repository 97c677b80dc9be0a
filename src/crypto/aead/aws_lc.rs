//! AES-256-GCM by AWS-LC, the library that TLS brings along: for the bulk of the data. It wipes its key schedule when it
//! frees it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{Aead, BadTag, KEY_LEN, NONCE_LEN, TAG_LEN};

/// The implementation for parts.
#[derive(Debug)]
pub struct Bulk(LessSafeKey);

impl Aead for Bulk {
    #[expect(clippy::expect_used, reason = "the only reason to fail is a key of another length")]
    fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key has 32 bytes")))
    }

    #[expect(clippy::expect_used, reason = "chunks are far shorter than GCM's limit, and going on would leave plaintext")]
    fn seal(&self, nonce: &[u8; NONCE_LEN], chunk: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::empty(), chunk).expect("a chunk is under 64 GiB");
        tag.as_ref().try_into().expect("a tag has 16 bytes")
    }

    fn open<'a>(&self, nonce: &[u8; NONCE_LEN], sealed: &'a mut [u8]) -> Result<&'a mut [u8], BadTag> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        if self.0.open_in_place(nonce, Aad::empty(), sealed).is_err() {
            // What it leaves there when it fails, it does not say.
            sealed.fill(0);
            return Err(BadTag);
        }
        let length = sealed.len().saturating_sub(TAG_LEN);
        Ok(sealed.split_at_mut(length).0)
    }
}
