//! Every secret that a root ever opened, to be looked for where it must not be any more: in files, and in memory.
//!
//! The harness keeps old contents of the root cell aside for this alone. From them come the heads of their time, with the seeds and
//! the keys of pages and months; from these the nodes of every tree, and the way from a node to each record's leaf and parts' keys.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::{Archive, grow_trees, open_heads};
use crate::crypto::secret::Secret;
use crate::domain::ids::{Place, Serial, VaultId};
use crate::keys::keyring::format::HourKey;

/// How much of a secret is looked for.
const NEEDLE: usize = 16;
/// The most parts that a record has.
const PARTS: u16 = 16;
/// How many bits of what is looked at tell whether a look into the set is worth it.
const SIEVE_BITS: u32 = 24;

/// Secrets, and what each of them is.
#[derive(Debug, Clone, Default)]
pub struct Secrets(HashMap<[u8; NEEDLE], &'static str>);

impl Secrets {
    /// Those that a content of the root cell opens, with the ways to the leaves of these records.
    #[must_use]
    pub fn opened_by(archive: &Archive, root_cell: &[u8], vault: &VaultId, places: &[Place]) -> Self {
        let mut secrets = Self::default();
        let heads = open_heads(archive, root_cell, vault, &mut super::Tried::default());
        for head in &heads {
            for (_, month) in &head.months {
                secrets.add("month", month.expose());
            }
            for (_, key) in &head.hours {
                match key {
                    HourKey::Seed(seed) => secrets.add("seed", seed.expose()),
                    HourKey::Page { key, .. } => secrets.add("page key", key.expose()),
                }
            }
        }
        for (hour, trees) in grow_trees(archive, heads, vault, &mut super::Tried::default()) {
            for tree in trees {
                let tree = tree.lock();
                for (prefix, depth, node) in tree.frontier() {
                    secrets.add("node of a frontier", node);
                    let below = |place: &&Place| place.hour == hour && is_below(place.serial, prefix, depth);
                    for place in places.iter().filter(below) {
                        secrets.add_way(node, depth, place.serial);
                    }
                }
            }
        }
        secrets
    }

    /// A secret.
    pub fn add(&mut self, what: &'static str, secret: &[u8; 32]) {
        let [needle @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = secret;
        self.0.insert(*needle, what);
    }

    /// Those of these and the others.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Those that are not among the others.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        Self(self.0.iter().filter(|(needle, _)| !others.0.contains_key(*needle)).map(|(needle, what)| (*needle, *what)).collect())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Which of them are in these bytes, at any place: how many of each kind.
    #[must_use]
    pub fn found_in(&self, bytes: &[u8]) -> BTreeMap<&'static str, usize> {
        let words = usize::try_from(1_u32 << (SIEVE_BITS - 6)).unwrap_or(0);
        let mut sieve = vec![0_u64; words];
        for needle in self.0.keys() {
            let (word, bit) = place_in_sieve(needle);
            if let Some(word) = sieve.get_mut(word) {
                *word |= bit;
            }
        }
        let mut found = HashMap::<[u8; NEEDLE], &'static str>::new();
        for window in bytes.windows(NEEDLE) {
            let Some(window) = window.first_chunk::<NEEDLE>() else { continue };
            let (word, bit) = place_in_sieve(window);
            if sieve.get(word).is_some_and(|word| word & bit != 0) {
                found.extend(self.0.get_key_value(window).map(|(needle, what)| (*needle, *what)));
            }
        }
        let mut kinds = BTreeMap::<_, usize>::new();
        for what in found.into_values() {
            let count = kinds.entry(what).or_default();
            *count = count.saturating_add(1);
        }
        kinds
    }

    /// The versions of files, the root cell excepted, in which any of them are.
    #[must_use]
    pub fn found_in_files(&self, archive: &Archive) -> Vec<PathBuf> {
        archive.versions().filter(|(_, bytes)| !self.found_in(bytes).is_empty()).map(|(path, _)| path.to_owned()).collect()
    }

    /// The nodes below `node` on the way to a leaf, the leaf, and the keys of its record's parts.
    fn add_way(&mut self, node: &[u8; 32], depth: u32, serial: Serial) {
        let mut node = *node;
        for level in depth..Serial::BITS {
            let bit = serial.number() >> Serial::BITS.saturating_sub(level.saturating_add(1)) & 1;
            let bit = u8::from(bit == 1);
            node = Sha256::new().chain_update(b"idvault/keytree/v1").chain_update([bit]).chain_update(node).finalize().into();
            self.add("node on the way to a leaf", &node);
        }
        let leaf = Secret::build(|bytes| *bytes = node);
        for part in 0..PARTS {
            self.add("part key", leaf.derive(&[b"idvault/part/v1", &part.to_be_bytes()]).expose());
        }
    }
}

fn is_below(serial: Serial, prefix: u64, depth: u32) -> bool {
    serial.number().unbounded_shr(Serial::BITS.saturating_sub(depth)) == prefix
}

/// Which word of the sieve, and which bit of it.
fn place_in_sieve([a, b, c, ..]: &[u8; NEEDLE]) -> (usize, u64) {
    let number = u32::from_be_bytes([0, *a, *b, *c]);
    (usize::try_from(number >> 6).unwrap_or(0), 1 << (number & 63))
}
