//! Many directories, each tried by itself, some at once.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::Mutex;
use tempfile::TempDir;

/// How many are tried at once.
const AT_ONCE: usize = 4;

/// Held by the test that runs: each takes the whole machine, and a vault of this process must not be locked by a child that another
/// test is starting.
pub(crate) static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A folder in memory, if there is one: what is tried need not outlast the test.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Does this with each, and fails with those of them that fail.
pub(crate) fn in_parallel<T: Copy + Debug + Send, R: Send>(all: Vec<T>, each: impl AsyncFn(T) -> R + Sync) -> Vec<R> {
    let (count, all, failed, done) = (all.len(), Mutex::new(all), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let work = || {
        while let Some(one) = { all.lock().pop() } {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            match catch_unwind(AssertUnwindSafe(|| runtime.block_on(each(one)))) {
                Ok(outcome) => done.lock().push(outcome),
                Err(_) => failed.lock().push(one),
            }
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner();
    assert!(failed.is_empty(), "{} of {count}: {failed:#?}", failed.len());
    done.into_inner()
}
