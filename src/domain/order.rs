//! In which order an epoch goes through a snapshot: a keyed permutation, computed position by position, never stored.
//!
//! A Feistel network (Luby and Rackoff, SIAM J. Comput. 1988) of eight rounds over the least even number of bits, at least
//! two, that holds every index; results that are no index are permuted again until one is (cycle-walking, Black and
//! Rogaway, CT-RSA 2002). It shuffles well; it is no encryption and hides nothing from who knows the seed.

use sha2::{Digest, Sha256};

const ROUNDS: u8 = 8;

/// The order of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    seed: u64,
    epoch: u32,
    count: u64,
    /// How many bits each half of the network has: 1 to 32.
    half: u32,
}

impl Order {
    /// The order in which epoch `epoch` goes through the `count` records of a snapshot.
    #[must_use]
    pub fn new(seed: u64, epoch: u32, count: u64) -> Self {
        let bits = u64::BITS.saturating_sub(count.saturating_sub(1).leading_zeros());
        Self { seed, epoch, count, half: bits.div_ceil(2).max(1) }
    }

    /// Which record of the snapshot stands at `position`; `None` past the end.
    #[must_use]
    pub fn index(&self, position: u64) -> Option<u64> {
        if position >= self.count {
            return None;
        }
        let mut index = self.permute(position);
        while index >= self.count {
            index = self.permute(index);
        }
        Some(index)
    }

    fn permute(&self, number: u64) -> u64 {
        let mask = !u64::MAX.unbounded_shl(self.half);
        let (mut left, mut right) = (number.unbounded_shr(self.half), number & mask);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ (self.round(round, right) & mask));
        }
        left.unbounded_shl(self.half) | right
    }

    /// The first 8 bytes of SHA-256(`idvault/order/v1` ‖ seed ‖ epoch ‖ count ‖ round ‖ half), numbers big-endian.
    fn round(&self, round: u8, half: u64) -> u64 {
        let mut hash = Sha256::new_with_prefix(b"idvault/order/v1");
        hash.update(self.seed.to_be_bytes());
        hash.update(self.epoch.to_be_bytes());
        hash.update(self.count.to_be_bytes());
        hash.update([round]);
        hash.update(half.to_be_bytes());
        hash.finalize().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_record_stands_at_one_position(seed: u64, epoch: u32, count in 0_u64..700) {
            let order = Order::new(seed, epoch, count);
            let indices: BTreeSet<_> = (0..count).map(|position| order.index(position).unwrap()).collect();
            prop_assert_eq!(indices, (0..count).collect::<BTreeSet<_>>());
            prop_assert_eq!(order.index(count), None);
        }

        #[test]
        fn an_index_of_a_large_snapshot_is_in_it(seed: u64, (count, position) in (1_u64..).prop_flat_map(|n| (Just(n), 0..n))) {
            let index = Order::new(seed, 0, count).index(position);
            prop_assert!(index.is_some_and(|index| index < count));
        }
    }

    #[test]
    fn seed_epoch_and_count_each_change_the_order() {
        let order = |seed, epoch, count| (0..64).map(|at| Order::new(seed, epoch, count).index(at)).collect::<Vec<_>>();
        let orders = [order(1, 1, 64), order(2, 1, 64), order(1, 2, 64), order(1, 1, 65)];
        assert_eq!(orders.iter().collect::<BTreeSet<_>>().len(), orders.len());
    }
}
