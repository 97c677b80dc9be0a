//! Budgets that tenants share: so much in all, so much each, and a short wait before it is a no.
//!
//! The wait must be short. What a client sends ahead while nobody reads it fills the windows of its connection, and those who
//! have their share would get nothing over it any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::domain::ids::TenantId;

/// How long a share is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Something that there is so much of.
#[derive(Debug)]
pub(super) struct Budget {
    all: u64,
    each: u64,
    taken: Mutex<HashMap<TenantId, u64>>,
    given_back: Notify,
}

/// A tenant's share; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    tenant: TenantId,
    amount: u64,
}

impl Budget {
    /// A budget of so much in all, of which a tenant has at most `each`.
    pub(super) fn new(all: u64, each: u64) -> Self {
        Self { all, each, taken: Mutex::default(), given_back: Notify::new() }
    }

    /// A share for a tenant, if there is one soon. What is more than a tenant can ever have counts as all that it can.
    pub(super) async fn take(self: &Arc<Self>, tenant: &TenantId, amount: u64) -> Option<Share> {
        let amount = amount.min(self.each);
        let shared = async {
            loop {
                // Listened for before looking, so that nothing given back in between is missed.
                let mut given_back = std::pin::pin!(self.given_back.notified());
                given_back.as_mut().enable();
                if self.try_take(tenant, amount) {
                    return;
                }
                given_back.await;
            }
        };
        timeout(PATIENCE, shared).await.ok()?;
        Some(Share { budget: Arc::clone(self), tenant: tenant.clone(), amount })
    }

    fn try_take(&self, tenant: &TenantId, amount: u64) -> bool {
        let mut taken = self.taken.lock();
        let (all, own) = (taken.values().sum::<u64>(), taken.get(tenant).copied().unwrap_or(0));
        let fits = all.saturating_add(amount) <= self.all && own.saturating_add(amount) <= self.each;
        if fits {
            taken.insert(tenant.clone(), own.saturating_add(amount));
        }
        fits
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.budget.taken.lock();
        let left = taken.get(&self.tenant).copied().unwrap_or(0).saturating_sub(self.amount);
        if left == 0 {
            taken.remove(&self.tenant);
        } else {
            taken.insert(self.tenant.clone(), left);
        }
        drop(taken);
        self.budget.given_back.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_has_more_than_a_share_and_all_no_more_than_there_is() {
        let budget = Arc::new(Budget::new(10, 6));
        let (acme, rival, third) = (tenant("acme"), tenant("rival"), tenant("third"));
        let first = budget.take(&acme, 4).await.unwrap();
        assert!(budget.take(&acme, 3).await.is_none(), "more than its share");
        let second = budget.take(&rival, 99).await.unwrap();
        assert!(budget.take(&third, 1).await.is_none(), "more than there is");
        drop(second);
        let all = budget.take(&rival, 6).await.unwrap();
        drop((first, all));
        assert!(budget.taken.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_in_time_is_had() {
        let budget = Arc::new(Budget::new(1, 1));
        let first = budget.take(&tenant("acme"), 1).await.unwrap();
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(&tenant("rival"), 1).await.is_some() }
        });
        tokio::time::advance(PATIENCE / 2).await;
        drop(first);
        assert!(waiting.await.unwrap());
    }
}
