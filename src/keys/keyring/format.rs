//! The keyring's files: the head and its pages, encoded and sealed.
//!
//! A head slot, all numbers big-endian: magic `IDVHEAD3`, generation (8 bytes), length of what the custody keeps of the root
//! beside it (2), that, lengths of the sealed head and of the pages behind it (4 each), both, zeros to the end of a block. The head
//! is sealed under its root and a page under the key that its head holds for it, both with the function that seals parts, so that a
//! wrong key fails on the commitment. `docs/format.md` has the byte tables.

use crate::crypto::random::RandomError;
use crate::crypto::seal::{self, Plaintext, Salt};
use crate::crypto::secret::Secret;
use crate::domain::ids::{Hour, VaultId};
use crate::keys::root::{Handle, Root};
use crate::keys::tree::{NODE_LEN, Tree};

/// The bytes of a head slot.
pub const SLOT_LEN: usize = 256 << 10;
/// How many of them are for the head; the others are for pages.
const HEAD_LEN: usize = 64 << 10;
const BLOCK_LEN: usize = 4096;
/// The bytes of a saved clock reading, which the keyring keeps without reading it.
pub const HEARTBEAT_LEN: usize = 173;
/// How many those of the first versions were; the others are then zeros.
const FIRST_HEARTBEAT_LEN: usize = 40;

const MAGIC: [u8; 8] = *b"IDVHEAD3";
/// Slots of the second version had no pages, and those of the first nothing beside the head.
const SECOND_MAGIC: [u8; 8] = *b"IDVHEAD2";
const FIRST_MAGIC: [u8; 8] = *b"IDVHEAD1";
/// The version of heads; the first knew nothing of the ledger, and two less of the clock.
const HEAD_VERSION: u8 = 3;
const SECOND_HEAD_VERSION: u8 = 2;
const FIRST_HEAD_VERSION: u8 = 1;
const PAGE_VERSION: u8 = 1;
const SEED: u8 = 0;
const PAGE: u8 = 1;
const SECRET_LEN: usize = 32;
/// Bytes of a node in a page: prefix, depth, secret.
const ENTRY_LEN: usize = 8 + 1 + NODE_LEN;
/// Bytes before a page behind a head: hour, length.
const PAGE_HEADER_LEN: usize = 4 + 4;

/// What a head holds. `S` is a secret: its bytes, borrowed, to be written; a [`Secret`] once read.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Head<S> {
    /// Which head this is; rises with every commit.
    pub generation: u64,
    /// The first serial that no run before has used.
    pub serial_limit: u64,
    /// The last transaction of the ledger that was durable at the commit.
    pub ledger_sequence: u64,
    /// The trusted time at the commit.
    pub heartbeat: [u8; HEARTBEAT_LEN],
    /// The keys of the vault itself.
    pub service: ServiceKeys<S>,
    /// The key of each month of two-year rows, by month since January 1970.
    pub months: Vec<(u16, S)>,
    /// The keys of each hour of expiry.
    pub hours: Vec<(Hour, HourKey<S>)>,
}

/// Keys that live as long as the vault.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct ServiceKeys<S> {
    /// Hashes names that appear in ledger keys.
    pub index: S,
    /// Seals ledger rows.
    pub ledger: S,
    /// Authenticates the saved clock.
    pub clock: S,
}

/// How an hour's tree is kept.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub enum HourKey<S> {
    /// Whole: its seed.
    Seed(S),
    /// Punctured: the frontier is in the page written by the commit of this generation, sealed under this key.
    Page {
        /// Which version of the page.
        generation: u64,
        /// What opens it.
        key: S,
    },
}

/// A head slot as it lies on the medium.
#[derive(Debug)]
pub struct Slot<'a> {
    /// How the root that opens it is found.
    pub handle: Handle,
    sealed: &'a [u8],
    pages: &'a [u8],
    /// How many bytes it takes; what follows says nothing.
    pub len: usize,
}

