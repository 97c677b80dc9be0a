//! A backup taken while everything moves.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use chrono::TimeDelta;
use idvault::domain::purpose::PurposeSet;
use idvault::store::backup::Progress;
use idvault::vault::restore::{back_up, complete};

use crate::put_back;
use crate::scene::{Fetched, Scene, tenant, vault_id};

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Puts a backup back where nothing is left but the keys.
fn put_back_alone(data: &Path, backup: &Path) {
    for lost in ["ledger", "volumes"] {
        fs::remove_dir_all(data.join(lost)).unwrap();
    }
    put_back(data, backup).unwrap();
}

/// A day passes: the vault takes a dump, and forgets what it makes needless.
fn next_day(scene: &Scene) {
    let (dumps, journal) = (scene.data().join("ledger/dump"), scene.data().join("ledger/journal"));
    let before = names(&dumps);
    assert!(names(&journal).len() > 1);
    scene.clock.pass(TimeDelta::days(1));
    while names(&dumps).is_superset(&before) || names(&dumps).contains("draft") || names(&journal).len() > 1 {
        scene.vault().tick().unwrap();
        thread::yield_now();
    }
}

#[test]
fn a_dump_taken_and_an_hour_deleted_meanwhile_cost_nothing() {
    let mut scene = Scene::new();
    let old = scene.record();
    scene.clock.pass(TimeDelta::days(26));
    scene.vault().tick().unwrap();
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(scene.record());
        // Each run has a segment of its own.
        scene.reopen(|_| ()).unwrap();
        scene.vault().tick().unwrap();
    }
    // Nothing of the vault's.
    fs::create_dir(scene.data().join("volumes/other")).unwrap();
    fs::write(scene.data().join(format!("volumes/{}/other", old.place.hour)), "").unwrap();
    let backup = tempfile::tempdir().unwrap();
    let (mut seen, mut deleted) = (Vec::new(), false);
    let mut see = |progress: Progress<'_>| {
        let Progress::File(path) = progress else { return };
        seen.push(path.to_owned());
        if seen.len() == 2 {
            scene.record();
            next_day(&scene);
        }
        if path.starts_with("volumes/") && !deleted {
            deleted = true;
            assert!(path.starts_with(&format!("volumes/{}/", old.place.hour)));
            scene.clock.pass(TimeDelta::days(4));
            scene.vault().tick().unwrap();
        }
    };
    back_up(&vault_id(), &scene.data(), backup.path(), scene.clock.now(), &mut see).unwrap();
    let dumps: BTreeSet<_> = seen.iter().filter(|path| path.starts_with("ledger/dump/")).collect();
    assert_eq!(dumps.len(), 2, "it was begun anew: {seen:?}");
    assert_eq!(names(&backup.path().join("ledger/dump")).len(), 1);
    scene.reopen(|data| put_back_alone(data, backup.path())).unwrap();
    scene.reopen(|data| complete(data).unwrap()).unwrap();
    assert_eq!(scene.fetch(scene.job()).unwrap(), Fetched { served: 4, ..Fetched::default() });
}

#[test]
fn a_record_uploaded_at_any_moment_is_there_whole_or_not_at_all() {
    let mut scene = Scene::new();
    scene.record();
    let backup = tempfile::tempdir().unwrap();
    let mut uploaded = 1;
    let mut see = |progress: Progress<'_>| {
        if let Progress::File(_) = progress {
            scene.record();
            uploaded += 1;
        }
    };
    back_up(&vault_id(), &scene.data(), backup.path(), scene.clock.now(), &mut see).unwrap();
    scene.reopen(|data| put_back_alone(data, backup.path())).unwrap();
    scene.reopen(|data| complete(data).unwrap()).unwrap();
    let fetched = scene.fetch(scene.job()).unwrap();
    assert!(fetched.served >= 2 && fetched.served < uploaded, "{fetched:?} of {uploaded}");
    assert_eq!((fetched.gone, fetched.damaged), (0, 0));
}

#[test]
fn a_backup_taken_while_clients_work_has_all_that_was_acknowledged_before() {
    let mut scene = Scene::new();
    let before: BTreeSet<_> = (0..5).map(|_| scene.record().id).collect();
    let (ends, working) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let backup = tempfile::tempdir().unwrap();
    let destroyed: BTreeSet<_> = thread::scope(|scope| {
        let work = |number: u64| {
            let mut destroyed = Vec::new();
            for round in number.. {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                let record = scene.record();
                match round % 3 {
                    0 => drop(scene.vault().shred_record(&tenant(), record.id).unwrap()),
                    1 => drop(scene.vault().withdraw_consent(&tenant(), record.consent, PurposeSet::default()).unwrap()),
                    _ => continue,
                }
                destroyed.push(record.id);
                working.store(true, Ordering::SeqCst);
            }
            destroyed
        };
        let workers: Vec<_> = (0..3).map(|number| scope.spawn(move || work(number))).collect();
        while !working.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        back_up(&vault_id(), &scene.data(), backup.path(), scene.clock.now(), &mut |_| ()).unwrap();
        ends.store(true, Ordering::SeqCst);
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    scene.reopen(|data| put_back_alone(data, backup.path())).unwrap();
    for record in &destroyed {
        assert!(scene.vault().record(&tenant(), *record).is_err());
    }
    for record in &before {
        scene.vault().record(&tenant(), *record).unwrap();
    }
    let status = scene.vault().retention_status(None).unwrap();
    let live: u64 = status.hours.iter().map(|(_, count)| count.records).sum();
    complete(&scene.data()).unwrap();
    scene.vault().tick().unwrap();
    let fetched = scene.fetch(scene.job()).unwrap();
    assert_eq!((u64::try_from(fetched.served).unwrap(), fetched.gone, fetched.damaged), (live, 0, 0));
    assert!(!destroyed.is_empty() && status.backlog == 0);
}
