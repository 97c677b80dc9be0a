//! The rules of release and admission, each held by a property over arbitrary jobs, records and consents.
//!
//! The oracles here are written from the rules and share no code with what they judge.

#![expect(clippy::arithmetic_side_effects, clippy::expect_used, clippy::unwrap_used, reason = "what panics here fails the test")]

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::sample::Index;

use idvault::domain::category::{Category, CategorySet};
use idvault::domain::consent::{Consent, ConsentEvent, ConsentEventKind, ConsentState};
use idvault::domain::job::{Job, JobState};
use idvault::domain::policy::{Offer, RULE_SET_VERSION, Reason, Refusal, admit, admit_receipt, decide};
use idvault::domain::purpose::{Purpose, PurposeSet};
use idvault::domain::receipt::{ConsentType, Grant, GrantDecision, LawfulBasis, Receipt, SubjectClass};
use idvault::domain::record::RecordState;
use idvault::domain::retention::Now;
use idvault::domain::tenant::{KeyRevocation, NoticeVersion, Terms};

#[path = "policy/cases.rs"]
mod cases;
#[path = "policy/oracle.rs"]
mod oracle;

use cases::{
    Case, ENTITIES, REGIONS, call, consents, days, eligible_cases, grants, jurisdiction, noon, nows, set, tenant, terms,
    usable_grant,
};
use oracle::{is_releasable, may_release, rests};

/// What is released: the files by category, and the fields.
fn released(case: &Case) -> Result<CategorySet, Vec<Reason>> {
    let permit =
        decide(&case.job, &case.record, &case.consent, &case.terms, case.now).map_err(|denial| denial.reasons().to_vec())?;
    assert_eq!((permit.job(), permit.place()), (case.job.id, case.record.place));
    let mut all = CategorySet::default();
    for part in permit.into_parts() {
        let stored = case.record.parts.iter().find(|stored| stored.number == part.part()).unwrap();
        assert_eq!(part.place(), case.record.place);
        assert_eq!(stored.category == Category::Attributes, !part.fields().is_empty());
        let categories = if stored.category == Category::Attributes { part.fields() } else { set([stored.category]) };
        all = all.union(categories);
    }
    Ok(all)
}

/// Checks that a change takes away what was released, for this reason.
fn denied_after(mut case: Case, reason: Reason, change: impl FnOnce(&mut Case)) {
    released(&case).expect("eligible before");
    change(&mut case);
    assert_eq!(released(&case), Err(vec![reason]));
}

/// Terms under which a receipt counts for nothing, for every reason.
fn all_void(receipt: &Receipt) -> Terms {
    let time = receipt.issued_at - TimeDelta::seconds(1);
    let notice = NoticeVersion {
        id: receipt.notice.id.clone(),
        version: receipt.notice.version.clone(),
        sha256: receipt.notice.sha256,
        invalidating: false,
        registered_at: noon(),
    };
    let later = NoticeVersion { version: "3".to_owned(), invalidating: true, ..notice.clone() };
    Terms { revocations: vec![KeyRevocation { kid: receipt.kid.clone(), time }], notices: vec![notice, later], is_shredded: true }
}

