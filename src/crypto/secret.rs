//! A 32-byte secret, and what is derived from one: HKDF-Expand (RFC 5869) with SHA-512, HMAC (RFC 2104) with SHA-256.
//!
//! A secret is built where it stays, in locked memory, and wiped when dropped. It never prints, copies, compares or
//! serialises itself; whoever needs its bytes asks with [`Secret::expose`], so that a search finds every place.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

use super::locked::{LEN, Locked};
use super::random::{self, RandomError};

/// Bytes of a block of SHA-512: the key of its HMAC, padded with zeros.
const SHA512_BLOCK: usize = 128;
/// Bytes of a digest of SHA-512.
const SHA512_LEN: usize = 64;

/// 32 secret bytes.
#[expect(missing_debug_implementations, reason = "a secret is never printed")]
pub struct Secret(Locked);

/// What a secret is when it has no place: never while it is alive.
const NOTHING: [u8; LEN] = [0; LEN];

impl Secret {
    /// A fresh random secret.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn random() -> Result<Self, RandomError> {
        let mut secret = Locked::one();
        random::fill(secret.all_mut().as_flattened_mut())?;
        Ok(Self(secret))
    }

    /// A copy of `bytes`, if they are exactly 32.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == LEN).then(|| Self::build(|secret| secret.copy_from_slice(bytes)))
    }

    /// The secret that `write` puts in place of 32 zeros.
    pub fn build(write: impl FnOnce(&mut [u8; LEN])) -> Self {
        let mut secret = Locked::one();
        secret.all_mut().first_mut().map(write);
        Self(secret)
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; LEN] {
        self.0.get(0).unwrap_or(&NOTHING)
    }

    /// The secret that HKDF-Expand derives for `info`, whose pieces are concatenated: fixed or length-prefixed, so that
    /// no two callers mean the same bytes.
    #[must_use]
    pub fn derive(&self, info: &[&[u8]]) -> Self {
        Self::build(|out| self.expand(info, out))
    }

    /// HMAC-SHA-256 of `message`, whose pieces are concatenated: callers prefix those of variable length with it.
    #[must_use]
    pub fn mac(&self, message: &[&[u8]]) -> [u8; 32] {
        let mut key = Zeroizing::new([0; 64]);
        copy(self.expose(), &mut *key);
        let mut mac = Hmac::<Sha256>::new((&*key).into());
        for piece in message {
            mac.update(piece);
        }
        mac.finalize().into_bytes().into()
    }

    /// Fills `out`, at most 255 digests, with HKDF-Expand of this secret. Written out because the `hkdf` crate refuses
    /// keys shorter than a digest, and published formats use 32 bytes with SHA-512.
    pub(super) fn expand(&self, info: &[&[u8]], out: &mut [u8]) {
        let mut key = Zeroizing::new([0; SHA512_BLOCK]);
        copy(self.expose(), &mut *key);
        let mut digest = Zeroizing::new([0; SHA512_LEN]);
        for (counter, block) in (1_u8..).zip(out.chunks_mut(SHA512_LEN)) {
            let mut mac = Hmac::<Sha512>::new((&*key).into());
            if counter > 1 {
                mac.update(&*digest);
            }
            for piece in info {
                mac.update(piece);
            }
            mac.update(&[counter]);
            *digest = mac.finalize().into_bytes().into();
            copy(&*digest, block);
        }
    }
}

/// Copies as much of `from` as both sides have.
fn copy(from: &[u8], to: &mut [u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(key: &[u8]) -> Secret {
        Secret::build(|secret| copy(key, secret))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    #[test]
    fn a_secret_has_32_bytes() {
        assert!(Secret::from_slice(&[7; 31]).is_none());
        assert!(Secret::from_slice(&[7; 33]).is_none());
        assert_eq!(Secret::from_slice(&[7; 32]).unwrap().expose(), &[7; 32]);
    }

    #[test]
    fn random_secrets_differ() {
        assert_ne!(Secret::random().unwrap().expose(), Secret::random().unwrap().expose());
    }

    #[test]
    fn the_mac_is_that_of_rfc_4231() {
        // Cases 1 and 2: HMAC pads short keys with zeros, so theirs and 32 bytes that end in zeros are the same key.
        let case_1 = padded(&[0x0b; 20]).mac(&[b"Hi ", b"There"]);
        assert_eq!(hex(&case_1), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        let case_2 = padded(b"Jefe").mac(&[b"what do ya want for nothing?"]);
        assert_eq!(hex(&case_2), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn expanding_chains_digests_as_rfc_5869_says() {
        let secret = padded(b"Jefe");
        let mac = |message: &[&[u8]]| {
            let mut mac = Hmac::<Sha512>::new_from_slice(b"Jefe").unwrap();
            for piece in message {
                mac.update(piece);
            }
            mac.finalize().into_bytes()
        };
        let first = mac(&[b"info", &[1]]);
        let second = mac(&[&first, b"info", &[2]]);
        let third = mac(&[&second, b"info", &[3]]);
        let mut out = [0; 150];
        secret.expand(&[b"in", b"fo"], &mut out);
        assert_eq!(out, [&first[..], &second, &third].concat()[..150]);
        assert_eq!(secret.derive(&[b"info"]).expose(), &out[..32]);
    }
}
