//! Memory for secrets: whole pages of their own, locked so that they are never swapped out, as far as the limit of locked memory
//! (`RLIMIT_MEMLOCK`) allows. A place that is given back is wiped and used again; pages never go back to the system.
//!
//! Locking all memory (`os::lock_all`) covers more, but would make a process under a limit run out of memory there, and the
//! usual limit is 8 MiB. So secrets have pages that are locked by themselves, under any limit.

use std::io;
use std::mem;

use parking_lot::Mutex;

use crate::os;

/// Bytes of a secret.
pub const LEN: usize = 32;
/// How many secrets a block has room for.
pub const BLOCK: usize = 64;
const PAGE: usize = 4096;
/// How many pages are asked for and locked at once: 128 KiB, so that the first 4096 single secrets, the root and all keys of pages
/// among them, are locked before any block is.
const PAGES: usize = 32;

#[derive(Clone, Copy)]
#[repr(align(4096))]
struct Page([[u8; LEN]; PAGE / LEN]);

/// A place for one secret, or for a block of them. All zeros at first, wiped when dropped.
#[expect(missing_debug_implementations, reason = "a secret is never printed")]
pub struct Locked(&'static mut [[u8; LEN]]);

impl Locked {
    /// For one.
    #[must_use]
    pub fn one() -> Self {
        Self(POOL.lock().take(1))
    }

    /// For [`BLOCK`].
    #[must_use]
    pub fn block() -> Self {
        Self(POOL.lock().take(BLOCK))
    }

    /// The secret at a position.
    #[must_use]
    pub fn get(&self, position: usize) -> Option<&[u8; LEN]> {
        self.0.get(position)
    }

    /// All of them.
    pub fn all_mut(&mut self) -> &mut [[u8; LEN]] {
        self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let place = mem::take(&mut self.0);
        zeroize::zeroize_bytes(place.as_flattened_mut());
        POOL.lock().free(place.len()).push(place);
    }
}

/// How much memory was asked for, for secrets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes that are locked.
    pub locked: usize,
    /// Bytes that could not be.
    pub unlocked: usize,
}

/// How much memory this process holds for secrets.
#[must_use]
pub fn held() -> Held {
    POOL.lock().held
}

static POOL: Mutex<Pool> = Mutex::new(Pool::new(os::lock::<Page>));

/// The places that are free.
struct Pool {
    ones: Vec<&'static mut [[u8; LEN]]>,
    blocks: Vec<&'static mut [[u8; LEN]]>,
    held: Held,
    lock: fn(&[Page]) -> io::Result<()>,
}

impl Pool {
    const fn new(lock: fn(&[Page]) -> io::Result<()>) -> Self {
        Self { ones: Vec::new(), blocks: Vec::new(), held: Held { locked: 0, unlocked: 0 }, lock }
    }

    fn free(&mut self, secrets: usize) -> &mut Vec<&'static mut [[u8; LEN]]> {
        if secrets == 1 { &mut self.ones } else { &mut self.blocks }
    }

    /// A place for so many, one or a block.
    fn take(&mut self, secrets: usize) -> &'static mut [[u8; LEN]] {
        if self.free(secrets).is_empty() {
            self.grow(secrets);
        }
        self.free(secrets).pop().unwrap_or_default()
    }

    fn grow(&mut self, secrets: usize) {
        let pages = Box::leak(vec![Page([[0; LEN]; PAGE / LEN]); PAGES].into_boxed_slice());
        let bytes = size_of_val(pages);
        if let Err(error) = (self.lock)(pages) {
            if self.held.unlocked == 0 {
                let locked = self.held.locked;
                tracing::warn!(%error, locked, "RLIMIT_MEMLOCK: further keys may be swapped out; raise it, or switch swap off");
            }
            self.held.unlocked = self.held.unlocked.saturating_add(bytes);
        } else {
            self.held.locked = self.held.locked.saturating_add(bytes);
        }
        self.free(secrets).extend(pages.iter_mut().flat_map(|Page(page)| page.chunks_mut(secrets)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_apart_and_wiped_before_they_are_used_again() {
        let mut places: Vec<Locked> =
            (0..100).map(|number| if number % 2 == 0 { Locked::one() } else { Locked::block() }).collect();
        for (place, number) in places.iter_mut().zip(0_u8..) {
            assert!(place.all_mut().iter().all(|secret| *secret == [0; LEN]));
            place.all_mut().fill([number; LEN]);
        }
        for (place, number) in places.iter_mut().zip(0_u8..) {
            assert!(place.all_mut().iter().all(|secret| *secret == [number; LEN]));
            assert_eq!(place.get(0), Some(&[number; LEN]));
        }
        assert_eq!((places[0].get(1), places[1].get(BLOCK)), (None, None));
        drop(places);
        let all = || POOL.lock().blocks.iter().flat_map(|block| block.iter()).all(|secret| *secret == [0; LEN]);
        assert!(all(), "what was given back is not wiped");
        assert!(POOL.lock().held.locked > 0);
    }

    #[test]
    fn what_cannot_be_locked_is_counted() {
        let mut pool = Pool::new(|_| Err(io::ErrorKind::OutOfMemory.into()));
        let place = pool.take(1);
        assert_eq!((place.len(), pool.held), (1, Held { locked: 0, unlocked: PAGES * PAGE }));
        let more: Vec<_> = (0..PAGES * PAGE / LEN).map(|_| pool.take(1)).collect();
        assert_eq!((more.len(), pool.held.unlocked), (PAGES * PAGE / LEN, 2 * PAGES * PAGE));
        assert_eq!(pool.take(BLOCK).len(), BLOCK);
        assert_eq!(pool.held.unlocked, 3 * PAGES * PAGE);
    }

    #[test]
    fn secrets_have_pages_to_themselves() {
        let mut pool = Pool::new(|_| Ok(()));
        let first = pool.take(1).as_ptr().addr();
        let all: Vec<_> = (1..PAGES * PAGE / LEN).map(|_| pool.take(1).as_ptr().addr()).chain([first]).collect();
        let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
        assert_eq!((least % PAGE, most + LEN - least), (0, PAGES * PAGE));
        assert_eq!(pool.held, Held { locked: PAGES * PAGE, unlocked: 0 });
    }
}
