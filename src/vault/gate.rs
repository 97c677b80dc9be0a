//! The gate: the one order of releases and withdrawals.
//!
//! A message is decided, read and decrypted under a generation, and handed to the transport only if that generation still
//! stands; handing over gives it the next release sequence. A withdrawal first changes what decisions are made from, then
//! raises the generation and learns the last sequence given. So every message with a larger sequence was decided after the
//! withdrawal, and no slow reader delays either.

use parking_lot::{Mutex, RwLock, RwLockReadGuard};

/// Orders releases and withdrawals.
#[derive(Debug)]
pub(super) struct Gate {
    order: Mutex<Order>,
    /// Read by those who hold keys of records, to be waited for by those who forget them.
    openers: RwLock<()>,
}

#[derive(Debug)]
struct Order {
    generation: u64,
    sequence: u64,
}

impl Gate {
    /// A gate whose sequences come after all those of earlier starts: the keyring's generation rises with every start.
    pub(super) fn new(keyring_generation: u64) -> Self {
        let sequence = keyring_generation.saturating_mul(1 << 32);
        Self { order: Mutex::new(Order { generation: 0, sequence }), openers: RwLock::new(()) }
    }

    /// The generation to decide under.
    pub(super) fn generation(&self) -> u64 {
        self.order.lock().generation
    }

    /// Hands a message over, unless it was decided under an older generation or `still_good` says no.
    pub(super) fn hand_over(&self, generation: u64, still_good: impl FnOnce() -> bool, send: impl FnOnce(u64)) -> bool {
        let mut order = self.order.lock();
        if order.generation != generation || !still_good() {
            return false;
        }
        order.sequence = order.sequence.saturating_add(1);
        send(order.sequence);
        true
    }

    /// Discards every message that is not handed over yet. Returns the last sequence given to one that was.
    pub(super) fn raise(&self) -> u64 {
        let mut order = self.order.lock();
        order.generation = order.generation.saturating_add(1);
        order.sequence
    }

    /// The last sequence given.
    pub(super) fn last(&self) -> u64 {
        self.order.lock().sequence
    }

    /// To be held while keys of records are in use.
    pub(super) fn opening(&self) -> RwLockReadGuard<'_, ()> {
        self.openers.read()
    }

    /// Returns when everyone who held keys at the call has let go of them.
    pub(super) fn wait_for_openers(&self) {
        drop(self.openers.write());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_decided_before_a_withdrawal_is_not_handed_over_after_it() {
        let gate = Gate::new(3);
        let mut sent = Vec::new();
        let before = gate.generation();
        assert!(gate.hand_over(before, || true, |sequence| sent.push(sequence)));
        let last = gate.raise();
        assert!(!gate.hand_over(before, || true, |sequence| sent.push(sequence)));
        assert!(!gate.hand_over(gate.generation(), || false, |sequence| sent.push(sequence)));
        assert!(gate.hand_over(gate.generation(), || true, |sequence| sent.push(sequence)));
        assert_eq!(sent, [(3 << 32) + 1, (3 << 32) + 2]);
        assert_eq!(last, sent[0]);
    }
}
