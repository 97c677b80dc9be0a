//! Sealing: C2SP chunked-encryption in its instance Cobblestone-256 (SHA-512, AES-256-GCM, chunks of 16 KiB).
//!
//! It seals parts, ledger rows and keyring files. The format commits to key and context, authenticates the length and
//! tells which part of an opening failed. `salt ‖ commitment ‖ chunks`, each chunk followed by its tag:
//!
//! | bytes | what |
//! |---|---|
//! | 24 | salt, random |
//! | 32 | commitment to the input key, the salt and the context |
//! | 16 384 + 16 | each full chunk: nonce = base nonce ⊕ number of the chunk |
//! | 0 to 16 383, + 16 | the last chunk: always there and always short, so that a cut is seen |
//!
//! AEAD key (32 bytes) ‖ base nonce (12) ‖ commitment (32) = HKDF-Expand(SHA-512, input key,
//! `c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM` ‖ 0 ‖ salt ‖ context).
//!
//! A part never leaves here as plaintext for release without a [`PartPermit`] that its opening uses up.

mod piece;

use std::ops::Range;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::aead::{Aead, Aes256Gcm, BadTag, Bulk, KEY_LEN, NONCE_LEN, TAG_LEN};
use super::random::{self, RandomError};
use super::secret::Secret;
use crate::domain::policy::PartPermit;

pub use piece::{Piece, sealed_len};

const INFO: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";
const SALT_LEN: usize = 24;
const COMMITMENT_LEN: usize = 32;
/// Bytes of plaintext in every chunk but the last.
const CHUNK_LEN: usize = 16 << 10;
const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;

/// Why sealed bytes do not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The end is missing.
    #[error("the sealed bytes are cut short")]
    Truncated,
    /// They were not sealed under this key, salt and context.
    #[error("the sealed bytes belong to another key or context")]
    Commitment,
    /// A chunk was changed.
    #[error("a sealed chunk was changed")]
    Tag,
}

/// The salt of one sealing: with it, a key seals any number of messages. Used twice under the same key and context it
/// gives both messages away, hence neither `Clone` nor `Copy`.
#[derive(Debug)]
pub struct Salt([u8; SALT_LEN]);

impl Salt {
    /// A fresh random salt.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn random() -> Result<Self, RandomError> {
        random::array().map(Self)
    }

    /// A salt made elsewhere: of a test vector.
    #[must_use]
    pub fn from_bytes(bytes: [u8; SALT_LEN]) -> Self {
        Self(bytes)
    }
}

/// Opened bytes, wiped when dropped. `AsRef` lets a transport own them without a copy.
#[expect(missing_debug_implementations, reason = "plaintext is never printed")]
pub struct Plaintext(Vec<u8>);

impl Drop for Plaintext {
    /// As `Zeroizing` does, but not byte by byte: parts are large.
    fn drop(&mut self) {
        // What lies behind the bytes may be left of longer ones.
        self.0.resize(self.0.capacity(), 0);
        zeroize::zeroize_bytes(&mut self.0);
    }
}

