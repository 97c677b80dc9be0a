//! The nodes from a frontier down to the leaf that was asked for last, so that the next leaf begins where its way parts from
//! that one: leaves in a row cost two steps each, whatever the depth.
//!
//! A path is of the frontier it was made for. Whoever changes the frontier drops the path, which wipes it.

use super::walk::Walk;
use super::{DEPTH, NODE_LEN};
use crate::crypto::locked::{BLOCK, Locked};

const _: () = assert!(DEPTH <= BLOCK, "a path is longer than a block");

/// The nodes above and at one leaf, by how many levels they are above the leaves.
pub(super) struct Path {
    nodes: Locked,
    serial: u64,
    /// How many levels above the leaves the frontier is there: only nodes below it belong to `serial`.
    height: u32,
}

impl Path {
    /// How many nodes a path has room for.
    pub(super) const LEN: usize = DEPTH;

    /// Without nodes.
    pub(super) fn new() -> Self {
        Self { nodes: Locked::block(), serial: 0, height: 0 }
    }

    /// Goes to the leaf of `serial` from the node of the frontier above it, `height` levels up, or from the last that is known.
    pub(super) fn walk_to(&mut self, serial: u64, height: u32, frontier: &[u8; NODE_LEN]) -> Walk {
        // The lowest level on which one node is above both leaves.
        let shared = u64::BITS.saturating_sub((serial ^ self.serial).leading_zeros());
        let is_known = height == self.height && shared < height;
        let known = usize::try_from(shared).ok().and_then(|level| self.nodes.get(level)).filter(|_| is_known);
        let (mut walk, above) = known.map_or((Walk::at(frontier), height), |node| (Walk::at(node), shared));
        for (level, node) in (0..above).zip(self.nodes.all_mut().iter_mut()).rev() {
            walk.down(serial & 1_u64.unbounded_shl(level) != 0);
            walk.write(node);
        }
        (self.serial, self.height) = (serial, height);
        walk
    }

    /// Whether it has this node.
    #[cfg(test)]
    pub(super) fn has(&self, node: &[u8; NODE_LEN]) -> bool {
        (0..DEPTH).any(|level| self.nodes.get(level) == Some(node))
    }
}
