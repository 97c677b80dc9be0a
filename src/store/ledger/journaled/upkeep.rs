//! Threads in which dumps and checkpoints are made: always the same ones.
//!
//! A dump reads all of the index, and glibc keeps for a thread's arena what was freed in it: each thread that did so would leave
//! as much memory behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use super::{LedgerError, Store};

/// A thread that does one kind of work.
#[derive(Debug)]
pub(super) struct Worker<T> {
    due: Sender<T>,
    is_busy: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl<T: Send + 'static> Worker<T> {
    pub(super) fn start(store: Arc<Store>, work: impl Fn(&Store, T) -> Result<(), LedgerError> + Send + 'static) -> Self {
        let (due, jobs) = mpsc::channel();
        let is_busy = Arc::new(AtomicBool::new(false));
        let busy = Arc::clone(&is_busy);
        let thread = std::thread::spawn(move || {
            for job in jobs {
                if let Err(error) = work(&store, job) {
                    store.fail(&error);
                }
                busy.store(false, Ordering::SeqCst);
            }
        });
        Self { due, is_busy, thread }
    }

    /// Has it do this.
    pub(super) fn give(&self, job: T) {
        self.is_busy.store(true, Ordering::SeqCst);
        // Only a thread that panicked does not take it.
        self.due.send(job).unwrap_or_default();
    }

    pub(super) fn is_busy(worker: Option<&Self>) -> bool {
        worker.is_some_and(|worker| worker.is_busy.load(Ordering::SeqCst))
    }

    /// Whether it ended by itself. Another can then take its place.
    pub(super) fn has_panicked(worker: &mut Option<Self>) -> bool {
        matches!(worker.take_if(|worker| worker.thread.is_finished()).map(Self::end), Some(Err(_)))
    }

    /// Waits until it has done what it was given.
    pub(super) fn end(self) -> std::thread::Result<()> {
        drop(self.due);
        self.thread.join()
    }
}

#[cfg(test)]
impl<T> Worker<T> {
    /// One with this thread.
    pub(super) fn with(thread: JoinHandle<()>) -> Self {
        Self { due: mpsc::channel().0, is_busy: Arc::default(), thread }
    }
}
