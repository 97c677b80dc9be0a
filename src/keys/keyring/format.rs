//! The keyring's files: the head and its pages, encoded and sealed.
//!
//! A head slot, all numbers big-endian: magic `IDVHEAD2`, generation (8 bytes), length of what the custody keeps of the root
//! beside it (2), that, length of the sealed head (4), the sealed head, zeros. The head is sealed under its root and a page under
//! the key that its head holds for it, both with the function that seals parts, so that a wrong key fails on the commitment.
//! `docs/format.md` has the byte tables.

use crate::crypto::random::RandomError;
use crate::crypto::seal::{self, Plaintext, Salt};
use crate::crypto::secret::Secret;
use crate::domain::ids::{Hour, VaultId};
use crate::keys::root::{Handle, Root};
use crate::keys::tree::{NODE_LEN, Tree};

/// The bytes of a head slot.
pub const HEAD_SLOT_LEN: usize = 64 << 10;
/// The bytes of a saved clock reading, which the keyring keeps without reading it.
pub const HEARTBEAT_LEN: usize = 173;
/// How many those of the first versions were; the others are then zeros.
const FIRST_HEARTBEAT_LEN: usize = 40;

const MAGIC: [u8; 8] = *b"IDVHEAD2";
/// Slots of the first version had nothing beside the head.
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
}

impl<'a> Slot<'a> {
    /// The slot in these bytes, if there is one.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk()?;
        let (wrapped, rest) = match *magic {
            MAGIC => {
                let (length, rest) = rest.split_first_chunk()?;
                rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?
            }
            FIRST_MAGIC => (&[][..], rest),
            _ => return None,
        };
        let (length, rest) = rest.split_first_chunk()?;
        let sealed = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        Some(Self { handle: Handle { generation: u64::from_be_bytes(*generation), wrapped: wrapped.to_vec() }, sealed })
    }

    /// The head in it, if this root sealed it for this vault.
    #[must_use]
    pub fn open(&self, vault: &VaultId, root: &Root) -> Option<Head<Secret>> {
        let generation = self.handle.generation;
        let plaintext = seal::open(&root.key, &head_context(vault, generation), self.sealed).ok()?;
        decode_head(generation, plaintext.expose())
    }
}