fn withdraw(consent: &mut Consent, purposes: impl IntoIterator<Item = Purpose>) {
    consent.events.push(ConsentEvent { time: noon(), kind: ConsentEventKind::Withdrawn(purposes.into_iter().collect()) });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn rule_1_only_what_the_rules_allow_is_released(case in prop_oneof![cases::cases(), eligible_cases()]) {
        let allowed = set(case.record.categories().iter().filter(|category| may_release(&case, *category)));
        let expected = Some(allowed).filter(|allowed| is_releasable(&case) && !allowed.is_empty());
        prop_assert_eq!(released(&case).ok(), expected);
    }

    #[test]
    fn rule_1_a_denial_says_why_and_by_which_rules(case in cases::cases()) {
        if let Err(denial) = decide(&case.job, &case.record, &case.consent, &case.terms, case.now) {
            prop_assert_eq!(denial.rule_set(), RULE_SET_VERSION);
            prop_assert!(!denial.reasons().is_empty());
            prop_assert!(denial.reasons().is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn rule_5_a_receipt_whose_ground_is_gone_is_void(case in eligible_cases()) {
        denied_after(case.clone(), Reason::ConsentVoid, |case| case.terms.revocations = all_void(&case.consent.receipt).revocations);
        denied_after(case.clone(), Reason::ConsentVoid, |case| case.terms.notices = all_void(&case.consent.receipt).notices);
        denied_after(case, Reason::ConsentVoid, |case| {
            case.terms.notices = all_void(&case.consent.receipt).notices;
            case.terms.notices.remove(0);
        });
    }

    #[test]
    fn rule_1_absence_is_refusal(case in eligible_cases()) {
        denied_after(case.clone(), Reason::PurposeNotGranted, |case| case.consent.receipt.grants.clear());
        denied_after(case.clone(), Reason::PurposeNotGranted, |case| case.job.spec.purpose = Purpose::VerifyIdentity);
        denied_after(case.clone(), Reason::CategoryNotGranted, |case| case.job.spec.categories.clear());
        denied_after(case, Reason::CategoryNotGranted, |case| {
            case.record.parts.clear();
            case.record.fields = CategorySet::default();
        });
    }

    #[test]
    fn rule_2_consent_is_the_records_own_and_not_later_than_collection(case in eligible_cases()) {
        denied_after(case.clone(), Reason::ConsentMismatch, |case| case.consent.receipt_sha256 = [8; 32]);
        denied_after(case.clone(), Reason::ConsentMismatch, |case| case.record.consent.0 = uuid::Uuid::nil());
        denied_after(case.clone(), Reason::ConsentMismatch, |case| case.consent.tenant = tenant("stranger"));
        denied_after(case.clone(), Reason::ConsentMismatch, |case| case.consent.receipt.issuer = tenant("stranger"));
        denied_after(case.clone(), Reason::ConsentNotApplicable, |case| {
            case.record.collect_time = case.consent.receipt.event.time - TimeDelta::nanoseconds(1);
        });
        denied_after(case.clone(), Reason::ConsentNotApplicable, |case| {
            case.consent.receipt.not_before = case.now.lo + TimeDelta::seconds(301);
        });
        denied_after(case, Reason::ConsentNotApplicable, |case| case.consent.receipt.bound_call_id = Some(call("call-other")));
    }

    #[test]
    fn rule_3_the_record_is_within_the_jobs_spec(case in eligible_cases()) {
        let upload = case.record.upload_time;
        let mut from_then = case.clone();
        from_then.job.spec.uploaded_from = Some(upload);
        prop_assert_eq!(released(&from_then), released(&case));
        denied_after(case.clone(), Reason::TenantNotAsked, |case| case.job.spec.tenants = vec![tenant("other")]);
        denied_after(case.clone(), Reason::JurisdictionNotAsked, |case| case.job.spec.jurisdictions = vec![jurisdiction("TW")]);
        denied_after(case.clone(), Reason::UploadTimeNotAsked, |case| {
            case.job.spec.uploaded_from = Some(upload + TimeDelta::nanoseconds(1));
        });
        denied_after(case, Reason::UploadTimeNotAsked, |case| case.job.spec.uploaded_before = Some(upload));
    }

    #[test]
    fn rule_4_nothing_is_released_without_an_explicit_act_of_its_own(case in eligible_cases(), which in 0..4) {
        denied_after(case, Reason::PurposeNotGranted, |case| {
            for grant in &mut case.consent.receipt.grants {
                match which {
                    0 => grant.consent_type = ConsentType::Expressed,
                    1 => grant.consent_type = ConsentType::Deemed,
                    2 => grant.ui_element_id = None,
                    _ => grant.lawful_basis = LawfulBasis::LegitimateInterest,
                }
            }
        });
    }

    #[test]
    fn rule_6_no_minor_without_a_guardian(case in eligible_cases()) {
        denied_after(case, Reason::GuardianRequired, |case| {
            case.consent.receipt.subject_class = SubjectClass::Minor;
            case.consent.receipt.guardian_ref = None;
        });
    }

    #[test]
    fn rule_7_the_earliest_end_of_receipt_record_and_job_counts(case in eligible_cases(), which in 0..3, later in 0i64..1_000_000) {
        let end = noon() + days(2);
        let mut case = case;
        let reason = match which {
            0 => { case.consent.receipt.expires_at = end; Reason::ConsentExpired }
            1 => { case.record.expire_time = end; Reason::RecordGone }
            _ => { case.job.spec.expire_time = end; Reason::JobNotActive }
        };
        case.now.hi = end - TimeDelta::nanoseconds(1);
        prop_assert!(released(&case).is_ok());
        case.now.hi = end + TimeDelta::seconds(later);
        prop_assert!(released(&case).unwrap_err().contains(&reason));
        case.now.lo = case.now.hi;
        prop_assert!(released(&case).unwrap_err().contains(&reason));
    }

    #[test]
    fn rule_8_recipient_and_region_match_exactly_in_one_grant(case in eligible_cases(), part in prop::bool::ANY) {
        let spec = case.job.spec.clone();
        denied_after(case.clone(), Reason::DestinationNotGranted, |case| {
            case.job.spec.legal_entity = spec.legal_entity.to_uppercase();
        });
        denied_after(case.clone(), Reason::DestinationNotGranted, |case| case.job.spec.region = format!("{} ", spec.region));
        // One grant names the recipient, another one the region: neither matches.
        denied_after(case, Reason::DestinationNotGranted, |case| {
            let other = if part { (ENTITIES[0], REGIONS[0]) } else { (ENTITIES[1], REGIONS[1]) };
            (case.job.spec.legal_entity, case.job.spec.region) = (other.0.to_owned(), other.1.to_owned());
            let all = set(spec.categories.iter().copied());
            let (mut here, mut there) = (usable_grant(&case.job.spec, all), usable_grant(&case.job.spec, all));
            here.regions = vec!["elsewhere".to_owned()];
            there.recipients = vec!["somebody else".to_owned()];
            case.consent.receipt.grants = vec![here, there];
        });
    }

    #[test]
    fn rule_9_a_withdrawn_purpose_stops_and_no_other_does(case in eligible_cases()) {
        let before = released(&case);
        let purpose = case.job.spec.purpose;
        denied_after(case.clone(), Reason::ConsentWithdrawn, |case| withdraw(&mut case.consent, [purpose]));
        denied_after(case.clone(), Reason::ConsentWithdrawn, |case| {
            case.consent.events.push(ConsentEvent { time: noon(), kind: ConsentEventKind::WithdrawnWhole });
        });
        let mut case = case;
        withdraw(&mut case.consent, Purpose::ALL.into_iter().filter(|other| *other != purpose));
        prop_assert_eq!(released(&case), before);
        prop_assert!(case.consent.keeps_alive());
    }

    #[test]
    fn rule_9_withdrawing_the_last_training_purpose_ends_the_consent(consent in consents(), now in nows()) {
        let mut consent = consent;
        consent.events.clear();
        let alive = consent.keeps_alive();
        for purpose in Purpose::ALL.into_iter().filter(|purpose| purpose.is_training()) {
            withdraw(&mut consent, [purpose]);
        }
        prop_assert!(!consent.keeps_alive());
        prop_assert_eq!(consent.is_withdrawn(), consent.granted().has_training());
        prop_assert!(!alive || consent.state(&Terms::default(), now) == ConsentState::Withdrawn);
        withdraw(&mut consent, [Purpose::VerifyIdentity]);
        prop_assert!(!consent.keeps_alive());
    }

    #[test]
    fn rule_9_verify_identity_keeps_nothing_alive(consent in consents()) {
        let mut consent = consent;
        for grant in &mut consent.receipt.grants {
            grant.purpose = Purpose::VerifyIdentity;
        }
        prop_assert!(!consent.keeps_alive());
    }

    #[test]
    fn rule_10_a_refusal_beats_every_grant(case in eligible_cases(), place in any::<Index>(), refusal in grants()) {
        let before = released(&case).unwrap();
        let mut case = case;
        let refusal = Grant { purpose: case.job.spec.purpose, decision: GrantDecision::Refused, ..refusal };
        let at = place.index(case.consent.receipt.grants.len() + 1);
        case.consent.receipt.grants.insert(at, refusal.clone());
        let left = before.without(refusal.categories);
        prop_assert_eq!(released(&case).ok(), Some(left).filter(|left| !left.is_empty()));
    }

    #[test]
    fn rule_10_what_changed_since_counts(case in eligible_cases(), state in 0usize..5) {
        let other = [JobState::Draft, JobState::PendingApproval, JobState::Revoked, JobState::Expired];
        match other.get(state) {
            Some(state) => denied_after(case, Reason::JobNotActive, |case| case.job.state = *state),
            None => denied_after(case, Reason::RecordGone, |case| case.record.state = RecordState::Shredding),
        }
    }
}

/// Whether some training purpose, not withdrawn, grants `category` in this way.
fn covers(consent: &Consent, category: Category, explicit: bool) -> bool {
    Purpose::ALL.into_iter().filter(|purpose| purpose.is_training() && !consent.withdrawn().contains(*purpose)).any(|purpose| {
        let grants = consent.receipt.grants.iter().filter(|it| it.purpose == purpose && it.categories.contains(category));
        let (given, refused): (Vec<_>, Vec<_>) = grants.partition(|grant| grant.decision == GrantDecision::Given);
        let counts = |grant: &&Grant| {
            (!explicit || (grant.consent_type == ConsentType::Explicit && grant.ui_element_id.is_some()))
                && grant.lawful_basis == LawfulBasis::Consent
                && !grant.recipients.is_empty()
                && !grant.regions.is_empty()
        };
        refused.is_empty() && given.iter().any(counts)
    })
}

/// The job that would receive `category` under `consent`, if there is one.
fn job_for(job: &Job, consent: &Consent, category: Category) -> Vec<Job> {
    let grants = consent.receipt.grants.iter().filter(|grant| grant.categories.contains(category));
    let with = |grant: &Grant| {
        let mut job = job.clone();
        job.spec.purpose = grant.purpose;
        job.spec.categories = vec![category];
        job.spec.legal_entity = grant.recipients.first().cloned().unwrap_or_default();
        job.spec.region = grant.regions.first().cloned().unwrap_or_default();
        job
    };
    grants.map(with).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn admission_takes_in_nothing_that_may_not_be_used(case in prop_oneof![cases::cases(), eligible_cases()]) {
        let Case { job, record, consent, terms, now } = case;
        let offer = Offer { call_id: &record.call_id, collect_time: record.collect_time, categories: record.categories() };
        let held: Vec<_> = offer.categories.iter().collect();
        let usable = held.iter().all(|category| covers(&consent, *category, true)) && consent.keeps_alive();
        let admitted = admit(&offer, &consent, &terms, now);
        prop_assert!(admitted.is_err() || usable);
        match admitted {
            Ok(()) => {
                // Some job receives each of its categories at once.
                let mut record = record.clone();
                (record.consent, record.receipt_sha256, record.tenant) = (consent.id(), consent.receipt_sha256, consent.tenant.clone());
                (record.upload_time, record.expire_time, record.state) = (now.lo, consent.receipt.expires_at, RecordState::Live);
                let mut consent = consent.clone();
                consent.receipt.issuer = consent.tenant.clone();
                let mut job = job;
                (job.state, job.spec.expire_time) = (JobState::Active, consent.receipt.expires_at);
                (job.spec.uploaded_from, job.spec.uploaded_before) = (None, None);
                (job.spec.tenants, job.spec.jurisdictions) = (vec![consent.tenant.clone()], vec![consent.receipt.jurisdiction.clone()]);
                for category in held {
                    let jobs = job_for(&job, &consent, category);
                    prop_assert!(jobs.iter().any(|job| decide(job, &record, &consent, &terms, now).is_ok()), "{category:?}");
                }
            }
            Err(Refusal::CategoryNotCovered(categories)) => {
                let uncovered = set(held.into_iter().filter(|category| !covers(&consent, *category, false)));
                prop_assert_eq!(categories, uncovered);
            }
            Err(Refusal::ExplicitRequired(categories)) => {
                let implicit = set(held.iter().copied().filter(|category| !covers(&consent, *category, true)));
                prop_assert_eq!(categories, implicit);
                prop_assert!(held.iter().all(|category| covers(&consent, *category, false)));
            }
            Err(Refusal::PurposeNotGranted) => {
                prop_assert!(Category::ALL.into_iter().all(|category| !covers(&consent, category, false)));
            }
            Err(_) => {}
        }
    }

    #[test]
    fn a_receipt_is_held_against_both_ends_of_now_and_what_it_rests_on(consent in consents(), terms in terms(), now in nows()) {
        let receipt = &consent.receipt;
        let latest = receipt.issued_at.max(receipt.not_before).max(receipt.event.time);
        let expected = if latest > now.lo + TimeDelta::seconds(300) {
            Err(Refusal::NotYetValid)
        } else if receipt.expires_at <= now.hi {
            Err(Refusal::Expired)
        } else {
            Ok(())
        };
        let void = [Refusal::KeyRevoked, Refusal::NoticeUnknown, Refusal::NoticeReplaced, Refusal::TenantShredded];
        match admit_receipt(receipt, &terms, now) {
            Err(refusal) if expected.is_ok() => prop_assert!(void.contains(&refusal) && !rests(receipt, &terms)),
            admitted => prop_assert_eq!((admitted, expected.is_err() || rests(receipt, &terms)), (expected, true)),
        }
        let expired = receipt.expires_at <= now.hi;
        let valid = if rests(receipt, &terms) { ConsentState::Active } else { ConsentState::Invalidated };
        let state = if expired { ConsentState::Expired } else { valid };
        prop_assert_eq!(consent.state(&terms, now), if consent.is_withdrawn() { ConsentState::Withdrawn } else { state });
    }

    /// Everything is wrong at first and put right one by one: each refusal hides those after it.
    #[test]
    fn refusals_come_in_their_order(case in eligible_cases()) {
        let Case { job, record, consent: good, .. } = case;
        let mut terms = Terms::default();
        let now = Now { lo: noon(), hi: noon() };
        let (held, far) = (record.categories(), noon() + days(9));
        let mut consent = good.clone();
        let receipt = &mut consent.receipt;
        (receipt.not_before, receipt.expires_at, receipt.event.time) = (far, noon(), noon() + TimeDelta::seconds(300));
        (receipt.subject_class, receipt.guardian_ref) = (SubjectClass::Minor, None);
        (receipt.bound_call_id, receipt.grants) = (Some(call("call-other")), vec![]);
        consent.events.push(ConsentEvent { time: noon(), kind: ConsentEventKind::WithdrawnWhole });
        let mut collect_time = far;
        macro_rules! refused {
            ($refusal:expr) => {
                let offer = Offer { call_id: &record.call_id, collect_time, categories: held };
                prop_assert_eq!(admit(&offer, &consent, &terms, now), $refusal);
            };
        }
        refused!(Err(Refusal::NotYetValid));
        consent.receipt.not_before = noon();
        refused!(Err(Refusal::Expired));
        consent.receipt.expires_at = far;
        terms = all_void(&consent.receipt);
        refused!(Err(Refusal::TenantShredded));
        terms.is_shredded = false;
        refused!(Err(Refusal::KeyRevoked));
        terms.revocations[0].time = consent.receipt.issued_at;
        refused!(Err(Refusal::NoticeReplaced));
        terms.notices[0].sha256 = [9; 32];
        refused!(Err(Refusal::NoticeUnknown));
        terms.notices.clear();
        refused!(Err(Refusal::Withdrawn));
        consent.events.clear();
        refused!(Err(Refusal::GuardianRequired));
        consent.receipt.guardian_ref = Some("guardian-1".to_owned());
        refused!(Err(Refusal::BindingMismatch));
        consent.receipt.bound_call_id = None;
        refused!(Err(Refusal::CollectionInFuture));
        collect_time = noon();
        refused!(Err(Refusal::AfterCollection));
        consent.receipt.event.time = noon();
        refused!(Err(Refusal::PurposeNotGranted));
        let mut grant = usable_grant(&job.spec, CategorySet::default());
        grant.categories = set(Category::ALL).without(held);
        grant.consent_type = ConsentType::Expressed;
        consent.receipt.grants = vec![grant.clone()];
        if !grant.categories.intersection(set(Category::ALL.into_iter().filter(|it| it.is_grantable()))).is_empty() {
            refused!(Err(Refusal::CategoryNotCovered(held)));
        }
        consent.receipt.grants = vec![Grant { categories: held, ..grant }];
        refused!(Err(Refusal::ExplicitRequired(held)));
        consent.receipt.grants = vec![usable_grant(&job.spec, held)];
        refused!(Ok(()));
    }
}

#[test]
fn withdrawn_names_what_was_granted_when_all_is_withdrawn() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut consent = proptest::strategy::ValueTree::current(&eligible_cases().new_tree(&mut runner).unwrap()).consent;
    assert_eq!(consent.withdrawn(), PurposeSet::default());
    consent.events.push(ConsentEvent { time: noon(), kind: ConsentEventKind::WithdrawnWhole });
    assert_eq!(consent.withdrawn(), consent.granted());
    assert!(!consent.granted().is_empty());
}
