//! Budgets that callers share: so much in all, and for each at most half of what the others have left of it, so that whoever comes
//! later finds something too. Dynamic thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6 (1998).
//!
//! A share is waited for by so many and for so long: who cannot go on is told so. For uploads the wait must be short. What a client sends ahead
//! while nobody reads it fills the windows of its connection, and those who have their share would get nothing over it any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use crate::domain::ids::Identity;

/// Something that there is so much of.
#[derive(Debug)]
pub(super) struct Budget {
    all: u64,
    wait: Wait,
    /// One for each that may wait.
    seats: Semaphore,
    taken: Mutex<HashMap<Identity, u64>>,
    given_back: Notify,
}

/// How a share is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    /// For how long.
    pub(super) longest: Duration,
    /// By how many at once.
    pub(super) most: usize,
}

/// A caller's share; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    caller: Identity,
    amount: u64,
}

impl Budget {
    /// A budget of so much in all.
    pub(super) fn new(all: u64, wait: Wait) -> Self {
        Self { all, wait, seats: Semaphore::new(wait.most), taken: Mutex::default(), given_back: Notify::new() }
    }

    /// A share for a caller, if there is one soon. What is more than a caller can ever have counts as all that it can.
    pub(super) async fn take(self: &Arc<Self>, caller: &Identity, amount: u64) -> Option<Share> {
        let amount = amount.min(half(self.all));
        if !self.try_take(caller, amount) {
            let _seat = self.seats.try_acquire().ok()?;
            timeout(self.wait.longest, self.wait_and_take(caller, amount)).await.ok()?;
        }
        Some(Share { budget: Arc::clone(self), caller: caller.clone(), amount })
    }

    async fn wait_and_take(&self, caller: &Identity, amount: u64) {
        loop {
            // Listened for before looking, so that nothing given back in between is missed.
            let mut given_back = std::pin::pin!(self.given_back.notified());
            given_back.as_mut().enable();
            if self.try_take(caller, amount) {
                return;
            }
            given_back.await;
        }
    }

    fn try_take(&self, caller: &Identity, amount: u64) -> bool {
        let mut taken = self.taken.lock();
        let (all, own) = (taken.values().sum::<u64>(), taken.get(caller).copied().unwrap_or(0));
        let left_by_others = self.all.saturating_sub(all.saturating_sub(own));
        let fits = own.saturating_add(amount) <= half(left_by_others);
        if fits {
            taken.insert(caller.clone(), own.saturating_add(amount));
        }
        fits
    }
}

/// Half of it, and of an odd one the larger half: the last one too can be had.
fn half(amount: u64) -> u64 {
    amount.div_ceil(2)
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.budget.taken.lock();
        let left = taken.get(&self.caller).copied().unwrap_or(0).saturating_sub(self.amount);
        if left == 0 {
            taken.remove(&self.caller);
        } else {
            taken.insert(self.caller.clone(), left);
        }
        drop(taken);
        self.budget.given_back.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const WAIT: Wait = Wait { longest: Duration::from_secs(1), most: 1 };

    fn tenant(name: &str) -> Identity {
        Identity::Tenant(name.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_has_more_than_half_of_what_the_others_leave() {
        let budget = Arc::new(Budget::new(16, WAIT));
        let (acme, rival, third) = (tenant("acme"), tenant("rival"), tenant("third"));
        let first = budget.take(&acme, 6).await.unwrap();
        assert!(budget.take(&acme, 3).await.is_none(), "more than half");
        let rest = budget.take(&acme, 2).await.unwrap();
        assert!(budget.take(&rival, 5).await.is_none(), "more than half of the rest");
        let second = budget.take(&rival, 4).await.unwrap();
        let small = budget.take(&third, 2).await.unwrap();
        assert!(budget.take(&third, 1).await.is_none(), "somebody else may come");
        drop((first, rest, second, small));
        let most = budget.take(&rival, 99).await.unwrap();
        assert_eq!(most.amount, 8);
        drop(most);
        assert!(budget.taken.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_in_time_is_had() {
        let budget = Arc::new(Budget::new(1, WAIT));
        let first = budget.take(&tenant("acme"), 1).await.unwrap();
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(&tenant("rival"), 1).await.is_some() }
        });
        tokio::time::advance(WAIT.longest / 2).await;
        let asked = Instant::now();
        assert!(budget.take(&tenant("third"), 1).await.is_none(), "more wait than may");
        assert_eq!(asked.elapsed(), Duration::ZERO);
        drop(first);
        assert!(waiting.await.unwrap());
    }
}
