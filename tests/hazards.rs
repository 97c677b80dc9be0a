//! Hazards that a hostile reading came up with, each with what must happen instead.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failure fails the test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod scene;

use std::path::Path;
use std::sync::Arc;

use chrono::TimeDelta;
use idvault::domain::policy::Refusal;
use idvault::domain::purpose::PurposeSet;
use idvault::vault::error::Error;
use idvault::vault::ingest::{ConsentSource, Upload};

use scene::{Fetched, Scene, tenant};

#[test]
fn a_shred_under_a_wall_set_forward_is_a_shred() {
    let scene = Scene::new();
    let (record, job) = (scene.record(), scene.job());
    scene.clock.set_wall(TimeDelta::days(40));
    scene.vault().shred_record(&tenant(), record.id).unwrap();
    scene.clock.set_wall(TimeDelta::days(-40));
    assert!(matches!(scene.fetch(job), Err(Error::SnapshotDepleted)));
}

#[test]
fn a_large_list_is_depleted_when_less_than_half_of_it_is_left() {
    let scene = Scene::new();
    // A day apart: 40, 501 and 560 of 1,101.
    let mut last = Vec::new();
    for count in [40, 501, 560] {
        last = (0..count).map(|_| scene.record()).collect();
        scene.clock.pass(TimeDelta::days(1));
    }
    let job = scene.job();
    let served = |gone| Fetched { served: 1101 - gone, gone, ..Fetched::default() };
    scene.clock.pass(TimeDelta::hours(660));
    assert_eq!(scene.fetch(job).unwrap(), served(40), "a sample says so");
    scene.clock.pass(TimeDelta::days(1));
    assert_eq!(scene.fetch(job).unwrap(), served(541), "a sample cannot say so");
    for record in &last[..10] {
        scene.vault().shred_record(&tenant(), record.id).unwrap();
    }
    assert!(matches!(scene.fetch(job), Err(Error::SnapshotDepleted)));
}

#[test]
fn one_request_sent_many_times_at_once_makes_one_record() {
    let scene = Scene::new();
    for _ in 0..40 {
        let header = scene.upload().header;
        let attempts: Vec<_> = (0..4)
            .map(|_| {
                let (vault, upload) = (Arc::clone(scene.vault()), Upload { header: header.clone(), ..scene.upload() });
                std::thread::spawn(move || vault.create_record(upload))
            })
            .collect();
        let mut ids: Vec<_> = attempts.into_iter().map(|attempt| attempt.join().unwrap().unwrap().id).collect();
        ids.dedup();
        assert_eq!(ids.len(), 1);
    }
}

#[test]
fn time_that_jumps_before_a_tick_refuses_nobody() {
    let scene = Scene::new();
    scene.clock.pass(TimeDelta::hours(4));
    scene.record();
    scene.clock.pass(TimeDelta::days(120));
    scene.vault().register_consent(&tenant(), scene.receipt()).unwrap();
}

#[test]
fn a_consent_withdrawn_years_ago_does_not_come_back() {
    let scene = Scene::new();
    let receipt = scene.receipt();
    let consent = scene.vault().register_consent(&tenant(), receipt.clone()).unwrap().consent;
    scene.vault().withdraw_consent(&tenant(), consent.id(), PurposeSet::default()).unwrap();
    for _ in 0..28 {
        scene.clock.pass(TimeDelta::days(30));
        scene.vault().tick().unwrap();
    }
    assert!(matches!(scene.vault().consent(&tenant(), consent.id()), Err(Error::NotFound)), "the row must be forgotten by now");
    let mut upload = scene.upload();
    upload.header.consent = ConsentSource::Receipt(receipt);
    assert!(matches!(scene.vault().create_record(upload), Err(Error::Refused(Refusal::Withdrawn))));
}

#[test]
fn a_lost_volume_costs_its_parts_and_not_the_vault() {
    let mut scene = Scene::new();
    let (record, job) = (scene.record(), scene.job());
    scene.reopen(|data| std::fs::remove_file(data.join(format!("volumes/{}/1.vol", record.place.hour))).unwrap()).unwrap();
    assert_eq!(scene.fetch(job).unwrap(), Fetched { damaged: 1, ..Fetched::default() });
    scene.record();
}

#[test]
fn a_damaged_row_costs_its_record_and_not_the_vault() {
    for table in [b'R', b'P', b'C'] {
        let mut scene = Scene::new();
        let (first, second) = (scene.record(), scene.record());
        let job = scene.job();
        scene.reopen(|data| flip_a_bit(&data.join("ledger"), table)).unwrap();
        assert_eq!(scene.fetch(job).unwrap(), Fetched { served: 1, damaged: 1, gone: 0 });
        scene.snapshot(job.0).unwrap();
        let withdrawn =
            [first, second].map(|record| scene.vault().withdraw_consent(&tenant(), record.consent, PurposeSet::default()));
        assert!(withdrawn.iter().any(Result::is_ok), "the record that is whole can be withdrawn");
        scene.clock.pass(TimeDelta::days(31));
        scene.vault().tick().unwrap();
        assert_eq!(std::fs::read_dir(scene.data().join("volumes")).unwrap().count(), 0, "what is damaged expires like the rest");
        scene.reopen(|_| ()).unwrap();
    }
}

#[test]
fn making_a_vault_that_was_cut_short_is_begun_again() {
    for left in ["unfinished", "unfinished.new", "lock"] {
        let dir = tempfile::tempdir().unwrap();
        let mut scene = Scene::new();
        scene
            .reopen(|data| {
                std::fs::rename(data, dir.path().join("away")).unwrap();
                std::fs::create_dir(data).unwrap();
                std::fs::write(data.join(left), b"").unwrap();
            })
            .unwrap();
        assert!(scene.vault().tenant(&tenant()).is_err(), "a new vault knows nobody");
    }
}

fn flip_a_bit(ledger: &Path, table: u8) {
    use idvault::store::ledger::journaled::JournaledLedger;
    use idvault::store::ledger::{Ledger, Transaction};
    let ledger = JournaledLedger::open(ledger).unwrap();
    let row = ledger.scan(&[table]).next().unwrap().unwrap();
    let mut value = row.value;
    let Some(last) = value.last_mut() else { panic!("a row is empty") };
    *last ^= 1;
    let mut transaction = Transaction::default();
    transaction.put(row.key, value);
    let ticket = ledger.apply(transaction).unwrap();
    ledger.sync(ticket).unwrap();
}
