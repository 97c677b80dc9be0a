//! A backup of last week, put back.

use std::fs;
use std::path::Path;

use chrono::TimeDelta;
use idvault::domain::ids::{JobId, SnapshotId};
use idvault::domain::job::JobState;
use idvault::domain::purpose::{Purpose, PurposeSet};
use idvault::domain::record::Record;
use idvault::forensic::{Archive, Attack};
use idvault::vault::error::Error;
use idvault::vault::restore::{RestoreError, complete};

use crate::scene::{Fetched, Scene, tenant, vault_id};
use crate::{backed_up, put_back};

/// Lets time pass, and the vault see it.
fn pass_days(scene: &Scene, days: i64) {
    for _ in 0..days * 4 {
        scene.clock.pass(TimeDelta::hours(6));
        scene.vault().tick().unwrap();
    }
}

fn is_gone(scene: &Scene, record: &Record) -> bool {
    matches!(scene.vault().record(&tenant(), record.id), Err(Error::RecordGone))
}

fn assert_releases_nothing(scene: &Scene, job: (JobId, SnapshotId)) {
    assert!(scene.vault().is_restored());
    assert!(matches!(scene.fetch(job), Err(Error::Restored)));
    assert!(matches!(scene.snapshot(job.0), Err(Error::Restored)));
    assert!(matches!(scene.try_job(), Err(Error::Restored)));
    assert!(matches!(scene.vault().snapshot(job.0, job.1), Err(Error::NotFound)));
    let job = scene.vault().job(job.0).unwrap();
    assert_eq!((job.state, job.revocation.unwrap().by.to_string()), (JobState::Revoked, "workload/idvault".to_owned()));
}

#[test]
fn last_weeks_backup_resurrects_nothing_and_releases_nothing_until_completed() {
    let mut scene = Scene::new();
    let expired = scene.record();
    pass_days(&scene, 25);
    let [kept, shredded, withdrawn, narrowed] = std::array::from_fn(|_| scene.record());
    let erased = scene.vault().create_record(scene.upload_under(scene.receipt_of("erased"))).unwrap();
    let job = scene.job();
    assert_eq!(scene.fetch(job).unwrap().served, 6);
    let backup = backed_up(&scene);
    let mut archive = Archive::default();
    archive.take(&scene.data()).unwrap();

    scene.vault().shred_record(&tenant(), shredded.id).unwrap();
    scene.vault().withdraw_consent(&tenant(), withdrawn.consent, PurposeSet::default()).unwrap();
    let face_match = || std::iter::once(Purpose::TrainFaceMatch).collect();
    scene.vault().withdraw_consent(&tenant(), narrowed.consent, face_match()).unwrap();
    scene.vault().erase_subject(&tenant(), &"erased".parse().unwrap()).unwrap();
    let ([lost, lost_too], later_job) = (std::array::from_fn(|_| scene.record()), scene.job());
    archive.take(&scene.data()).unwrap();
    pass_days(&scene, 7);
    assert!(is_gone(&scene, &expired) && !is_gone(&scene, &lost));

    let (mut before, mut after) = (None, None);
    let keys =
        |data: &Path| Some(["root.cell", "keyring/head.0", "keyring/head.1"].map(|name| fs::read(data.join(name)).unwrap()));
    let restored = |data: &Path| {
        before = keys(data);
        put_back(data, backup.path()).unwrap();
        after = keys(data);
    };
    scene.reopen(restored).unwrap();
    assert!(before == after, "putting back touched keys");

    assert_releases_nothing(&scene, job);
    assert!(matches!(scene.vault().job(later_job.0), Err(Error::NotFound)));
    for record in [&expired, &shredded, &withdrawn, &erased, &lost, &lost_too] {
        assert!(is_gone(&scene, record));
    }
    let status = scene.vault().retention_status(None).unwrap();
    let live: u64 = status.hours.iter().map(|(_, count)| count.records).sum();
    assert_eq!((live, status.backlog), (2, 0), "the kept one, and the one of which a withdrawal is missing");

    // Everything but release goes on, whatever restarts come between.
    let fresh = scene.record();
    scene.vault().withdraw_consent(&tenant(), narrowed.consent, face_match()).unwrap();
    scene.vault().shred_record(&tenant(), scene.record().id).unwrap();
    for _ in 0..2 {
        scene.reopen(|_| ()).unwrap();
        assert_releases_nothing(&scene, job);
        assert!(!is_gone(&scene, &kept) && !is_gone(&scene, &fresh));
    }
    scene.vault().tick().unwrap();
    assert!(scene.vault().is_restored(), "nobody has said anything");

    complete(&scene.data()).unwrap();
    assert!(scene.vault().is_restored());
    scene.vault().tick().unwrap();
    assert!(!scene.vault().is_restored());
    assert!(matches!(scene.fetch(job), Err(Error::JobRevoked(_))), "what was void stays so");
    assert_eq!(scene.fetch(scene.job()).unwrap(), Fetched { served: 2, ..Fetched::default() });
    for _ in 0..2 {
        scene.reopen(|_| ()).unwrap();
        assert!(!scene.vault().is_restored(), "it is over");
    }
    assert_eq!(scene.fetch(scene.job()).unwrap(), Fetched { served: 2, ..Fetched::default() });

    archive.take(&scene.data()).unwrap();
    archive.take(backup.path()).unwrap();
    let cell = fs::read(scene.data().join("root.cell")).unwrap();
    let attack = Attack::mount(&archive, &cell, &vault_id()).unwrap();
    let gone = [&expired, &shredded, &withdrawn, &erased, &lost, &lost_too].map(|record| (record, 0));
    for (record, parts) in gone.into_iter().chain([(&kept, 2), (&fresh, 2)]) {
        assert!(attack.records().any(|known| known.id == record.id));
        assert_eq!(attack.open(record.id).len(), parts);
    }
}

