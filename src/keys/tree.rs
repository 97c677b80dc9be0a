//! The key tree of one hour: a puncturable pseudorandom function after Goldreich, Goldwasser and Micali (JACM 1986), as
//! Holepunch (IEEE S&P 2024) uses it for shredding files.
//!
//! A binary tree of depth 40 under one random seed, `child(node, bit) = SHA-256("idvault/keytree/v1" ‖ bit ‖ node)`: the
//! leaf that the bits of a serial lead to, most significant first, is the secret of the record with that serial. To
//! puncture serials is to keep, instead of the nodes above them, the least set of nodes that covers all others. Neither a
//! punctured leaf nor a node above one is ever held afterwards, nor can it be computed from what is.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use sha2::{Digest, Sha256};

use crate::crypto::secret::Secret;
use crate::domain::ids::Serial;

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
    /// The frontier by the first serial below each node. No two nodes cover the same serial.
    nodes: BTreeMap<u64, Node>,
}

/// A node that is `height` levels above the leaves.
struct Node {
    height: u32,
    secret: Secret,
}

impl Tree {
    /// The whole tree under a seed.
    #[must_use]
    pub fn from_seed(seed: Secret) -> Self {
        Self { nodes: BTreeMap::from([(0, Node { height: Serial::BITS, secret: seed })]) }
    }

    /// The tree that has this frontier, given as in [`Tree::frontier`] but in any order.
    ///
    /// # Errors
    /// When a node is outside the tree or covers what another covers.
    pub fn from_frontier(frontier: Vec<(u64, u32, Secret)>) -> Result<Self, FrontierError> {
        let mut nodes = BTreeMap::new();
        for (prefix, depth, secret) in frontier {
            let height = Serial::BITS.checked_sub(depth).ok_or(FrontierError::OutOfRange)?;
            if prefix.unbounded_shr(depth) != 0 {
                return Err(FrontierError::OutOfRange);
            }
            if nodes.insert(prefix.unbounded_shl(height), Node { height, secret }).is_some() {
                return Err(FrontierError::Overlap);
            }
        }
        let mut neighbours = nodes.iter().zip(nodes.keys().skip(1));
        if neighbours.any(|((first, node), next)| node.last(*first) >= *next) {
            return Err(FrontierError::Overlap);
        }
        Ok(Self { nodes })
    }

    /// The nodes that cover all serials but the punctured ones, sorted by the first serial below each: the prefix of its
    /// serials, how many bits that has, and its secret.
    pub fn frontier(&self) -> impl Iterator<Item = (u64, u32, &Secret)> {
        self.nodes
            .iter()
            .map(|(first, node)| (first.unbounded_shr(node.height), Serial::BITS.saturating_sub(node.height), &node.secret))
    }

    /// How many nodes the frontier has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether every serial is punctured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The seed, while nothing is punctured.
    #[must_use]
    pub fn seed(&self) -> Option<&Secret> {
        self.nodes.values().find(|node| node.height == Serial::BITS).map(|node| &node.secret)
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
        from <= to && self.nodes.range(..=to).next_back().is_some_and(|(first, node)| from <= node.last(*first))
    }

    /// The secret of `serial`, unless it is punctured.
    #[must_use]
    pub fn leaf(&self, serial: Serial) -> Option<Secret> {
        let node = self.above(serial.number())?;
        Some(Secret::build(|secret| {
            *secret = *node.secret.expose();
            for level in (0..node.height).rev() {
                descend(secret, serial.number() & 1_u64.unbounded_shl(level) != 0);
            }
        }))
    }

    /// Forgets the secrets of `serials`: no later call gives one of them.
    pub fn puncture(&mut self, serials: RangeInclusive<Serial>) {
        if serials.is_empty() {
            return;
        }
        let gone = serials.start().number()..=serials.end().number();
        let from = self.nodes.range(..=gone.start()).next_back().map_or(*gone.start(), |(first, _)| *first);
        let touched: Vec<_> = self.nodes.extract_if(from..=*gone.end(), |_, _| true).collect();
        for (first, node) in touched {
            self.keep(first, node, &gone);
        }
    }

