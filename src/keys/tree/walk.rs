//! The way from a node down to its children: SHA-256 of 51 bytes, which with their padding are one block and one compression.

use sha2::digest::FixedOutputReset;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::NODE_LEN;

/// Whoever goes down stands at a node. It is wiped on drop.
pub(super) struct Walk {
    node: Zeroizing<[u8; NODE_LEN]>,
    /// Stays while one goes down, so that it is wiped once and not at each level.
    hash: Sha256,
}

impl Walk {
    /// Begins at `node`.
    pub(super) fn at(node: &[u8; NODE_LEN]) -> Self {
        Self { node: Zeroizing::new(*node), hash: Sha256::new() }
    }

    /// Goes to a child.
    pub(super) fn down(&mut self, bit: bool) {
        Digest::update(&mut self.hash, b"idvault/keytree/v1");
        Digest::update(&mut self.hash, [u8::from(bit)]);
        Digest::update(&mut self.hash, *self.node);
        FixedOutputReset::finalize_into_reset(&mut self.hash, (&mut *self.node).into());
    }

    /// Copies the node to where it is to stay.
    pub(super) fn write(&self, node: &mut [u8; NODE_LEN]) {
        *node = *self.node;
    }
}
