//! A restore that is cut: at every file and between any two steps.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use idvault::forensic::{Archive, Attack};
use idvault::keys::Setting;
use idvault::store::backup::Progress;
use idvault::vault::error::Error;
use idvault::vault::restore::{complete, restore};
use idvault::vault::{Blueprint, OpenError};
use parking_lot::Mutex;

use crate::scene::{Fetched, Scene, tenant, vault_id};
use crate::{backed_up, copy, put_back};

#[test]
fn a_restore_that_is_cut_anywhere_is_as_before_or_refused_or_restored() {
    let mut scene = Scene::new();
    let (kept, gone) = (scene.record(), scene.record());
    let backup = backed_up(&scene);
    scene.vault().shred_record(&tenant(), gone.id).unwrap();
    let job = scene.job();
    let mut images = Vec::new();
    let film = |data: &Path| {
        // One volume is not there, so that one is put back.
        std::fs::remove_file(data.join(format!("volumes/{}/1.vol", kept.place.hour))).unwrap();
        let mut take = |at: &str| {
            let image = tempfile::tempdir().unwrap();
            copy(data, &image.path().join("data"));
            images.push((at.to_owned(), image));
        };
        let mut see = |progress: Progress<'_>| match progress {
            Progress::File(path) => take(path),
            Progress::Step(step) => take(step),
            Progress::Total(_) | Progress::Bytes(_) => {}
        };
        restore(&vault_id(), data, &Setting::in_directory(data), backup.path(), &mut see).unwrap();
        take("end");
    };
    scene.reopen(film).unwrap();
    assert!(scene.vault().is_restored());

    let mut outcomes = BTreeMap::<_, Vec<_>>::new();
    for (at, image) in images {
        let opened = open(image.path(), &scene);
        let outcome = match opened {
            Ok(vault) if vault.is_restored() => "restored",
            // Damaged: its volume is missing, as before.
            Ok(vault) => {
                drop(vault);
                let before = Scene::at(image.path(), scene.clock.clone(), |blueprint| blueprint);
                assert_eq!(before.fetch(job).unwrap(), Fetched { damaged: 1, ..Fetched::default() }, "{at}");
                "as before"
            }
            Err(OpenError::Replacing(_)) => "refused",
            Err(error) => panic!("{at}: {error}"),
        };
        outcomes.entry(outcome).or_default().push(at.clone());
        // Done again it comes to its end, whatever was cut.
        let data = image.path().join("data");
        put_back(&data, backup.path()).unwrap();
        let again = Scene::at(image.path(), scene.clock.clone(), |blueprint| blueprint);
        assert!(matches!(again.fetch(job), Err(Error::Restored)), "{at}");
        complete(&data).unwrap();
        again.vault().tick().unwrap();
        assert_eq!(again.fetch(again.job()).unwrap(), Fetched { served: 1, ..Fetched::default() }, "{at}");
        assert!(!data.join("restoring").exists());
    }
    assert!(
        outcomes["as before"].iter().any(|at| at.starts_with("volumes/")) && outcomes["as before"].contains(&"mark".to_owned())
    );
    assert_eq!(outcomes["refused"], ["volumes", "ledger", "no ledger", "replaced"]);
    assert_eq!(outcomes["restored"], ["rest", "end"]);
}

#[test]
fn a_first_start_that_is_cut_anywhere_is_done_again() {
    let mut scene = Scene::new();
    let (kept, gone) = (scene.record(), scene.record());
    let backup = backed_up(&scene);
    scene.vault().shred_record(&tenant(), gone.id).unwrap();
    let lost = scene.record();
    let job = scene.job();
    let mut archive = Archive::default();
    archive.take(&scene.data()).unwrap();
    let home = tempfile::tempdir().unwrap();
    let restored = |data: &Path| {
        put_back(data, backup.path()).unwrap();
        copy(data, &home.path().join("data"));
    };
    scene.reopen(restored).unwrap();
    let (images, data) = (Arc::new(Mutex::new(Vec::new())), home.path().join("data"));
    let films = Arc::clone(&images);
    let film = move |step| {
        let image = tempfile::tempdir().unwrap();
        copy(&data, &image.path().join("data"));
        films.lock().push((step, image));
    };
    drop(Scene::at(home.path(), scene.clock.clone(), |blueprint| Blueprint { observer: Box::new(film), ..blueprint }));
    let images = std::mem::take(&mut *images.lock());
    assert!(images.len() > 6, "two commits");
    for (step, image) in images {
        let again = Scene::at(image.path(), scene.clock.clone(), |blueprint| blueprint);
        assert!(matches!(again.fetch(job), Err(Error::Restored)), "{step:?}");
        let status = again.vault().retention_status(None).unwrap();
        assert_eq!((status.hours.iter().map(|(_, count)| count.records).sum::<u64>(), status.backlog), (1, 0), "{step:?}");
        complete(&again.data()).unwrap();
        again.vault().tick().unwrap();
        assert_eq!(again.fetch(again.job()).unwrap(), Fetched { served: 1, ..Fetched::default() }, "{step:?}");
        let cell = std::fs::read(again.data().join("root.cell")).unwrap();
        archive.take(&again.data()).unwrap();
        let attack = Attack::mount(&archive, &cell, &vault_id()).unwrap();
        assert_eq!([&kept, &gone, &lost].map(|record| attack.open(record.id).len()), [2, 0, 0], "{step:?}");
    }
}

fn open(home: &Path, scene: &Scene) -> Result<idvault::vault::Vault, OpenError> {
    let limits = idvault::app::limits(idvault::config::ClockLimits::default());
    Blueprint::new(vault_id(), home.join("data"), Box::new(scene.clock.clone()), limits).open()
}