#[test]
fn the_word_counts_from_the_next_start_and_not_before_the_first() {
    let mut scene = Scene::new();
    let kept = scene.record();
    let backup = backed_up(&scene);
    let job = scene.job();
    let too_early = |data: &Path| {
        put_back(data, backup.path()).unwrap();
        assert!(matches!(complete(data), Err(RestoreError::NotServed)), "nobody can have replayed anything");
    };
    scene.reopen(too_early).unwrap();
    assert!(scene.vault().is_restored());
    assert!(matches!(scene.vault().job(job.0), Err(Error::NotFound)));
    scene.reopen(|data| complete(data).unwrap()).unwrap();
    assert!(!scene.vault().is_restored());
    assert_eq!(scene.fetch(scene.job()).unwrap().served, 1);
    assert!(!is_gone(&scene, &kept));
}

#[test]
fn volumes_that_were_lost_or_damaged_come_back() {
    let mut scene = Scene::new();
    let records = [scene.record(), scene.record()];
    scene.clock.pass(TimeDelta::hours(2));
    scene.record();
    let backup = backed_up(&scene);
    let later = scene.record();
    let broken = |data: &Path| {
        let [first, second] = [records[0].place.hour, later.place.hour].map(|hour| data.join(format!("volumes/{hour}")));
        assert_ne!(first, second);
        fs::remove_dir_all(first).unwrap();
        let path = second.join("1.vol");
        let mut bytes = fs::read(&path).unwrap();
        bytes[4096] ^= 1;
        fs::write(&path, bytes).unwrap();
        put_back(data, backup.path()).unwrap();
    };
    scene.reopen(broken).unwrap();
    scene.reopen(|data| complete(data).unwrap()).unwrap();
    assert_eq!(scene.fetch(scene.job()).unwrap(), Fetched { served: 3, ..Fetched::default() });
    scene.record();
    assert_eq!(scene.fetch(scene.job()).unwrap(), Fetched { served: 4, ..Fetched::default() });
}
