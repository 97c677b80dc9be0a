//! Room on the disk: what uploads may take, so that what shreds never meets a full disk.
//!
//! Between the look at the disk and the write others look too. So what is about to be written counts as taken: two appends
//! that fit one by one and not together do not both pass.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::VolumeError;

/// Gives room to appends, down to a reserve.
#[derive(Debug)]
pub(super) struct Room {
    /// How many bytes are left free.
    reserve: u64,
    /// How many bytes were promised and are perhaps not written yet.
    promised: AtomicU64,
}

/// Bytes that may be written while this is held.
#[derive(Debug)]
pub(super) struct Promise<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Room {
    /// Room that leaves so many bytes free.
    pub(super) fn new(reserve: u64) -> Self {
        Self { reserve, promised: AtomicU64::default() }
    }

    /// Promises so many bytes of the disk, of which `free` are free, if that leaves the reserve.
    pub(super) fn promise(&self, bytes: u64, free: impl FnOnce() -> io::Result<u64>) -> Result<Promise<'_>, VolumeError> {
        // In this order: what is not counted as promised any more is on the disk by the time it is looked at.
        let promised = self.promised.fetch_add(bytes, Ordering::SeqCst).saturating_add(bytes);
        let promise = Promise { room: self, bytes };
        if free()? < self.reserve.saturating_add(promised) {
            return Err(VolumeError::Full);
        }
        Ok(promise)
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        self.room.promised.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    #[test]
    fn what_is_promised_is_taken_until_it_is_written() {
        let room = Room::new(10);
        let first = room.promise(60, || Ok(100)).unwrap();
        assert!(matches!(room.promise(31, || Ok(100)), Err(VolumeError::Full)));
        drop(room.promise(30, || Ok(100)).unwrap());
        let written_after_the_look = || {
            drop(first);
            Ok(100)
        };
        assert!(matches!(room.promise(31, written_after_the_look), Err(VolumeError::Full)));
        room.promise(90, || Ok(100)).unwrap();
        assert!(matches!(room.promise(91, || Ok(100)), Err(VolumeError::Full)));
    }

    #[test]
    fn many_at_once_leave_the_reserve() {
        let (room, free, start) = (Room::new(100), AtomicU64::new(1_000), Barrier::new(8));
        let append = || {
            start.wait();
            let mut written = 0;
            for _ in 0..200 {
                let Ok(promise) = room.promise(7, || Ok(free.load(Ordering::SeqCst))) else { continue };
                thread::yield_now();
                free.fetch_sub(7, Ordering::SeqCst);
                drop(promise);
                written += 7;
            }
            written
        };
        let written: u64 = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(append)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!((100..107).contains(&free.load(Ordering::SeqCst)), "the reserve is left, and nothing else");
        assert_eq!(written, 1_000 - free.load(Ordering::SeqCst));
    }
}
