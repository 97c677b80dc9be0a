//! What a training job asks for. It is written once: whoever wants something else makes another job.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::category::Category;
use crate::domain::ids::{Identity, TenantId};
use crate::domain::purpose::Purpose;
use crate::domain::receipt::Jurisdiction;
use crate::domain::retention::later;

/// The longest a job may run.
const MAX_LIFE: TimeDelta = TimeDelta::days(30);

/// How many entries a list has at most.
const MAX_ENTRIES: usize = 100;

/// How many characters a text has at most.
const MAX_CHARS: usize = 128;

/// The specification of a training job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// What the data is used for.
    pub purpose: Purpose,
    /// The categories asked for.
    pub categories: Vec<Category>,
    /// The tenants whose records it may see.
    pub tenants: Vec<TenantId>,
    /// The jurisdictions whose records it may see.
    pub jurisdictions: Vec<Jurisdiction>,
    /// The workloads that may fetch.
    pub workloads: Vec<Identity>,
    /// How many distinct records it may receive.
    pub max_records: u64,
    /// How many bytes of plaintext it may receive, over all epochs.
    pub max_bytes: u64,
    /// From when on it receives nothing.
    pub expire_time: DateTime<Utc>,
    /// The legal entity that trains; matched with the recipients of grants.
    pub legal_entity: String,
    /// Where it trains; matched with the regions of grants.
    pub region: String,
    /// The family of the model.
    pub model_family: String,
    /// The impact assessment it rests on.
    pub assessment_ref: String,
    /// Only records uploaded at or after this time.
    pub uploaded_from: Option<DateTime<Utc>>,
    /// Only records uploaded before this time.
    pub uploaded_before: Option<DateTime<Utc>>,
}

/// A field of a specification that breaks its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// Name of the field.
    pub field: &'static str,
    /// What it must be.
    pub rule: &'static str,
}

impl JobSpec {
    /// Everything that is wrong with it; nothing when a job can be made of it.
    #[must_use]
    pub fn validate(&self, now: DateTime<Utc>) -> Vec<Violation> {
        let rules = [
            ("purpose", "must be a training purpose", self.purpose.is_training()),
            ("categories", "must be 1 to 100 without repetition", is_list(&self.categories)),
            ("categories", "must not name ATTRIBUTES but its fields", self.categories.iter().all(|it| it.is_grantable())),
            ("tenants", "must be 1 to 100 without repetition", is_list(&self.tenants)),
            ("jurisdictions", "must be 1 to 100 without repetition", is_list(&self.jurisdictions)),
            ("workloads", "must be 1 to 100 without repetition", is_list(&self.workloads)),
            ("workloads", "must be workloads", self.workloads.iter().all(|it| matches!(it, Identity::Workload(_)))),
            ("max_records", "must be at least 1", self.max_records > 0),
            ("max_bytes", "must be at least 1", self.max_bytes > 0),
            ("expire_time", "must be in the future", now < self.expire_time),
            ("expire_time", "must be within 30 days", self.expire_time <= later(now, MAX_LIFE)),
            ("legal_entity", "must be 1 to 128 characters", is_name(&self.legal_entity)),
            ("region", "must be 1 to 128 characters", is_name(&self.region)),
            ("model_family", "must be at most 128 characters", is_text(&self.model_family)),
            ("assessment_ref", "must be at most 128 characters", is_text(&self.assessment_ref)),
            ("uploaded_before", "must be after uploaded_from", self.has_window()),
        ];
        rules.into_iter().filter(|(_, _, holds)| !holds).map(|(field, rule, _)| Violation { field, rule }).collect()
    }

    /// Whether a record uploaded at `time` is asked for.
    #[must_use]
    pub fn accepts_upload_at(&self, time: DateTime<Utc>) -> bool {
        self.uploaded_from.is_none_or(|from| from <= time) && self.uploaded_before.is_none_or(|before| time < before)
    }

    fn has_window(&self) -> bool {
        self.uploaded_from.zip(self.uploaded_before).is_none_or(|(from, before)| from < before)
    }
}

fn is_list<T: PartialEq>(entries: &[T]) -> bool {
    let repeats = |(index, entry)| entries.iter().take(index).any(|earlier| earlier == entry);
    (1..=MAX_ENTRIES).contains(&entries.len()) && !entries.iter().enumerate().any(repeats)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && is_text(text)
}

fn is_text(text: &str) -> bool {
    text.chars().count() <= MAX_CHARS
}
