//! Group commit: one sync of the disk serves everyone who wrote before it began.

use parking_lot::Mutex;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// The place of a write in the order of writes: durable once a sync that began later has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// Syncs one file for many writers. Who comes first syncs for all that wrote before; the others find it done.
///
/// After a failed sync the kernel may have dropped what it could not write, so a failed group never succeeds again.
#[derive(Debug, Default)]
pub struct Group {
    written: AtomicU64,
    synced: Mutex<Synced>,
}

#[derive(Debug, Default)]
struct Synced {
    upto: u64,
    failed: bool,
}

impl Group {
    /// The ticket of a write that has just been made.
    pub fn wrote(&self) -> Ticket {
        Ticket(self.written.fetch_add(1, Ordering::SeqCst).saturating_add(1))
    }

    /// The ticket of the latest write of all.
    pub fn latest(&self) -> Ticket {
        Ticket(self.written.load(Ordering::SeqCst))
    }

    /// Returns once the write of `ticket` is durable, calling `sync` if nobody has for it.
    ///
    /// # Errors
    /// When `sync` fails, now or before.
    pub fn make_durable(&self, ticket: Ticket, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut synced = self.synced.lock();
        if synced.upto >= ticket.0 {
            return Ok(());
        }
        if synced.failed {
            return Err(io::Error::other("an earlier sync of this file failed"));
        }
        let Ticket(upto) = self.latest();
        if let Err(error) = sync() {
            synced.failed = true;
            return Err(error);
        }
        synced.upto = upto;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn one_sync_serves_all_that_wrote_before_it() {
        let (group, syncs) = (Group::default(), Cell::new(0));
        let sync = || {
            syncs.set(syncs.get() + 1);
            Ok(())
        };
        let (first, second) = (group.wrote(), group.wrote());
        group.make_durable(second, sync).unwrap();
        group.make_durable(first, sync).unwrap();
        assert_eq!(syncs.get(), 1);
        group.make_durable(group.wrote(), sync).unwrap();
        assert_eq!(syncs.get(), 2);
    }

    #[test]
    fn a_failed_sync_is_never_retried() {
        let group = Group::default();
        let ticket = group.wrote();
        group.make_durable(ticket, || Err(io::Error::other("EIO"))).unwrap_err();
        group.make_durable(ticket, || Ok(())).unwrap_err();
    }
}
