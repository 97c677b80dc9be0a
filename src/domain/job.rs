//! Training jobs: a specification that never changes, and the four eyes that must approve it.
//!
//! A job says what is asked for and by whom; what it is given, [`crate::domain::policy`] decides record by record.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::ids::{Identity, JobId};
use crate::domain::retention::later;

mod spec;

pub use spec::{JobSpec, Violation};

/// How long an approval waits for the other one.
const APPROVAL_LIFE: TimeDelta = TimeDelta::hours(72);

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Written, not yet submitted.
    Draft,
    /// Submitted, waiting for approvals.
    PendingApproval,
    /// Approved: it may receive data.
    Active,
    /// Stopped by an approver, for good.
    Revoked,
    /// Its time is over.
    Expired,
}

/// In which role a person approves. A job needs one approval of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApproverRole {
    /// Answers for the people whose data it is.
    PrivacyOfficer,
    /// Answers for the model.
    ModelOwner,
}

/// A person's approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Who.
    pub approver: Identity,
    /// In which role.
    pub role: ApproverRole,
    /// When.
    pub time: DateTime<Utc>,
}

/// The end of a job before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Who.
    pub by: Identity,
    /// When.
    pub time: DateTime<Utc>,
    /// Why, in their words.
    pub reason: String,
}

/// A step that a job does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// Only the requester submits.
    #[error("only the requester of the job may do this")]
    NotRequester,
    /// Nobody approves a job of their own.
    #[error("the requester of the job may not approve it")]
    ApproverIsRequester,
    /// The person, or another one in this role, has approved already.
    #[error("this person, or another one in this role, has approved the job already")]
    ApproverDuplicate,
    /// What was approved is not this job's specification.
    #[error("the approved digest is not the one of the job's specification")]
    SpecMismatch,
    /// The job is not in the state that the step starts from.
    #[error("the job is in another state")]
    StateInvalid,
}

/// A training job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What it asks for.
    pub spec: JobSpec,
    /// SHA-256 of the specification in its canonical encoding.
    pub digest: [u8; 32],
    /// Who asks.
    pub requester: Identity,
    /// Since when.
    pub create_time: DateTime<Utc>,
    /// Where it stood after the last step; see [`Job::state_at`].
    pub state: JobState,
    /// Its approvals, oldest first; see [`Job::approvals_at`].
    pub approvals: Vec<Approval>,
    /// Who stopped it, if somebody did.
    pub revocation: Option<Revocation>,
}

impl Job {
    /// Where it stands now: a job that is not revoked expires with its specification.
    #[must_use]
    pub fn state_at(&self, now: DateTime<Utc>) -> JobState {
        if self.state != JobState::Revoked && now >= self.spec.expire_time { JobState::Expired } else { self.state }
    }

    /// The approvals that count now: until the second comes, the first lapses after 72 hours.
    pub fn approvals_at(&self, now: DateTime<Utc>) -> impl Iterator<Item = &Approval> {
        let waits = self.state == JobState::PendingApproval;
        self.approvals.iter().filter(move |approval| !waits || now < later(approval.time, APPROVAL_LIFE))
    }

    /// Hands a draft to its approvers.
    ///
    /// # Errors
    /// [`JobError::NotRequester`] and [`JobError::StateInvalid`]; the job is then as before.
    pub fn submit(&mut self, by: &Identity) -> Result<(), JobError> {
        if *by != self.requester {
            return Err(JobError::NotRequester);
        }
        if self.state != JobState::Draft {
            return Err(JobError::StateInvalid);
        }
        self.state = JobState::PendingApproval;
        Ok(())
    }

    /// Approves the specification with this digest. With one approval of each role the job is active.
    ///
    /// # Errors
    /// Every [`JobError`] but [`JobError::NotRequester`]; the job is then as before.
    pub fn approve(&mut self, by: Identity, role: ApproverRole, digest: [u8; 32], now: DateTime<Utc>) -> Result<(), JobError> {
        let mut approvals: Vec<_> = self.approvals_at(now).cloned().collect();
        if by == self.requester {
            return Err(JobError::ApproverIsRequester);
        }
        if approvals.iter().any(|approval| approval.approver == by) {
            return Err(JobError::ApproverDuplicate);
        }
        if self.state_at(now) != JobState::PendingApproval {
            return Err(JobError::StateInvalid);
        }
        if digest != self.digest {
            return Err(JobError::SpecMismatch);
        }
        if approvals.iter().any(|approval| approval.role == role) {
            return Err(JobError::ApproverDuplicate);
        }
        // Two roles, nobody twice: the second approval is the other role's, by another person.
        if !approvals.is_empty() {
            self.state = JobState::Active;
        }
        approvals.push(Approval { approver: by, role, time: now });
        self.approvals = approvals;
        Ok(())
    }

