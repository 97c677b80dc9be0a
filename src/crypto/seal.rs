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

/// Opened bytes, wiped when dropped with all that their buffer holds. `AsRef` lets a transport own them without a copy.
#[expect(missing_debug_implementations, reason = "plaintext is never printed")]
pub struct Plaintext {
    buffer: Vec<u8>,
    /// Where in the buffer they begin.
    from: usize,
}

impl Drop for Plaintext {
    /// As `Zeroizing` does, but not byte by byte: parts are large.
    fn drop(&mut self) {
        // What lies behind the bytes may be left of longer ones.
        self.buffer.resize(self.buffer.capacity(), 0);
        zeroize::zeroize_bytes(&mut self.buffer);
    }
}

impl Plaintext {
    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.buffer.get(self.from..).unwrap_or_default()
    }
}

impl From<Vec<u8>> for Plaintext {
    fn from(buffer: Vec<u8>) -> Self {
        Self { buffer, from: 0 }
    }
}

impl AsRef<[u8]> for Plaintext {
    fn as_ref(&self) -> &[u8] {
        self.expose()
    }
}

/// Sealed bytes, in a buffer in which they can be opened.
#[derive(Debug)]
pub struct Sealed {
    buffer: Vec<u8>,
    from: usize,
}

impl Sealed {
    /// Those of a buffer in this range. What comes after them in it is dropped.
    #[must_use]
    pub fn new(mut buffer: Vec<u8>, range: Range<usize>) -> Self {
        buffer.truncate(range.end);
        Self { buffer, from: range.start }
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.get(self.from..).unwrap_or_default()
    }
}

impl From<Vec<u8>> for Sealed {
    fn from(buffer: Vec<u8>) -> Self {
        Self { buffer, from: 0 }
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
pub fn open_part<E: From<OpenError>>(
    permit: PartPermit,
    key: &PartKey,
    context: &[u8],
    piece: &Piece,
    read: impl FnMut(Range<u64>) -> Result<Sealed, E>,
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
        if !self.begun.buffer.is_empty() {
            let missing = CHUNK_LEN.saturating_sub(self.begun.buffer.len()).min(plaintext.len());
            let (first, rest) = plaintext.split_at(missing);
            self.begun.buffer.extend_from_slice(first);
            plaintext = rest;
            if self.begun.buffer.len() < CHUNK_LEN {
                return;
            }
            self.stream.seal_chunk(self.number, &self.begun.buffer, out);
            self.number = self.number.saturating_add(1);
            self.begun.buffer.clear();
        }
        let chunks = plaintext.chunks_exact(CHUNK_LEN);
        self.begun.buffer.extend_from_slice(chunks.remainder());
        for chunk in chunks {
            self.stream.seal_chunk(self.number, chunk, out);
            self.number = self.number.saturating_add(1);
        }
    }

    fn finish(self, out: &mut Vec<u8>) {
        self.stream.seal_chunk(self.number, &self.begun.buffer, out);
    }
}

fn open_with<A: Aead>(key: &Secret, context: &[u8], sealed: &[u8]) -> Result<Plaintext, OpenError> {
    let (stream, body) = Stream::<A>::begin(key, context, sealed)?;
    let full = body.len() / SEALED_CHUNK_LEN;
    let mut out = Plaintext::from(body.to_vec());
    // The last chunk first: what was cut short is refused before any of it is decrypted.
    let before_last = full.saturating_mul(SEALED_CHUNK_LEN);
    let count = u64::try_from(full).unwrap_or(u64::MAX);
    let last = stream.open_chunk(count, out.buffer.get_mut(before_last..).unwrap_or_default())?;
    let end = stream.open_chunks(0..count, &mut out.buffer, 0)?;
    out.buffer.copy_within(before_last..before_last.saturating_add(last), end);
    out.buffer.truncate(end.saturating_add(last));
    Ok(out)
}

fn open_piece<E: From<OpenError>>(
    key: &Secret,
    context: &[u8],
    piece: &Piece,
    mut read: impl FnMut(Range<u64>) -> Result<Sealed, E>,
) -> Result<Plaintext, E> {
    // What stands before the chunks comes along with the first of them, and is read by itself for any other.
    let mut sealed = read(if piece.is_first() { 0..piece.sealed().end } else { Piece::PREFIX })?;
    let (stream, chunks) = Stream::<Bulk>::begin(key, context, sealed.bytes())?;
    let mut from = sealed.buffer.len().saturating_sub(chunks.len());
    if !piece.is_first() {
        sealed = read(piece.sealed())?;
        from = sealed.from;
    }
    if sealed.buffer.len().saturating_sub(from) != piece.sealed_len() {
        return Err(OpenError::Truncated.into());
    }
    let mut out = Plaintext { buffer: sealed.buffer, from };
    let end = stream.open_chunks(piece.chunks(), &mut out.buffer, from)?;
    out.buffer.truncate(end);
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

    /// Opens a chunk in place. Returns its length without the tag.
    fn open_chunk(&self, number: u64, sealed: &mut [u8]) -> Result<usize, OpenError> {
        if sealed.len() < TAG_LEN {
            return Err(OpenError::Truncated);
        }
        self.cipher.open(&self.nonce(number), sealed).map(|chunk| chunk.len()).map_err(|BadTag| OpenError::Tag)
    }

    /// Opens the chunks of these numbers, which lie in `buffer` one behind the other from `from`, in place, and closes the gaps that
    /// their tags leave. Returns where they end then.
    fn open_chunks(&self, numbers: Range<u64>, buffer: &mut [u8], from: usize) -> Result<usize, OpenError> {
        let (mut at, mut end) = (from, from);
        for number in numbers {
            let next = at.saturating_add(SEALED_CHUNK_LEN).min(buffer.len());
            let length = self.open_chunk(number, buffer.get_mut(at..next).unwrap_or_default())?;
            buffer.copy_within(at..at.saturating_add(length), end);
            (at, end) = (next, end.saturating_add(length));
        }
        Ok(end)
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests;