/// The bytes of the slot of a head of the root's generation, or `None` if the head does not fit.
///
/// # Errors
/// When the system gives no random bytes.
pub fn seal_head(head: &Head<&[u8; 32]>, vault: &VaultId, root: &Root) -> Result<Option<Vec<u8>>, RandomError> {
    let Handle { generation, wrapped } = &root.handle;
    let sealed = seal::seal(&root.key, &Salt::random()?, &head_context(vault, *generation), encode_head(head).expose());
    let mut slot = Vec::with_capacity(HEAD_SLOT_LEN);
    slot.extend_from_slice(&MAGIC);
    slot.extend_from_slice(&generation.to_be_bytes());
    slot.extend_from_slice(&u16::try_from(wrapped.len()).unwrap_or(u16::MAX).to_be_bytes());
    slot.extend_from_slice(wrapped);
    slot.extend_from_slice(&u32::try_from(sealed.len()).unwrap_or(u32::MAX).to_be_bytes());
    slot.extend_from_slice(&sealed);
    if slot.len() > HEAD_SLOT_LEN {
        return Ok(None);
    }
    slot.resize(HEAD_SLOT_LEN, 0);
    Ok(Some(slot))
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
    let mut out = Vec::with_capacity(HEAD_SLOT_LEN.saturating_mul(2));
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

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn secret(&mut self) -> Option<Secret> {
        let (secret, rest) = self.0.split_at_checked(SECRET_LEN)?;
        self.0 = rest;
        Secret::from_slice(secret)
    }

    fn version(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use super::*;
    use crate::domain::ids::Serial;
    use proptest::prelude::*;

    fn head(generation: u64, hours: u32) -> Head<Secret> {
        let secret = || Secret::random().unwrap();
        let key = |number| if number % 2 == 0 { HourKey::Seed(secret()) } else { HourKey::Page { generation: 3, key: secret() } };
        Head {
            generation,
            serial_limit: 77,
            ledger_sequence: 88,
            heartbeat: [5; HEARTBEAT_LEN],
            service: ServiceKeys { index: secret(), ledger: secret(), clock: secret() },
            months: (0..27).map(|month| (600 + month, secret())).collect(),
            hours: (0..hours).map(|number| (Hour::new(500_000 + number).unwrap(), key(number))).collect(),
        }
    }

    fn exposed(head: &Head<Secret>) -> Head<&[u8; 32]> {
        let Head { generation, serial_limit, ledger_sequence, heartbeat, .. } = *head;
        let ServiceKeys { index, ledger, clock } = &head.service;
        let hours = head.hours.iter().map(|(hour, key)| match key {
            HourKey::Seed(seed) => (*hour, HourKey::Seed(seed.expose())),
            HourKey::Page { generation, key } => (*hour, HourKey::Page { generation: *generation, key: key.expose() }),
        });
        Head {
            service: ServiceKeys { index: index.expose(), ledger: ledger.expose(), clock: clock.expose() },
            months: head.months.iter().map(|(month, key)| (*month, key.expose())).collect(),
            hours: hours.collect(),
            generation,
            serial_limit,
            ledger_sequence,
            heartbeat,
        }
    }

    fn root(generation: u64, wrapped: &[u8]) -> Root {
        Root { handle: Handle { generation, wrapped: wrapped.to_vec() }, key: Secret::random().unwrap() }
    }

    #[test]
    fn a_head_opens_as_itself_only() {
        let (vault, other): (VaultId, VaultId) = ("hk-1".parse().unwrap(), "hk-2".parse().unwrap());
        for wrapped in [&b""[..], b"what a custody keeps of it"] {
            let (root, wrong) = (root(9, wrapped), root(9, wrapped));
            let head = head(9, 724);
            let bytes = seal_head(&exposed(&head), &vault, &root).unwrap().unwrap();
            let slot = Slot::parse(&bytes).unwrap();
            assert_eq!(slot.handle, root.handle);
            let opened = slot.open(&vault, &root).unwrap();
            assert_eq!(encode_head(&exposed(&opened)).expose(), encode_head(&exposed(&head)).expose());
            assert_eq!(opened.generation, 9);
            assert!(slot.open(&vault, &wrong).is_none());
            assert!(slot.open(&other, &root).is_none());
            let mut renumbered = bytes.clone();
            renumbered[15] ^= 1;
            assert!(Slot::parse(&renumbered).unwrap().open(&vault, &root).is_none());
        }
    }

    #[test]
    fn a_slot_of_the_first_version_opens() {
        let (vault, root) = ("hk-1".parse().unwrap(), root(9, b""));
        let slot = seal_head(&exposed(&head(9, 3)), &vault, &root).unwrap().unwrap();
        let first = [&FIRST_MAGIC[..], &slot[8..16], &slot[18..]].concat();
        let parsed = Slot::parse(&first).unwrap();
        assert_eq!(parsed.handle, root.handle);
        assert_eq!(parsed.open(&vault, &root).unwrap().serial_limit, 77);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_slot_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64), cut in 0_usize..200) {
            let slot = seal_head(&exposed(&head(9, 1)), &"hk-1".parse().unwrap(), &root(9, b"wrapped")).unwrap().unwrap();
            for bytes in [&bytes[..], &slot[..cut], &[&slot[..cut], &bytes].concat()] {
                if let Some(slot) = Slot::parse(bytes) {
                    prop_assert!(slot.sealed.len() <= bytes.len());
                }
            }
        }
    }

    #[test]
    fn heads_of_earlier_versions_open_and_no_later_one() {
        let mut head = head(9, 3);
        head.heartbeat[FIRST_HEARTBEAT_LEN..].fill(0);
        let encoded = encode_head(&exposed(&head));
        let (front, rest) = encoded.expose().split_at(9);
        let (sequence, rest) = rest.split_at(8);
        let (heartbeat, keys) = (&rest[..FIRST_HEARTBEAT_LEN], &rest[HEARTBEAT_LEN..]);
        let second = [&[SECOND_HEAD_VERSION], &front[1..], sequence, heartbeat, keys].concat();
        assert_eq!(encode_head(&exposed(&decode_head(9, &second).unwrap())).expose(), encoded.expose());
        let first = [&[FIRST_HEAD_VERSION], &front[1..], heartbeat, keys].concat();
        let opened = decode_head(9, &first).unwrap();
        assert_eq!((opened.serial_limit, opened.ledger_sequence), (77, 0));
        assert_eq!(encode_head(&exposed(&Head { ledger_sequence: 88, ..opened })).expose(), encoded.expose());
        assert!(decode_head(9, &[&[HEAD_VERSION + 1], &encoded.expose()[1..]].concat()).is_none());
    }

    #[test]
    fn a_head_that_does_not_fit_is_refused() {
        assert!(seal_head(&exposed(&head(1, 3000)), &"hk-1".parse().unwrap(), &root(1, b"")).unwrap().is_none());
    }

    #[test]
    fn a_page_opens_as_itself_only() {
        let vault: VaultId = "hk-1".parse().unwrap();
        let (key, hour) = (Secret::random().unwrap(), Hour::new(5).unwrap());
        let (gone, alive) = (Serial::new(7).unwrap(), Serial::new(8).unwrap());
        let mut tree = Tree::from_seed(&Secret::random().unwrap());
        tree.puncture(gone..=gone);
        let page = seal_page(&tree, &vault, (hour, 4), &key).unwrap();
        let mut opened = open_page(&page, &vault, (hour, 4), &key).unwrap();
        assert_eq!(opened.leaf(alive).unwrap().expose(), tree.leaf(alive).unwrap().expose());
        assert!(!opened.covers(gone));
        assert!(open_page(&page, &vault, (hour, 5), &key).is_none());
        assert!(open_page(&page, &vault, (hour.plus(1), 4), &key).is_none());
    }
}
