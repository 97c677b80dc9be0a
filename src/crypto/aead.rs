//! Authenticated encryption of one chunk in place: the seam behind which a cipher's implementation stands.
//!
//! It knows nothing of keys' origin, of nonces' order or of chunks' sequence: `seal` gives each key a life of one message
//! and each nonce one use.
//!
//! Two implementations stand behind it, held equal by property tests and by the vectors of `tests/vectors.rs`: [`Bulk`] for
//! parts, which is AWS-LC unless the cargo feature `aws-lc` is off, and [`Aes256Gcm`], portable Rust, for keys and rows.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, KeyInit};

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// Bytes of a tag.
pub const TAG_LEN: usize = 16;
/// How deep a call of the cipher goes, and more.
const STACK: usize = 8 << 10;

/// A chunk is not what its tag was made for.
#[derive(Debug)]
pub struct BadTag;

/// An implementation of AES-256-GCM (NIST SP 800-38D) under one key, without associated data.
pub trait Aead {
    /// The cipher under `key`.
    fn new(key: &[u8; KEY_LEN]) -> Self;

    /// Encrypts `chunk` in place and returns its tag. Under one key a nonce seals one chunk.
    ///
    /// # Panics
    /// When the chunk is longer than GCM can seal, 64 GiB.
    fn seal(&self, nonce: &[u8; NONCE_LEN], chunk: &mut [u8]) -> [u8; TAG_LEN];

    /// Decrypts a chunk that has its tag behind it, in place, and returns it without the tag.
    ///
    /// # Errors
    /// When the tag is not that of the chunk; `sealed` then holds no plaintext.
    fn open<'a>(&self, nonce: &[u8; NONCE_LEN], sealed: &'a mut [u8]) -> Result<&'a mut [u8], BadTag>;
}

/// The implementation of the crate `aes-gcm`, which wipes its key schedule when dropped.
#[derive(Debug)]
pub struct Aes256Gcm(aes_gcm::Aes256Gcm);

impl Aead for Aes256Gcm {
    fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(KeyInit::new(key.into()))
    }

    #[expect(clippy::expect_used, reason = "chunks are far shorter than GCM's limit, and going on would leave plaintext")]
    fn seal(&self, nonce: &[u8; NONCE_LEN], chunk: &mut [u8]) -> [u8; TAG_LEN] {
        let tag =
            self.0.encrypt_inout_detached(nonce.into(), &[], InOutBuf::from(chunk)).expect("a chunk is under 64 GiB").into();
        wipe_stack();
        tag
    }

    fn open<'a>(&self, nonce: &[u8; NONCE_LEN], sealed: &'a mut [u8]) -> Result<&'a mut [u8], BadTag> {
        let (chunk, tag) = sealed.split_last_chunk_mut::<TAG_LEN>().ok_or(BadTag)?;
        let both = InOutBuf::from(&mut *chunk);
        let opened = self.0.decrypt_inout_detached(nonce.into(), &[], both, (&*tag).into());
        wipe_stack();
        opened.map_err(|_| BadTag)?;
        Ok(chunk)
    }
}

/// Overwrites what a call has left on the stack: the crate `aes-gcm` works on eight blocks at a time there, and leaves the last of a chunk
/// behind, from where they can get anywhere with whatever is moved uninitialised.
#[inline(never)]
fn wipe_stack() {
    let mut below = [0; STACK];
    zeroize::zeroize_bytes(&mut below);
}

#[cfg(not(feature = "aws-lc"))]
pub use Aes256Gcm as Bulk;

#[cfg(feature = "aws-lc")]
pub use aws_lc::Bulk;

#[cfg(feature = "aws-lc")]
mod aws_lc;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seals_as_gcm_test_case_14_says<A: Aead>() {
        // McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B: all zeros.
        let cipher = A::new(&[0; KEY_LEN]);
        let mut chunk = [0; 16];
        let tag = cipher.seal(&[0; NONCE_LEN], &mut chunk);
        assert_eq!(u128::from_be_bytes(chunk), 0xcea7_403d_4d60_6b6e_074e_c5d3_baf3_9d18);
        assert_eq!(u128::from_be_bytes(tag), 0xd0d1_c8a7_9999_6bf0_265b_98b5_d48a_b919);
    }

    #[test]
    fn both_seal_as_gcm_test_case_14_says() {
        seals_as_gcm_test_case_14_says::<Aes256Gcm>();
        seals_as_gcm_test_case_14_says::<Bulk>();
    }

    proptest! {
        #[test]
        fn both_seal_alike_and_open_each_other(key: [u8; KEY_LEN], nonce: [u8; NONCE_LEN], plaintext: Vec<u8>) {
            let (portable, bulk) = (Aes256Gcm::new(&key), Bulk::new(&key));
            let (mut chunk, mut other) = (plaintext.clone(), plaintext.clone());
            let tag = portable.seal(&nonce, &mut chunk);
            prop_assert_eq!(bulk.seal(&nonce, &mut other), tag);
            prop_assert_eq!(&other, &chunk);
            let mut sealed = [&chunk[..], &tag].concat();
            let mut other = sealed.clone();
            prop_assert_eq!(bulk.open(&nonce, &mut sealed).unwrap(), &plaintext);
            prop_assert_eq!(portable.open(&nonce, &mut other).unwrap(), &plaintext);
        }

        #[test]
        fn both_refuse_what_was_changed(plaintext: Vec<u8>, at: prop::sample::Index, bit in 0_u8..8) {
            let (portable, bulk) = (Aes256Gcm::new(&[1; KEY_LEN]), Bulk::new(&[1; KEY_LEN]));
            let mut chunk = plaintext;
            let tag = portable.seal(&[2; NONCE_LEN], &mut chunk);
            let mut sealed = [&chunk[..], &tag].concat();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(portable.open(&[2; NONCE_LEN], &mut sealed.clone()).is_err());
            prop_assert!(bulk.open(&[2; NONCE_LEN], &mut sealed).is_err());
        }
    }

    #[test]
    fn a_chunk_that_does_not_open_holds_no_plaintext() {
        a_chunk_that_does_not_open_stays_shut::<Aes256Gcm>();
        a_chunk_that_does_not_open_stays_shut::<Bulk>();
    }

    fn a_chunk_that_does_not_open_stays_shut<A: Aead>() {
        let cipher = A::new(&[1; KEY_LEN]);
        let mut chunk = *b"a face";
        let tag = cipher.seal(&[2; NONCE_LEN], &mut chunk);
        let sealed = [&chunk[..], &tag].concat();
        let mut changed = sealed.clone();
        changed[6] ^= 1;
        assert!(cipher.open(&[2; NONCE_LEN], &mut changed).is_err());
        assert_ne!(&changed[..6], b"a face");
        assert!(cipher.open(&[3; NONCE_LEN], &mut sealed.clone()).is_err());
        assert!(cipher.open(&[2; NONCE_LEN], &mut [0; TAG_LEN - 1]).is_err());
        assert_eq!(cipher.open(&[2; NONCE_LEN], &mut sealed.clone()).unwrap(), b"a face");
    }
}