impl Plaintext {
    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Plaintext {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Plaintext {
    fn as_ref(&self) -> &[u8] {
        self.expose()
    }
}

/// The key of one part of a record. It opens nothing by itself, and nobody else gets to see it.
#[expect(missing_debug_implementations, reason = "a secret is never printed")]
pub struct PartKey {
    part: u16,
    secret: Secret,
}

impl PartKey {
    /// The key of the record's part with this number, from the record's leaf in the key tree.
    #[must_use]
    pub fn derive(leaf: &Secret, part: u16) -> Self {
        Self { part, secret: leaf.derive(&[b"idvault/part/v1", &part.to_be_bytes()]) }
    }

    /// The secret, if this is the key of `part`.
    fn of(&self, part: u8) -> Result<&Secret, OpenError> {
        if self.part == u16::from(part) { Ok(&self.secret) } else { Err(OpenError::Commitment) }
    }
}

/// Seals a part.
#[must_use]
pub fn seal_part(key: &PartKey, salt: &Salt, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
    seal_with::<Bulk>(&key.secret, salt, context, plaintext)
}

/// Seals a part as its bytes come: what it writes is what [`seal_part`] gives for all of them.
#[expect(missing_debug_implementations, reason = "holds a key and plaintext")]
pub struct PartSealer(Sealer<Bulk>);

impl PartSealer {
    /// Begins a part, and writes what stands before its chunks.
    #[must_use]
    pub fn new(key: &PartKey, salt: &Salt, context: &[u8], out: &mut Vec<u8>) -> Self {
        Self(Sealer::new(&key.secret, salt, context, out))
    }

    /// Takes the next bytes, and writes the chunks that are full.
    pub fn update(&mut self, plaintext: &[u8], out: &mut Vec<u8>) {
        self.0.update(plaintext, out);
    }

    /// Writes the last chunk.
    pub fn finish(self, out: &mut Vec<u8>) {
        self.0.finish(out);
    }
}

/// Opens a piece of a part for the release that `permit` allows, and uses the permit up. `read` gives the part's sealed
/// bytes in a range, of which no more is asked for than the piece needs.
///
/// # Errors
/// When the piece is damaged or not that of this key and context, the key is not that of the permitted part, or the bytes
/// cannot be read.
#[expect(clippy::needless_pass_by_value, reason = "a permit opens one piece, once")]
pub fn open_part<E: From<OpenError>, B: AsRef<[u8]>>(
    permit: PartPermit,
    key: &PartKey,
    context: &[u8],
    piece: &Piece,
    read: impl FnMut(Range<u64>) -> Result<B, E>,
) -> Result<Plaintext, E> {
    open_piece(key.of(permit.part())?, context, piece, read)
}

/// Checks that a part would open, and yields none of it.
///
/// # Errors
/// When it would not.
pub fn check(key: &PartKey, context: &[u8], sealed: &[u8]) -> Result<(), OpenError> {
    open_with::<Bulk>(&key.secret, context, sealed).map(drop)
}

/// Seals what is not a part: a ledger row or a keyring file. Without limit but memory: the format's is 2^38 chunks.
#[must_use]
pub fn seal(key: &Secret, salt: &Salt, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
    seal_with::<Aes256Gcm>(key, salt, context, plaintext)
}

/// Opens what is not a part.
///
/// # Errors
/// When it is damaged, or was sealed under another key or context.
pub fn open(key: &Secret, context: &[u8], sealed: &[u8]) -> Result<Plaintext, OpenError> {
    open_with::<Aes256Gcm>(key, context, sealed)
}

fn seal_with<A: Aead>(key: &Secret, salt: &Salt, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let capacity = u64::try_from(plaintext.len()).map(sealed_len).and_then(usize::try_from);
    let mut out = Vec::with_capacity(capacity.unwrap_or_default());
    let mut sealer = Sealer::<A>::new(key, salt, context, &mut out);
    sealer.update(plaintext, &mut out);
    sealer.finish(&mut out);
    out
}

/// A message that is being sealed.
struct Sealer<A> {
    stream: Stream<A>,
    /// Number of the chunk that comes next.
    number: u64,
    /// Its beginning, shorter than a full chunk.
    begun: Plaintext,
}

impl<A: Aead> Sealer<A> {
    fn new(key: &Secret, salt: &Salt, context: &[u8], out: &mut Vec<u8>) -> Self {
        let stream = Stream::new(key, &salt.0, context);
        out.extend_from_slice(&salt.0);
        out.extend_from_slice(&stream.commitment);
        // Reserved whole, so that no growing leaves plaintext behind.
        Self { stream, number: 0, begun: Plaintext::from(Vec::with_capacity(CHUNK_LEN)) }
    }

    fn update(&mut self, mut plaintext: &[u8], out: &mut Vec<u8>) {
        if !self.begun.0.is_empty() {
            let missing = CHUNK_LEN.saturating_sub(self.begun.0.len()).min(plaintext.len());
            let (first, rest) = plaintext.split_at(missing);
            self.begun.0.extend_from_slice(first);
            plaintext = rest;
            if self.begun.0.len() < CHUNK_LEN {
                return;
            }
            self.stream.seal_chunk(self.number, &self.begun.0, out);
            self.number = self.number.saturating_add(1);
            self.begun.0.clear();
        }
        let chunks = plaintext.chunks_exact(CHUNK_LEN);
        self.begun.0.extend_from_slice(chunks.remainder());
        for chunk in chunks {
            self.stream.seal_chunk(self.number, chunk, out);
            self.number = self.number.saturating_add(1);
        }
    }

    fn finish(self, out: &mut Vec<u8>) {
        self.stream.seal_chunk(self.number, &self.begun.0, out);
    }
}

fn open_with<A: Aead>(key: &Secret, context: &[u8], sealed: &[u8]) -> Result<Plaintext, OpenError> {
    let (stream, body) = Stream::<A>::begin(key, context, sealed)?;
    let chunks = body.chunks_exact(SEALED_CHUNK_LEN);
    let last = chunks.remainder();
    // The last chunk first: what was cut short is refused before any of it is decrypted. Both buffers are reserved whole,
    // so that no growing leaves plaintext behind.
    let mut end = Plaintext::from(Vec::with_capacity(last.len()));
    let count = u64::try_from(chunks.len()).unwrap_or(u64::MAX);
    stream.open_chunk(count, last, &mut end.0)?;
    let mut out = Plaintext::from(Vec::with_capacity(body.len()));
    for (number, chunk) in (0..).zip(chunks) {
        stream.open_chunk(number, chunk, &mut out.0)?;
    }
    out.0.extend_from_slice(end.expose());
    Ok(out)
}

fn open_piece<E: From<OpenError>, B: AsRef<[u8]>>(
    key: &Secret,
    context: &[u8],
    piece: &Piece,
    mut read: impl FnMut(Range<u64>) -> Result<B, E>,
) -> Result<Plaintext, E> {
    // What stands before the chunks comes along with the first of them, and is read by itself for any other.
    let sealed = read(if piece.is_first() { 0..piece.sealed().end } else { Piece::PREFIX })?;
    let (stream, mut chunks) = Stream::<Bulk>::begin(key, context, sealed.as_ref())?;
    let later = if piece.is_first() { None } else { Some(read(piece.sealed())?) };
    if let Some(later) = &later {
        chunks = later.as_ref();
    }
    if chunks.len() != piece.sealed_len() {
        return Err(OpenError::Truncated.into());
    }
    // Reserved whole, so that no growing leaves plaintext behind.
    let mut out = Plaintext::from(Vec::with_capacity(chunks.len()));
    for (number, chunk) in piece.chunks().zip(chunks.chunks(SEALED_CHUNK_LEN)) {
        stream.open_chunk(number, chunk, &mut out.0)?;
    }
    Ok(out)
}

/// What a key, a salt and a context give for one message.
struct Stream<A> {
    cipher: A,
    base_nonce: [u8; NONCE_LEN],
    commitment: [u8; COMMITMENT_LEN],
}

impl<A: Aead> Stream<A> {
    fn new(key: &Secret, salt: &[u8; SALT_LEN], context: &[u8]) -> Self {
        let mut derived = Zeroizing::new([0; KEY_LEN + NONCE_LEN + COMMITMENT_LEN]);
        key.expand(&[INFO, salt, context], &mut *derived);
        let mut aead_key = Zeroizing::new([0; KEY_LEN]);
        let (mut base_nonce, mut commitment) = ([0; NONCE_LEN], [0; COMMITMENT_LEN]);
        let fields = aead_key.iter_mut().chain(&mut base_nonce).chain(&mut commitment);
        for (field, byte) in fields.zip(&*derived) {
            *field = *byte;
        }
        Self { cipher: A::new(&aead_key), base_nonce, commitment }
    }

    /// The stream of a sealed message, and what follows salt and commitment.
    fn begin<'a>(key: &Secret, context: &[u8], sealed: &'a [u8]) -> Result<(Self, &'a [u8]), OpenError> {
        let (salt, rest) = sealed.split_first_chunk().ok_or(OpenError::Truncated)?;
        let (commitment, body) = rest.split_first_chunk::<COMMITMENT_LEN>().ok_or(OpenError::Truncated)?;
        let stream = Self::new(key, salt, context);
        if bool::from(stream.commitment.ct_eq(commitment)) { Ok((stream, body)) } else { Err(OpenError::Commitment) }
    }

    fn nonce(&self, number: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.base_nonce;
        for (byte, counter) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
            *byte ^= counter;
        }
        nonce
    }

    /// Appends `chunk`, sealed.
    fn seal_chunk(&self, number: u64, chunk: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(chunk);
        let tag = self.cipher.seal(&self.nonce(number), out.split_at_mut(start).1);
        out.extend_from_slice(&tag);
    }

    /// Appends what is sealed in `chunk`.
    fn open_chunk(&self, number: u64, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), OpenError> {
        let (chunk, tag) = chunk.split_last_chunk().ok_or(OpenError::Truncated)?;
        let start = out.len();
        out.resize(start.saturating_add(chunk.len()), 0);
        self.cipher.open(&self.nonce(number), chunk, tag, out.split_at_mut(start).1).map_err(|BadTag| OpenError::Tag)
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests;
