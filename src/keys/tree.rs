//! The key tree of one hour: a puncturable pseudorandom function after Goldreich, Goldwasser and Micali (JACM 1986), as
//! Holepunch (IEEE S&P 2024) uses it for shredding files.
//!
//! A binary tree of depth 40 under one random seed, `child(node, bit) = SHA-256("idvault/keytree/v1" ‖ bit ‖ node)`: the
//! leaf that the bits of a serial lead to, most significant first, is the secret of the record with that serial. To
//! puncture serials is to keep, instead of the nodes above them, the least set of nodes that covers all others. Neither a
//! punctured leaf nor a node above one is ever held afterwards, nor can it be computed from what is.

mod arena;
mod path;
mod walk;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::crypto::secret::Secret;
use crate::domain::ids::Serial;
use arena::{Arena, Slot};
use path::Path;
use walk::Walk;

/// Bytes of a node.
pub const NODE_LEN: usize = 32;
/// How many levels of nodes are below the seed.
const DEPTH: usize = 40;

/// Why nodes are not the frontier of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// A node is not in a tree of this depth.
    #[error("a node is outside the tree")]
    OutOfRange,
    /// Two nodes cover the same serial.
    #[error("two nodes cover the same serial")]
    Overlap,
}

/// The key tree of one hour.
#[expect(missing_debug_implementations, reason = "secrets are never printed")]
pub struct Tree {
    /// All nodes of the frontier.
    arena: Arena,
    /// Where they stand, by the first serial below each. No two nodes cover the same serial.
    frontier: BTreeMap<u64, Node>,
    /// What was derived last. Gone when the frontier changes, so it never has a node above a punctured leaf.
    path: Option<Path>,
}

/// A node that is `height` levels above the leaves.
struct Node {
    height: u32,
    slot: Slot,
}

impl Tree {
    /// The whole tree under a seed.
    #[must_use]
    pub fn from_seed(seed: &Secret) -> Self {
        let mut arena = Arena::new();
        let slot = arena.put(|node| *node = *seed.expose());
        Self { arena, frontier: BTreeMap::from([(0, Node { height: Serial::BITS, slot })]), path: None }
    }

