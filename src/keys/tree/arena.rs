//! Where the nodes of a tree stand: in blocks of locked memory that never move, so that no node leaves a copy behind when others come. A node
//! that goes is wiped at once, and all are on drop.

use zeroize::Zeroize;

use super::NODE_LEN;
use crate::crypto::locked::{BLOCK, Locked};

/// The nodes of one tree.
pub(super) struct Arena {
    blocks: Vec<Locked>,
    free: Vec<Slot>,
}

/// Which place of its arena a node has, until it is wiped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slot(u32);

impl Arena {
    /// Without nodes.
    pub(super) fn new() -> Self {
        Self { blocks: Vec::new(), free: Vec::new() }
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.blocks.len().saturating_mul(BLOCK).saturating_sub(self.free.len())
    }

    /// A new node, which `write` puts in its place.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut [u8; NODE_LEN])) -> Slot {
        if self.free.is_empty() {
            let first = u32::try_from(self.blocks.len().saturating_mul(BLOCK)).unwrap_or(u32::MAX);
            self.blocks.push(Locked::block());
            self.free.extend((first..).take(BLOCK).map(Slot));
        }
        // There is one now; a slot that is none has no node.
        let slot = self.free.pop().unwrap_or(Slot(u32::MAX));
        self.place(&slot).map(write);
        slot
    }

    /// The node in a slot.
    pub(super) fn get(&self, slot: &Slot) -> Option<&[u8; NODE_LEN]> {
        let number = usize::try_from(slot.0).ok()?;
        self.blocks.get(number / BLOCK)?.get(number % BLOCK)
    }

    /// Wipes the node in a slot, which another can have then.
    pub(super) fn wipe(&mut self, slot: Slot) {
        if let Some(node) = self.place(&slot) {
            node.zeroize();
            self.free.push(slot);
        }
    }

    fn place(&mut self, slot: &Slot) -> Option<&mut [u8; NODE_LEN]> {
        let number = usize::try_from(slot.0).ok()?;
        self.blocks.get_mut(number / BLOCK)?.all_mut().get_mut(number % BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_stay_where_they_are_and_are_wiped_when_they_go() {
        let mut arena = Arena::new();
        let slots: Vec<Slot> = (0..200).map(|number| arena.put(|node| node.fill(number))).collect();
        let places: Vec<*const _> = slots.iter().map(|slot| std::ptr::from_ref(arena.get(slot).unwrap())).collect();
        let more: Vec<Slot> = (0..200).map(|_| arena.put(|_| ())).collect();
        assert_eq!(arena.len(), 400);
        for ((slot, place), number) in slots.iter().zip(&places).zip(0..) {
            assert_eq!(arena.get(slot), Some(&[number; NODE_LEN]));
            assert_eq!(std::ptr::from_ref(arena.get(slot).unwrap()), *place);
        }
        for slot in slots {
            let same = Slot(slot.0);
            arena.wipe(slot);
            assert_eq!(arena.get(&same), Some(&[0; NODE_LEN]), "what has gone is not wiped");
        }
        assert_eq!(arena.len(), more.len());
        let blocks = arena.blocks.len();
        let again: Vec<Slot> = (0..200).map(|number| arena.put(|node| node.fill(number))).collect();
        assert_eq!(again.len(), more.len());
        assert_eq!((arena.len(), arena.blocks.len()), (400, blocks), "slots are used again");
    }
}
