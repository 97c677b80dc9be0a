//! A restore that is cut: at every file and between any two steps.

use std::collections::BTreeMap;

use idvault::store::backup::Progress;
use idvault::vault::error::Error;
use idvault::vault::restore::{complete, restore};
use idvault::vault::{Blueprint, OpenError};

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
    let film = |data: &std::path::Path| {
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
        restore(&vault_id(), data, backup.path(), &mut see).unwrap();
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

fn open(home: &std::path::Path, scene: &Scene) -> Result<idvault::vault::Vault, OpenError> {
    let limits = idvault::clock::Limits { max_jump: chrono::TimeDelta::hours(1), max_gap: chrono::TimeDelta::days(7) };
    Blueprint::new(vault_id(), home.join("data"), Box::new(scene.clock.clone()), limits).open()
}
