//! A consent: an immutable receipt and the list of what happened to it since, to which events are only ever added.

use chrono::{DateTime, Utc};

use crate::domain::category::CategorySet;
use crate::domain::ids::{ConsentId, TenantId};
use crate::domain::purpose::{Purpose, PurposeSet};
use crate::domain::receipt::{Grant, GrantDecision, Receipt};
use crate::domain::retention::Now;
use crate::domain::tenant::Terms;

/// What happened to a consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsentEvent {
    /// When.
    pub time: DateTime<Utc>,
    /// What.
    pub kind: ConsentEventKind,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentEventKind {
    /// All of it was withdrawn.
    WithdrawnWhole,
    /// It was withdrawn for these purposes.
    Withdrawn(PurposeSet),
}

/// Whether a consent allows anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentState {
    /// It may.
    Active,
    /// No longer: the person withdrew it, or the last training purpose of it.
    Withdrawn,
    /// No longer: its time is over.
    Expired,
    /// It does not: what it rests on is void.
    Invalidated,
}

/// A consent as the vault keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Whose it is.
    pub tenant: TenantId,
    /// What the person decided.
    pub receipt: Receipt,
    /// SHA-256 of the receipt as it was sent.
    pub receipt_sha256: [u8; 32],
    /// When the vault first saw it.
    pub registered_at: DateTime<Utc>,
    /// What happened since, oldest first.
    pub events: Vec<ConsentEvent>,
}

impl Consent {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> ConsentId {
        self.receipt.id
    }

    /// The purposes that the receipt says yes to, whatever happened since and whether or not the vault may use it.
    #[must_use]
    pub fn granted(&self) -> PurposeSet {
        self.receipt.grants.iter().filter(|grant| grant.decision == GrantDecision::Given).map(|grant| grant.purpose).collect()
    }

    /// The purposes withdrawn since: those named, and all granted ones once it was withdrawn whole.
    #[must_use]
    pub fn withdrawn(&self) -> PurposeSet {
        self.events.iter().fold(PurposeSet::default(), |withdrawn, event| {
            withdrawn.union(match event.kind {
                ConsentEventKind::WithdrawnWhole => self.granted(),
                ConsentEventKind::Withdrawn(purposes) => purposes,
            })
        })
    }

    /// Its state, under its tenant's terms. What is both withdrawn and expired is withdrawn; what is final comes first.
    #[must_use]
    pub fn state(&self, terms: &Terms, now: Now) -> ConsentState {
        if self.is_withdrawn() {
            ConsentState::Withdrawn
        } else if now.may_have_passed(self.receipt.expires_at) {
            ConsentState::Expired
        } else if terms.hold(&self.receipt).is_err() {
            ConsentState::Invalidated
        } else {
            ConsentState::Active
        }
    }

    /// Whether it was withdrawn whole, or a training purpose was and no usable one is left.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        let withdrawn = self.withdrawn();
        self.events.iter().any(|event| event.kind == ConsentEventKind::WithdrawnWhole)
            || (!self.keeps_alive() && self.granted().iter().any(|it| it.is_training() && withdrawn.contains(it)))
    }

    /// Whether data may live under it: some training purpose is granted in a way the vault can use, and not withdrawn.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        !self.given(Grant::is_usable).is_empty()
    }

    /// The categories given for any training purpose that is not withdrawn, by grants that `counts` accepts.
    pub(super) fn given(&self, counts: fn(&Grant) -> bool) -> CategorySet {
        let withdrawn = self.withdrawn();
        let purposes = Purpose::ALL.into_iter().filter(|purpose| purpose.is_training() && !withdrawn.contains(*purpose));
        purposes.fold(CategorySet::default(), |given, purpose| given.union(self.receipt.given(purpose, counts)))
    }
}
