//! Counting what a commit has destroyed, by tenant and reason.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::audit::certificate::{Destroyed, Span, TOKEN_LEN, token};
use crate::domain::ids::{JobId, Place, RecordId, TenantId};
use crate::domain::record::Record;
use crate::domain::retention::time_of;
use crate::domain::trigger::Trigger;

/// A record whose rows are being removed.
#[derive(Debug)]
pub(in crate::vault) struct Gone {
    pub(in crate::vault) place: Place,
    pub(in crate::vault) tenant: TenantId,
    pub(in crate::vault) id: RecordId,
    /// What was known of it, unless its row was damaged.
    pub(in crate::vault) record: Option<Record>,
    /// Why, if it was marked; nothing where its time was over.
    pub(in crate::vault) reason: Option<Reason>,
    /// Who received it.
    pub(in crate::vault) jobs: Vec<JobId>,
}

/// Why a record that is marked goes, and since when it was out of use, if that is known.
#[derive(Debug, Clone, Copy)]
pub(in crate::vault) struct Reason {
    pub(in crate::vault) trigger: Trigger,
    pub(in crate::vault) since: Option<DateTime<Utc>>,
}

/// What was destroyed of one tenant for one reason.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) destroyed: Destroyed,
    pub(super) tokens: Vec<[u8; TOKEN_LEN]>,
    pub(super) places: Vec<Place>,
}

/// All of it.
#[derive(Debug, Default)]
pub(in crate::vault) struct Tallies(pub(super) BTreeMap<(TenantId, Trigger), Tally>);

impl Tallies {
    /// Counts a record.
    pub(in crate::vault) fn add(&mut self, gone: Gone) {
        let Gone { place, tenant, id, record, reason, jobs } = gone;
        let over = || Reason { trigger: Trigger::RetentionExpired, since: Some(time_of(place.hour)) };
        let Reason { trigger, since } = reason.unwrap_or_else(over);
        let token = token(&tenant, id);
        let tally = self.0.entry((tenant, trigger)).or_default();
        tally.tokens.push(token);
        tally.places.push(place);
        let Destroyed { records, parts, created, due, disabled, released, unread } = &mut tally.destroyed;
        *records = records.saturating_add(1);
        *due = Some(Span::with(*due, time_of(place.hour)));
        if let Some(since) = since {
            *disabled = Some(Span::with(*disabled, since));
        }
        for job in jobs {
            count(released, job, 1);
        }
        let Some(record) = record else {
            *unread = unread.saturating_add(1);
            return;
        };
        *created = Some(Span::with(*created, record.upload_time));
        for part in &record.parts {
            count(parts, part.category, 1);
        }
    }
}

/// Adds what was destroyed later to what was before.
pub(super) fn merge(into: &mut Destroyed, of: &Destroyed) {
    into.records = into.records.saturating_add(of.records);
    into.unread = into.unread.saturating_add(of.unread);
    for (span, later) in [(&mut into.created, of.created), (&mut into.due, of.due), (&mut into.disabled, of.disabled)] {
        if let Some(later) = later {
            *span = Some(Span::with(Some(Span::with(*span, later.first)), later.last));
        }
    }
    for (category, number) in &of.parts {
        count(&mut into.parts, *category, *number);
    }
    for (job, number) in &of.released {
        count(&mut into.released, *job, *number);
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, of: K, by: u64) {
    let count = counts.entry(of).or_default();
    *count = count.saturating_add(by);
}