    /// The node at or above the leaf of `serial`.
    fn above(&self, serial: u64) -> Option<&Node> {
        self.nodes.range(..=serial).next_back().filter(|(first, node)| serial <= node.last(**first)).map(|(_, node)| node)
    }

    /// Takes in what `node` covers outside `gone`: the node, nothing of it, or what its children cover.
    fn keep(&mut self, first: u64, node: Node, gone: &RangeInclusive<u64>) {
        let last = node.last(first);
        if last < *gone.start() || *gone.end() < first {
            self.nodes.insert(first, node);
        } else if first < *gone.start() || *gone.end() < last {
            // INVARIANT (a leaf is inside or outside): only a node with leaves on both sides gets here, so it has children.
            let height = node.height.saturating_sub(1);
            for (bit, first) in [(false, first), (true, first | 1_u64.unbounded_shl(height))] {
                let secret = Secret::build(|secret| {
                    *secret = *node.secret.expose();
                    descend(secret, bit);
                });
                self.keep(first, Node { height, secret }, gone);
            }
        }
    }
}

impl Node {
    /// The last serial below a node whose first is `first`.
    fn last(&self, first: u64) -> u64 {
        first | !u64::MAX.unbounded_shl(self.height)
    }
}

/// Turns a node into its child, in place.
fn descend(node: &mut [u8; 32], bit: bool) {
    let mut hash = Sha256::new();
    hash.update(b"idvault/keytree/v1");
    hash.update([u8::from(bit)]);
    hash.update(node.as_slice());
    hash.finalize_into(node.into());
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seed() -> Secret {
        Secret::build(|seed| seed.fill(7))
    }

    fn serial(number: u64) -> Serial {
        Serial::new(number).unwrap()
    }

    fn punctured(ranges: &[(u64, u64)]) -> Tree {
        let mut tree = Tree::from_seed(seed());
        for (first, last) in ranges {
            tree.puncture(serial(*first)..=serial(*last));
        }
        tree
    }

    fn leaf(tree: &Tree, number: u64) -> Option<[u8; 32]> {
        tree.leaf(serial(number)).map(|leaf| *leaf.expose())
    }

    fn nodes(tree: &Tree) -> Vec<(u64, u32, [u8; 32])> {
        tree.frontier().map(|(prefix, depth, secret)| (prefix, depth, *secret.expose())).collect()
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
            let (whole, tree) = (Tree::from_seed(seed()), punctured(&ranges));
            let beside = |(first, last): &(u64, u64)| [first.saturating_sub(1), *first, *last, (last + 1).min(Serial::MAX.number())];
            for probe in probes.iter().copied().chain(ranges.iter().flat_map(beside)) {
                let gone = ranges.iter().any(|(first, last)| (*first..=*last).contains(&probe));
                prop_assert_eq!(tree.covers(serial(probe)), !gone);
                prop_assert_eq!(leaf(&tree, probe), leaf(&whole, probe).filter(|_| !gone));
                let last = (probe + 5).min(Serial::MAX.number());
                prop_assert_eq!(tree.covers_any(&(serial(probe)..=serial(last))), (probe..=last).any(|one| tree.covers(serial(one))));
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
            let copy = |(prefix, depth, secret): (u64, u32, &Secret)| (prefix, depth, Secret::build(|copy| *copy = *secret.expose()));
            let mut frontier: Vec<_> = tree.frontier().map(copy).collect();
            frontier.reverse();
            let again = Tree::from_frontier(frontier).ok().unwrap();
            prop_assert_eq!(nodes(&again), nodes(&tree));
        }
    }

    #[test]
    fn what_is_no_frontier_is_refused() {
        let refused = |places: &[(u64, u32)]| {
            let nodes = places.iter().map(|(prefix, depth)| (*prefix, *depth, seed())).collect();
            Tree::from_frontier(nodes).err()
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
        let mut tree = Tree::from_seed(seed());
        tree.puncture(serial(5)..=serial(4));
        assert_eq!(tree.seed().unwrap().expose(), seed().expose());
        tree.puncture(serial(0)..=Serial::MAX);
        assert!(tree.is_empty() && tree.seed().is_none() && !tree.covers(serial(0)));
    }
}
