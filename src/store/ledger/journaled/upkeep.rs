//! The thread in which dumps and checkpoints are made: always the same one.
//!
//! A dump reads all of the index, and glibc keeps for a thread's arena what was freed in it: each thread that did so would leave
//! as much memory behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use super::Store;

/// The thread.
#[derive(Debug)]
pub(super) struct Worker {
    /// Takes the day of the dump that is due, if one is.
    due: Sender<Option<u32>>,
    is_busy: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Worker {
    pub(super) fn start(store: Arc<Store>, reserve: u64) -> Self {
        let (due, jobs) = mpsc::channel();
        let is_busy = Arc::new(AtomicBool::new(false));
        let busy = Arc::clone(&is_busy);
        let thread = std::thread::spawn(move || {
            for day in jobs {
                store.keep_up(day, reserve);
                busy.store(false, Ordering::SeqCst);
            }
        });
        Self { due, is_busy, thread }
    }

    /// Has it take the dump of a day, if one is due, and a checkpoint.
    pub(super) fn keep_up(&self, dump: Option<u32>) {
        self.is_busy.store(true, Ordering::SeqCst);
        // Only a thread that panicked does not take it.
        self.due.send(dump).unwrap_or_default();
    }

    pub(super) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::SeqCst)
    }

    /// Whether it ended by itself: it panicked.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until it has done what it was given.
    pub(super) fn end(self) -> std::thread::Result<()> {
        drop(self.due);
        self.thread.join()
    }
}

#[cfg(test)]
impl Worker {
    /// One with this thread.
    pub(super) fn with(thread: JoinHandle<()>) -> Self {
        Self { due: mpsc::channel().0, is_busy: Arc::default(), thread }
    }
}