impl<'a> Slot<'a> {
    /// The slot in these bytes, if there is one.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let magic = reader.array()?;
        if ![MAGIC, SECOND_MAGIC, FIRST_MAGIC].contains(&magic) {
            return None;
        }
        let generation = u64::from_be_bytes(reader.array()?);
        let wrapped = if magic == FIRST_MAGIC { 0 } else { u16::from_be_bytes(reader.array()?) };
        let wrapped = reader.bytes(usize::from(wrapped))?.to_vec();
        let sealed = reader.length()?;
        let pages = if magic == MAGIC { reader.length()? } else { 0 };
        let sealed = reader.bytes(sealed)?;
        // Of pages that are cut short, or whose length is damaged, what there is.
        let pages = reader.bytes(pages.min(reader.0.len()))?;
        let len = bytes.len().saturating_sub(reader.0.len());
        Some(Self { handle: Handle { generation, wrapped }, sealed, pages, len })
    }

    /// The pages behind the head, sealed.
    pub fn pages(&self) -> impl Iterator<Item = (Hour, &'a [u8])> + use<'a> {
        let mut reader = Reader(self.pages);
        std::iter::from_fn(move || {
            let hour = Hour::new(u32::from_be_bytes(reader.array()?))?;
            let length = reader.length()?;
            Some((hour, reader.bytes(length)?))
        })
    }

    /// The head in it, if this root sealed it for this vault.
    #[must_use]
    pub fn open(&self, vault: &VaultId, root: &Root) -> Option<Head<Secret>> {
        let generation = self.handle.generation;
        let plaintext = seal::open(&root.key, &head_context(vault, generation), self.sealed).ok()?;
        decode_head(generation, plaintext.expose())
    }
}

/// Whether there is room for these pages behind a head.
#[must_use]
pub fn fit_behind_a_head(pages: &[(Hour, Vec<u8>)]) -> bool {
    len_behind(pages) <= SLOT_LEN.saturating_sub(HEAD_LEN)
}

fn len_behind(pages: &[(Hour, Vec<u8>)]) -> usize {
    pages.iter().map(|(_, page)| page.len().saturating_add(PAGE_HEADER_LEN)).fold(0, usize::saturating_add)
}

/// The bytes of the slot of a head of the root's generation with pages behind it for which there is room, or `None` if the head
/// does not fit.
///
/// # Errors
/// When the system gives no random bytes.
pub fn seal_head(
    head: &Head<&[u8; 32]>,
    pages: &[(Hour, Vec<u8>)],
    vault: &VaultId,
    root: &Root,
) -> Result<Option<Vec<u8>>, RandomError> {
    let Handle { generation, wrapped } = &root.handle;
    let sealed = seal::seal(&root.key, &Salt::random()?, &head_context(vault, *generation), encode_head(head).expose());
    let mut slot = Vec::with_capacity(SLOT_LEN);
    slot.extend_from_slice(&MAGIC);
    slot.extend_from_slice(&generation.to_be_bytes());
    slot.extend_from_slice(&u16::try_from(wrapped.len()).unwrap_or(u16::MAX).to_be_bytes());
    slot.extend_from_slice(wrapped);
    slot.extend_from_slice(&length(sealed.len()));
    slot.extend_from_slice(&length(len_behind(pages)));
    slot.extend_from_slice(&sealed);
    if slot.len() > HEAD_LEN {
        return Ok(None);
    }
    for (hour, page) in pages {
        slot.extend_from_slice(&hour.number().to_be_bytes());
        slot.extend_from_slice(&length(page.len()));
        slot.extend_from_slice(page);
    }
    // A block that is written in part would be read first.
    slot.resize(slot.len().next_multiple_of(BLOCK_LEN), 0);
    Ok(Some(slot))
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}

/// The sealed page with the frontier of a punctured hour.
///
/// # Errors
/// When the system gives no random bytes.
pub fn seal_page(tree: &Tree, vault: &VaultId, page: (Hour, u64), key: &Secret) -> Result<Vec<u8>, RandomError> {
    let salt = Salt::random()?;
    // All the room it needs at once: growing would leave nodes behind.
    let mut plaintext = Vec::with_capacity(tree.len().saturating_mul(ENTRY_LEN).saturating_add(1));
    plaintext.push(PAGE_VERSION);
    for (prefix, depth, node) in tree.frontier() {
        plaintext.extend_from_slice(&prefix.to_be_bytes());
        plaintext.push(u8::try_from(depth).unwrap_or(u8::MAX));
        plaintext.extend_from_slice(node);
    }
    Ok(seal::seal(key, &salt, &page_context(vault, page), Plaintext::from(plaintext).expose()))
}

