//! What a test has the keyring do wrong, to see that the attacker notices. Only with the feature `sabotage`, only in debug builds, and
//! only on the thread that asked for it.

use std::cell::Cell;

use crate::crypto::secret::Secret;

#[cfg(not(debug_assertions))]
compile_error!("the feature `sabotage` makes a vault that does not forget: it is for tests, never for a release build");

thread_local! {
    static CHOSEN: Cell<Option<Sabotage>> = const { Cell::new(None) };
}

/// A way not to forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// A page is sealed under the key of the page that it replaces.
    ReusePageKey,
    /// What was cached of the way to a leaf is kept when a leaf is punctured.
    KeepCachedNodes,
}

/// From here on, this thread does it wrong in this way.
pub fn choose(way: Sabotage) {
    CHOSEN.set(Some(way));
}

/// Puts the key of an old page in place of the new one's.
pub(super) fn reuse(new: Option<&mut Secret>, old: Option<&Secret>) {
    if let (Some(Sabotage::ReusePageKey), Some(new), Some(old)) = (CHOSEN.get(), new, old) {
        *new = Secret::build(|bytes| bytes.copy_from_slice(old.expose()));
    }
}

/// Keeps what was cached.
pub(super) fn keep<T: 'static>(cached: &mut Option<T>) {
    if CHOSEN.get() == Some(Sabotage::KeepCachedNodes) {
        Box::leak(Box::new(cached.take()));
    }
}