    /// The tree that has this frontier, given as in [`Tree::frontier`] but in any order.
    ///
    /// # Errors
    /// When a node is outside the tree or covers what another covers.
    pub fn from_frontier<'a>(nodes: impl IntoIterator<Item = (u64, u32, &'a [u8; NODE_LEN])>) -> Result<Self, FrontierError> {
        let (mut arena, mut frontier) = (Arena::new(), Vec::new());
        for (prefix, depth, secret) in nodes {
            let height = Serial::BITS.checked_sub(depth).ok_or(FrontierError::OutOfRange)?;
            if prefix.unbounded_shr(depth) != 0 {
                return Err(FrontierError::OutOfRange);
            }
            frontier.push((prefix.unbounded_shl(height), Node { height, slot: arena.put(|node| *node = *secret) }));
        }
        frontier.sort_unstable_by_key(|(first, _)| *first);
        let mut neighbours = frontier.iter().zip(frontier.iter().skip(1));
        if neighbours.any(|((first, node), (next, _))| node.last(*first) >= *next) {
            return Err(FrontierError::Overlap);
        }
        Ok(Self { arena, frontier: frontier.into_iter().collect(), path: None })
    }

    /// The nodes that cover all serials but the punctured ones, sorted by the first serial below each: the prefix of its
    /// serials, how many bits that has, and its secret.
    pub fn frontier(&self) -> impl Iterator<Item = (u64, u32, &[u8; NODE_LEN])> {
        self.frontier.iter().filter_map(|(first, node)| {
            let secret = self.arena.get(&node.slot)?;
            Some((first.unbounded_shr(node.height), Serial::BITS.saturating_sub(node.height), secret))
        })
    }

    /// How many nodes the frontier has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frontier.len()
    }

    /// Whether every serial is punctured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frontier.is_empty()
    }

    /// How many nodes are held: the frontier and what is kept of the way to the last leaf.
    #[must_use]
    pub fn held(&self) -> usize {
        self.arena.len().saturating_add(if self.path.is_some() { Path::LEN } else { 0 })
    }

    /// The seed, while nothing is punctured.
    #[must_use]
    pub fn seed(&self) -> Option<&[u8; NODE_LEN]> {
        let (_, node) = self.frontier.first_key_value().filter(|(_, node)| node.height == Serial::BITS)?;
        self.arena.get(&node.slot)
    }

    /// Whether `serial` is not punctured.
    #[must_use]
    pub fn covers(&self, serial: Serial) -> bool {
        self.above(serial.number()).is_some()
    }

    /// Whether any of `serials` is not punctured.
    #[must_use]
    pub fn covers_any(&self, serials: &RangeInclusive<Serial>) -> bool {
        let (from, to) = (serials.start().number(), serials.end().number());
        from <= to && self.frontier.range(..=to).next_back().is_some_and(|(first, node)| from <= node.last(*first))
    }

    /// The secret of `serial`, unless it is punctured. Serials in a row cost two steps each.
    #[must_use]
    pub fn leaf(&mut self, serial: Serial) -> Option<Secret> {
        let node = self.above(serial.number())?;
        let (height, secret) = (node.height, self.arena.get(&node.slot)?);
        let walk = self.path.get_or_insert_with(Path::new).walk_to(serial.number(), height, secret);
        Some(Secret::build(|leaf| walk.write(leaf)))
    }

    /// Forgets the secrets of `serials`: no later call gives one of them.
    pub fn puncture(&mut self, serials: RangeInclusive<Serial>) {
        if serials.is_empty() {
            return;
        }
        #[cfg(feature = "sabotage")]
        crate::keys::sabotage::keep(&mut self.path);
        self.path = None;
        let gone = serials.start().number()..=serials.end().number();
        let from = self.frontier.range(..=gone.start()).next_back().map_or(*gone.start(), |(first, _)| *first);
        let touched: Vec<_> = self.frontier.extract_if(from..=*gone.end(), |_, _| true).collect();
        for (first, node) in touched {
            self.keep(first, node, &gone);
        }
    }

    /// The node at or above the leaf of `serial`.
    fn above(&self, serial: u64) -> Option<&Node> {
        self.frontier.range(..=serial).next_back().filter(|(first, node)| serial <= node.last(**first)).map(|(_, node)| node)
    }

    /// Takes in what `node` covers outside `gone`: the node, nothing of it, or what its children cover.
    fn keep(&mut self, first: u64, node: Node, gone: &RangeInclusive<u64>) {
        let last = node.last(first);
        if last < *gone.start() || *gone.end() < first {
            self.frontier.insert(first, node);
            return;
        }
        if first < *gone.start() || *gone.end() < last {
            // INVARIANT (a leaf is inside or outside): only a node with leaves on both sides gets here, so it has children.
            let height = node.height.saturating_sub(1);
            for (bit, first) in [(false, first), (true, first | 1_u64.unbounded_shl(height))] {
                if let Some(slot) = self.child(&node.slot, bit) {
                    self.keep(first, Node { height, slot }, gone);
                }
            }
        }
        self.arena.wipe(node.slot);
    }

    /// A child of the node in a slot.
    fn child(&mut self, parent: &Slot, bit: bool) -> Option<Slot> {
        let mut walk = Walk::at(self.arena.get(parent)?);
        walk.down(bit);
        Some(self.arena.put(|node| walk.write(node)))
    }
}