/// The tree in a page, if this key sealed it as this page of this vault.
#[must_use]
pub fn open_page(sealed: &[u8], vault: &VaultId, page: (Hour, u64), key: &Secret) -> Option<Tree> {
    let plaintext = seal::open(key, &page_context(vault, page), sealed).ok()?;
    let (version, entries) = plaintext.expose().split_first()?;
    let nodes: Vec<_> = entries.chunks(ENTRY_LEN).map(node_in).collect::<Option<_>>()?;
    Tree::from_frontier(nodes).ok().filter(|_| *version == PAGE_VERSION)
}

/// A node of a page.
fn node_in(entry: &[u8]) -> Option<(u64, u32, &[u8; NODE_LEN])> {
    let (prefix, rest) = entry.split_first_chunk()?;
    let (depth, node) = rest.split_first()?;
    Some((u64::from_be_bytes(*prefix), u32::from(*depth), node.try_into().ok()?))
}

fn head_context(vault: &VaultId, generation: u64) -> Vec<u8> {
    [&b"idvault/keyring-head/v1"[..], &generation.to_be_bytes(), vault.as_str().as_bytes()].concat()
}

fn page_context(vault: &VaultId, (hour, generation): (Hour, u64)) -> Vec<u8> {
    [&b"idvault/keyring-page/v1"[..], &hour.number().to_be_bytes(), &generation.to_be_bytes(), vault.as_str().as_bytes()].concat()
}

fn encode_head(head: &Head<&[u8; 32]>) -> Plaintext {
    // Reserved whole, so that no growing leaves a copy of secrets behind.
    let mut out = Vec::with_capacity(HEAD_LEN.saturating_mul(2));
    out.push(HEAD_VERSION);
    out.extend_from_slice(&head.serial_limit.to_be_bytes());
    out.extend_from_slice(&head.ledger_sequence.to_be_bytes());
    out.extend_from_slice(&head.heartbeat);
    for key in [&head.service.index, &head.service.ledger, &head.service.clock] {
        out.extend_from_slice(*key);
    }
    out.extend_from_slice(&u16::try_from(head.months.len()).unwrap_or(u16::MAX).to_be_bytes());
    for (month, key) in &head.months {
        out.extend_from_slice(&month.to_be_bytes());
        out.extend_from_slice(*key);
    }
    for (hour, key) in &head.hours {
        out.extend_from_slice(&hour.number().to_be_bytes());
        match key {
            HourKey::Seed(seed) => {
                out.push(SEED);
                out.extend_from_slice(*seed);
            }
            HourKey::Page { generation, key } => {
                out.push(PAGE);
                out.extend_from_slice(&generation.to_be_bytes());
                out.extend_from_slice(*key);
            }
        }
    }
    out.into()
}

fn decode_head(generation: u64, plaintext: &[u8]) -> Option<Head<Secret>> {
    let mut reader = Reader(plaintext);
    let version = reader.version()?;
    let serial_limit = u64::from_be_bytes(reader.array()?);
    let ledger_sequence = match version {
        HEAD_VERSION | SECOND_HEAD_VERSION => u64::from_be_bytes(reader.array()?),
        FIRST_HEAD_VERSION => 0,
        _ => return None,
    };
    let mut heartbeat = [0; HEARTBEAT_LEN];
    if version == HEAD_VERSION {
        heartbeat = reader.array()?;
    } else {
        *heartbeat.first_chunk_mut()? = reader.array::<FIRST_HEARTBEAT_LEN>()?;
    }
    let service = ServiceKeys { index: reader.secret()?, ledger: reader.secret()?, clock: reader.secret()? };
    let mut months = Vec::new();
    for _ in 0..u16::from_be_bytes(reader.array()?) {
        months.push((u16::from_be_bytes(reader.array()?), reader.secret()?));
    }
    let mut hours = Vec::new();
    while !reader.0.is_empty() {
        let hour = Hour::new(u32::from_be_bytes(reader.array()?))?;
        let key = match u8::from_be_bytes(reader.array()?) {
            SEED => HourKey::Seed(reader.secret()?),
            PAGE => HourKey::Page { generation: u64::from_be_bytes(reader.array()?), key: reader.secret()? },
            _ => return None,
        };
        hours.push((hour, key));
    }
    Some(Head { generation, serial_limit, ledger_sequence, heartbeat, service, months, hours })
}

/// Reads fields off the front of decrypted bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.array()?)).ok()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn secret(&mut self) -> Option<Secret> {
        Secret::from_slice(self.bytes(SECRET_LEN)?)
    }

    fn version(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests;
