//! A ledger that somebody copied back by hand.

use std::fs;
use std::path::Path;

use chrono::TimeDelta;
use idvault::domain::purpose::Purpose;
use idvault::vault::OpenError;
use idvault::vault::error::Error;
use idvault::vault::restore::{RestoreError, complete};

use crate::copy;
use crate::scene::{Scene, tenant};

/// Copies the ledger as it is.
fn copied(scene: &Scene) -> tempfile::TempDir {
    let old = tempfile::tempdir().unwrap();
    copy(&scene.data().join("ledger"), old.path());
    old
}

fn put(old: &Path, data: &Path) {
    fs::remove_dir_all(data.join("ledger")).unwrap();
    copy(old, &data.join("ledger"));
}

/// Withdraws a purpose, which destroys nothing and so commits nothing.
fn withdraw(scene: &Scene, record: &idvault::domain::record::Record) {
    let purposes = std::iter::once(Purpose::TrainFaceMatch).collect();
    scene.vault().withdraw_consent(&tenant(), record.consent, purposes).unwrap();
}

#[test]
fn an_old_ledger_put_back_is_noticed_by_the_head() {
    let mut scene = Scene::new();
    let (record, job) = (scene.record(), scene.job());
    let old = copied(&scene);
    withdraw(&scene, &record);
    // One commit, which a crash might have left the ledger behind of.
    scene.vault().shred_record(&tenant(), scene.record().id).unwrap();
    let by_hand = |data: &Path| {
        put(old.path(), data);
        fs::remove_file(data.join("heartbeat")).unwrap();
    };
    scene.reopen(by_hand).unwrap();
    assert!(matches!(scene.fetch(job), Err(Error::Restored)));
}

#[test]
fn an_old_ledger_put_back_within_the_hour_is_noticed_by_the_heartbeat() {
    let mut scene = Scene::new();
    let (record, job) = (scene.record(), scene.job());
    for _ in 0..2 {
        let old = copied(&scene);
        withdraw(&scene, &record);
        scene.clock.pass(TimeDelta::seconds(6));
        scene.vault().tick().unwrap();
        scene.reopen(|data| put(old.path(), data)).unwrap();
        assert!(matches!(scene.fetch(job), Err(Error::Restored)));
        withdraw(&scene, &record);
        scene.reopen(|data| complete(data).unwrap()).unwrap();
        assert!(!scene.vault().is_restored());
        // What was said then says nothing of the next time.
        scene.vault().withdraw_consent(&tenant(), record.consent, std::iter::once(Purpose::EvaluateBias).collect()).unwrap();
        let record = scene.record();
        let old = copied(&scene);
        withdraw(&scene, &record);
        scene.clock.pass(TimeDelta::seconds(6));
        scene.vault().tick().unwrap();
        scene.reopen(|data| put(old.path(), data)).unwrap();
        assert!(scene.vault().is_restored());
        scene.reopen(|data| complete(data).unwrap()).unwrap();
    }
    assert!(matches!(complete(&scene.data()), Err(RestoreError::NotRestored)));
}

#[test]
fn a_vault_that_nobody_touched_is_never_taken_for_a_restored_one() {
    let mut scene = Scene::new();
    for round in 0..12 {
        let record = scene.record();
        if round % 3 == 0 {
            scene.vault().shred_record(&tenant(), record.id).unwrap();
        }
        if round % 4 == 0 {
            scene.clock.pass(TimeDelta::hours(13));
            scene.vault().tick().unwrap();
        }
        if round % 4 != 0 {
            // As a kill leaves it; nothing goes on behind the copy, since there was no tick in this run.
            let image = tempfile::tempdir().unwrap();
            copy(&scene.data(), &image.path().join("data"));
            let killed = Scene::at(image.path(), scene.clock.clone(), |blueprint| blueprint);
            assert!(!killed.vault().is_restored());
        }
        scene.reopen(|_| ()).unwrap();
        assert!(!scene.vault().is_restored());
    }
}

#[test]
fn an_old_keyring_put_back_with_its_root_is_refused_as_a_rollback() {
    let mut scene = Scene::new();
    let (alive, gone) = (scene.record(), scene.record());
    let old = tempfile::tempdir().unwrap();
    copy(&scene.data().join("keyring"), &old.path().join("keyring"));
    fs::copy(scene.data().join("root.cell"), old.path().join("root.cell")).unwrap();
    scene.vault().shred_record(&tenant(), gone.id).unwrap();
    let now = tempfile::tempdir().unwrap();
    let put = |from: &Path, data: &Path, keep: Option<&Path>| {
        if let Some(keep) = keep {
            copy(&data.join("keyring"), &keep.join("keyring"));
            fs::copy(data.join("root.cell"), keep.join("root.cell")).unwrap();
        }
        fs::remove_dir_all(data.join("keyring")).unwrap();
        copy(&from.join("keyring"), &data.join("keyring"));
        fs::copy(from.join("root.cell"), data.join("root.cell")).unwrap();
    };
    let refused = scene.reopen(|data| put(old.path(), data, Some(now.path()))).unwrap_err();
    assert!(matches!(refused, OpenError::RolledBack { keyring, ledger } if keyring < ledger), "{refused}");
    // What belongs there opens, and what is gone is gone.
    scene.reopen(|data| put(now.path(), data, None)).unwrap();
    scene.vault().record(&tenant(), alive.id).unwrap();
    assert!(matches!(scene.vault().record(&tenant(), gone.id), Err(Error::RecordGone)));
}