impl Node {
    /// The last serial below a node whose first is `first`.
    fn last(&self, first: u64) -> u64 {
        first | !u64::MAX.unbounded_shl(self.height)
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    fn seed() -> Secret {
        Secret::build(|seed| seed.fill(7))
    }

    fn serial(number: u64) -> Serial {
        Serial::new(number).unwrap()
    }

    fn punctured(ranges: &[(u64, u64)]) -> Tree {
        let mut tree = Tree::from_seed(&seed());
        for (first, last) in ranges {
            tree.puncture(serial(*first)..=serial(*last));
        }
        tree
    }

    fn leaf(tree: &mut Tree, number: u64) -> Option<[u8; 32]> {
        tree.leaf(serial(number)).map(|leaf| *leaf.expose())
    }

    fn nodes(tree: &Tree) -> Vec<(u64, u32, [u8; 32])> {
        tree.frontier().map(|(prefix, depth, secret)| (prefix, depth, *secret)).collect()
    }

    /// The leaf by its definition, from the seed down.
    fn plain_leaf(number: u64) -> [u8; 32] {
        let child = |node: [u8; 32], level: u32| {
            let bit = u8::from(number >> level & 1 == 1);
            Sha256::new().chain_update(b"idvault/keytree/v1").chain_update([bit]).chain_update(node).finalize().into()
        };
        (0..40).rev().fold([7; 32], child)
    }

    /// The least cover of what `gone` leaves, by definition: the highest nodes with nothing of `gone` below them.
    fn least_cover(gone: &[(u64, u64)], prefix: u64, depth: u32) -> Vec<(u64, u32)> {
        let (first, last) = (prefix << (40 - depth), ((prefix + 1) << (40 - depth)) - 1);
        let inside: Vec<_> = gone.iter().copied().filter(|(from, to)| *from <= last && first <= *to).collect();
        if inside.is_empty() {
            return vec![(prefix, depth)];
        }
        if inside.iter().any(|(from, to)| *from <= first && last <= *to) {
            return Vec::new();
        }
        [prefix << 1, prefix << 1 | 1].into_iter().flat_map(|child| least_cover(&inside, child, depth + 1)).collect()
    }

    /// Serials that often meet: low ones, the last ones, and any.
    fn serials() -> impl Strategy<Value = u64> {
        prop_oneof![4 => 0_u64..64, 1 => Serial::MAX.number() - 8..=Serial::MAX.number(), 1 => 0..=Serial::MAX.number()]
    }

    fn ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
        let single = serials().prop_map(|serial| (serial, serial));
        let range = (serials(), serials()).prop_map(|(a, b)| (a.min(b), a.max(b)));
        let short = (0_u64..64, 0_u64..9).prop_map(|(first, more)| (first, first + more));
        prop::collection::vec(prop_oneof![6 => single, 3 => short, 1 => range], 0..12)
    }

    proptest! {
        #[test]
        fn punctured_serials_and_no_others_are_gone(ranges in ranges(), probes in prop::collection::vec(serials(), 20)) {
            let (mut whole, mut tree) = (Tree::from_seed(&seed()), punctured(&ranges));
            let beside = |(first, last): &(u64, u64)| [first.saturating_sub(1), *first, *last, (last + 1).min(Serial::MAX.number())];
            for probe in probes.iter().copied().chain(ranges.iter().flat_map(beside)) {
                let gone = ranges.iter().any(|(first, last)| (*first..=*last).contains(&probe));
                prop_assert_eq!(tree.covers(serial(probe)), !gone);
                prop_assert_eq!(leaf(&mut tree, probe), leaf(&mut whole, probe).filter(|_| !gone));
                let last = (probe + 5).min(Serial::MAX.number());
                prop_assert_eq!(tree.covers_any(&(serial(probe)..=serial(last))), (probe..=last).any(|one| tree.covers(serial(one))));
            }
        }

        #[test]
        fn leaves_are_those_of_a_plain_tree_in_whatever_order_they_are_asked_for(
            steps in prop::collection::vec((0_u8..5, serials()), 1..60),
        ) {
            let (mut tree, mut gone) = (Tree::from_seed(&seed()), Vec::new());
            for (what, number) in steps {
                if what == 0 {
                    tree.puncture(serial(number)..=serial(number));
                    gone.push((number, number));
                }
                prop_assert_eq!(leaf(&mut tree, number), Some(plain_leaf(number)).filter(|_| !gone.contains(&(number, number))));
                prop_assert_eq!(tree.arena.len(), least_cover(&gone, 0, 0).len());
            }
        }

        #[test]
        fn the_frontier_is_the_least_cover(ranges in ranges()) {
            let tree = punctured(&ranges);
            let cover = least_cover(&ranges, 0, 0);
            prop_assert_eq!(tree.len(), cover.len());
            prop_assert_eq!(tree.is_empty(), cover.is_empty());
            prop_assert_eq!(nodes(&tree).into_iter().map(|(prefix, depth, _)| (prefix, depth)).collect::<Vec<_>>(), cover);
            prop_assert_eq!(tree.seed().is_some(), ranges.is_empty());
        }

        #[test]
        fn the_order_of_puncturing_does_not_matter(ranges in ranges()) {
            let reversed: Vec<_> = ranges.iter().rev().copied().collect();
            prop_assert_eq!(nodes(&punctured(&ranges)), nodes(&punctured(&reversed)));
        }

        #[test]
        fn a_tree_comes_back_from_its_frontier(ranges in ranges()) {
            let tree = punctured(&ranges);
            let mut frontier: Vec<_> = tree.frontier().collect();
            frontier.reverse();
            let again = Tree::from_frontier(frontier).ok().unwrap();
            prop_assert_eq!(nodes(&again), nodes(&tree));
        }
    }