    /// Stops the job for good; one that is stopped already stays as it is.
    ///
    /// # Errors
    /// [`JobError::StateInvalid`] when it has expired.
    pub fn revoke(&mut self, revocation: Revocation) -> Result<(), JobError> {
        match self.state_at(revocation.time) {
            JobState::Expired => Err(JobError::StateInvalid),
            JobState::Revoked => Ok(()),
            JobState::Draft | JobState::PendingApproval | JobState::Active => {
                self.state = JobState::Revoked;
                self.revocation = Some(revocation);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use super::*;
    use crate::domain::category::Category;
    use crate::domain::purpose::Purpose;
    use ApproverRole::{ModelOwner, PrivacyOfficer};
    use proptest::prelude::*;

    const DIGEST: [u8; 32] = [7; 32];

    fn person(name: &str) -> Identity {
        Identity::Person(name.to_owned())
    }

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::hours(hours)
    }

    fn draft() -> Job {
        let spec = JobSpec {
            purpose: Purpose::TrainFaceMatch,
            categories: vec![Category::FaceImage],
            tenants: vec!["acme".parse().unwrap()],
            jurisdictions: vec!["HK".parse().unwrap()],
            workloads: vec![Identity::Workload("trainer".to_owned())],
            max_records: 1,
            max_bytes: 1,
            expire_time: at(24 * 20),
            legal_entity: "acme labs".to_owned(),
            region: "hk-1".to_owned(),
            model_family: String::new(),
            assessment_ref: String::new(),
            uploaded_from: None,
            uploaded_before: None,
        };
        Job {
            id: JobId(uuid::Uuid::nil()),
            spec,
            digest: DIGEST,
            requester: person("rita"),
            create_time: at(0),
            state: JobState::Draft,
            approvals: vec![],
            revocation: None,
        }
    }

    fn pending() -> Job {
        let mut job = draft();
        job.submit(&person("rita")).unwrap();
        job
    }

    #[test]
    fn two_persons_in_two_roles_make_it_active() {
        let mut job = pending();
        job.approve(person("olga"), PrivacyOfficer, DIGEST, at(0)).unwrap();
        assert_eq!(job.state, JobState::PendingApproval);
        job.approve(person("mo"), ModelOwner, DIGEST, at(71)).unwrap();
        assert_eq!(job.state, JobState::Active);
        assert_eq!(job.approvals_at(at(24 * 19)).count(), 2, "they lapse only while one waits for the other");
        assert_eq!(job.state_at(at(24 * 20)), JobState::Expired);
    }

    #[test]
    fn only_the_requester_submits_and_once() {
        let mut job = draft();
        assert_eq!(job.submit(&person("olga")), Err(JobError::NotRequester));
        assert_eq!(job.state, JobState::Draft);
        job.submit(&person("rita")).unwrap();
        assert_eq!(job.submit(&person("rita")), Err(JobError::StateInvalid));
    }

    #[test]
    fn every_other_approval_is_refused_and_changes_nothing() {
        let mut job = pending();
        job.approve(person("olga"), PrivacyOfficer, DIGEST, at(0)).unwrap();
        let before = job.clone();
        let mut refused = |by, role, digest, now| {
            let error = job.approve(person(by), role, digest, now).unwrap_err();
            assert_eq!(job, before);
            error
        };
        assert_eq!(refused("rita", ModelOwner, DIGEST, at(1)), JobError::ApproverIsRequester);
        assert_eq!(refused("olga", PrivacyOfficer, DIGEST, at(1)), JobError::ApproverDuplicate);
        assert_eq!(refused("olga", ModelOwner, DIGEST, at(1)), JobError::ApproverDuplicate);
        assert_eq!(refused("pia", PrivacyOfficer, DIGEST, at(1)), JobError::ApproverDuplicate);
        assert_eq!(refused("mo", ModelOwner, [8; 32], at(1)), JobError::SpecMismatch);
        assert_eq!(refused("mo", ModelOwner, DIGEST, at(24 * 20)), JobError::StateInvalid);
        assert_eq!(draft().approve(person("mo"), ModelOwner, DIGEST, at(1)), Err(JobError::StateInvalid));
    }

    #[test]
    fn an_approval_lapses_after_72_hours() {
        let mut job = pending();
        job.approve(person("olga"), PrivacyOfficer, DIGEST, at(0)).unwrap();
        assert_eq!(job.approvals_at(at(72)).count(), 0);
        job.approve(person("mo"), ModelOwner, DIGEST, at(72)).unwrap();
        assert_eq!(job.state, JobState::PendingApproval);
        job.approve(person("olga"), PrivacyOfficer, DIGEST, at(73)).unwrap();
        assert_eq!(job.state, JobState::Active);
    }

    #[test]
    fn a_revoked_job_stays_revoked() {
        let job = Job { state: JobState::Revoked, ..draft() };
        assert_eq!(job.state_at(at(24 * 21)), JobState::Revoked);
    }

    proptest! {
        #[test]
        fn active_means_four_eyes(steps in prop::collection::vec((0usize..4, any::<bool>(), any::<bool>(), 0i64..60), 0..8)) {
            let mut job = pending();
            let mut hours = 0;
            for (who, officer, right, wait) in steps {
                hours += wait;
                let (role, digest) = (if officer { PrivacyOfficer } else { ModelOwner }, if right { DIGEST } else { [0; 32] });
                let accepted = job.approve(person(["rita", "olga", "mo", "pia"][who]), role, digest, at(hours)).is_ok();
                prop_assert!(right || !accepted);
            }
            let four_eyes = match job.approvals.as_slice() {
                [a, b] => a.approver != b.approver && a.role != b.role && b.time - a.time < APPROVAL_LIFE,
                _ => false,
            };
            prop_assert_eq!(job.state == JobState::Active, four_eyes);
            prop_assert!(job.approvals.iter().all(|approval| approval.approver != job.requester));
        }
    }

    #[test]
    fn every_rule_of_a_specification_refuses() {
        let refused = |breaks: fn(&mut JobSpec)| {
            let mut spec = draft().spec;
            breaks(&mut spec);
            spec.validate(at(0)).into_iter().map(|violation| violation.field).collect::<Vec<_>>()
        };
        assert!(refused(|_| ()).is_empty());
        assert_eq!(refused(|spec| spec.purpose = Purpose::VerifyIdentity), ["purpose"]);
        assert_eq!(refused(|spec| spec.categories.clear()), ["categories"]);
        assert_eq!(refused(|spec| spec.categories.push(Category::FaceImage)), ["categories"]);
        assert_eq!(refused(|spec| spec.categories.push(Category::Attributes)), ["categories"]);
        assert_eq!(refused(|spec| spec.tenants.clear()), ["tenants"]);
        assert_eq!(refused(|spec| spec.tenants.extend((0..100).map(|it| format!("t{it}").parse().unwrap()))), ["tenants"]);
        assert_eq!(refused(|spec| spec.jurisdictions.clear()), ["jurisdictions"]);
        assert_eq!(refused(|spec| spec.workloads.clear()), ["workloads"]);
        assert_eq!(refused(|spec| spec.workloads.push(person("olga"))), ["workloads"]);
        assert_eq!(refused(|spec| spec.max_records = 0), ["max_records"]);
        assert_eq!(refused(|spec| spec.max_bytes = 0), ["max_bytes"]);
        assert_eq!(refused(|spec| spec.expire_time = at(0)), ["expire_time"]);
        assert_eq!(refused(|spec| spec.expire_time = at(24 * 30 + 1)), ["expire_time"]);
        assert_eq!(refused(|spec| spec.legal_entity.clear()), ["legal_entity"]);
        assert_eq!(refused(|spec| spec.region = "x".repeat(129)), ["region"]);
        assert_eq!(refused(|spec| spec.model_family = "x".repeat(129)), ["model_family"]);
        assert_eq!(refused(|spec| spec.assessment_ref = "x".repeat(129)), ["assessment_ref"]);
        let empty = |spec: &mut JobSpec| (spec.uploaded_from, spec.uploaded_before) = (Some(at(0)), Some(at(0)));
        assert_eq!(refused(empty), ["uploaded_before"]);
    }
}