    #[test]
    fn what_is_no_frontier_is_refused() {
        let refused = |places: &[(u64, u32)]| {
            Tree::from_frontier(places.iter().map(|(prefix, depth)| (*prefix, *depth, &[7; NODE_LEN]))).err()
        };
        assert_eq!(refused(&[]), None);
        assert_eq!(refused(&[(1, 1), (0, 2)]), None);
        assert_eq!(refused(&[(0, 41)]), Some(FrontierError::OutOfRange));
        assert_eq!(refused(&[(1, 0)]), Some(FrontierError::OutOfRange));
        assert_eq!(refused(&[(u64::MAX, 40)]), Some(FrontierError::OutOfRange));
        assert_eq!(refused(&[(3, 8), (3, 8)]), Some(FrontierError::Overlap));
        assert_eq!(refused(&[(0, 40), (0, 39)]), Some(FrontierError::Overlap));
        assert_eq!(refused(&[(1, 40), (0, 39)]), Some(FrontierError::Overlap));
        assert_eq!(refused(&[(1, 1), (3, 2)]), Some(FrontierError::Overlap));
    }

    #[test]
    fn no_serials_puncture_nothing_and_all_everything() {
        let mut tree = Tree::from_seed(&seed());
        tree.puncture(serial(5)..=serial(4));
        assert_eq!(tree.seed().unwrap(), seed().expose());
        tree.puncture(serial(0)..=Serial::MAX);
        assert!(tree.is_empty() && tree.seed().is_none() && !tree.covers(serial(0)));
    }

    #[test]
    fn a_way_that_is_kept_never_leads_over_what_was_punctured() {
        let mut tree = Tree::from_seed(&seed());
        let mut above: Vec<[u8; NODE_LEN]> = Vec::new();
        let mut walk = Walk::at(seed().expose());
        for level in (0..Serial::BITS).rev() {
            walk.down(77_u64 >> level & 1 != 0);
            let mut node = [0; NODE_LEN];
            walk.write(&mut node);
            above.push(node);
        }
        tree.leaf(serial(77)).unwrap();
        let kept = |tree: &Tree, node: &[u8; NODE_LEN]| tree.path.as_ref().is_some_and(|path| path.has(node));
        assert!(above.iter().all(|node| kept(&tree, node)), "the way to the leaf is not kept");
        tree.puncture(serial(77)..=serial(77));
        // Again with a neighbour: of the nodes that are kept then none may be above the leaf that has gone.
        tree.leaf(serial(76)).unwrap();
        assert!(above.iter().all(|node| !kept(&tree, node)), "a node above a punctured leaf is still kept");
        let held: Vec<_> = tree.frontier().map(|(_, _, node)| *node).collect();
        assert!(above.iter().all(|node| !held.contains(node)));
        assert!(leaf(&mut tree, 77).is_none());
    }
}
