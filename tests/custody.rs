//! The root in a file, in a token and on a key server: the same shreds, the same crashes, the same answers.
//!
//! After each commit a custody that is opened afresh neither finds nor uses any root there ever was but the current one.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod scene;
#[path = "custody/watched.rs"]
mod watched;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use idvault::domain::purpose::PurposeSet;
use idvault::keys::keyring::format::Slot;
use idvault::keys::root::{Class, Handle};
use idvault::vault::error::Error;
use idvault::vault::{Blueprint, OpenError};
use parking_lot::Mutex;

use scene::custodies::Kind;
use scene::{Fetched, Hand, Scene, blueprint, new_tenant, tenant, vault_id};
use watched::{At, Watched};

/// The handles of every head in a directory.
fn handles(data: &Path) -> BTreeMap<u64, Handle> {
    let heads = ["head.0", "head.1"].into_iter().filter_map(|name| fs::read(data.join("keyring").join(name)).ok());
    heads.filter_map(|head| Slot::parse(&head).map(|slot| (slot.handle.generation, slot.handle))).collect()
}

/// Every head there ever was, seen at each step of each commit.
type Seen = Arc<Mutex<BTreeMap<u64, Handle>>>;

fn filmed(kind: Kind) -> (Scene, Seen) {
    let seen = Seen::default();
    let watching = Arc::clone(&seen);
    let scene = Scene::with(|blueprint| {
        let mut blueprint = kind.under(blueprint);
        let data = blueprint.data_dir.clone();
        blueprint.observer = Box::new(move |_| watching.lock().extend(handles(&data)));
        blueprint
    });
    (scene, seen)
}

/// A custody that knows nothing of what was before holds the root of `generation`, and no other.
fn assert_only(kind: Kind, data: &Path, seen: &Seen, generation: u64) {
    let fresh = kind.setting(data).open(&vault_id()).unwrap();
    assert_eq!(fresh.generations().unwrap(), [generation], "{kind:?}");
    let seen = seen.lock();
    for (of, handle) in seen.iter() {
        assert_eq!(fresh.open(handle).unwrap().is_some(), *of == generation, "{kind:?}: the root of head {of} of {generation}");
    }
}

#[test]
fn after_a_commit_no_session_finds_or_uses_an_old_root() {
    for kind in Kind::ALL {
        let (scene, seen) = filmed(kind);
        let (vault, data) = (scene.vault(), scene.data());
        let (first, second, third) = (scene.record(), scene.record(), scene.record());
        let generation = || vault.retention_status(None).unwrap().keyring_generation;
        vault.shred_record(&tenant(), first.id).unwrap();
        assert_only(kind, &data, &seen, generation());
        vault.withdraw_consent(&tenant(), second.consent, PurposeSet::default()).unwrap();
        assert_only(kind, &data, &seen, generation());
        assert_eq!(scene.fetch(scene.job()).unwrap(), Fetched { served: 1, ..Fetched::default() });
        scene.clock.pass(TimeDelta::days(30));
        vault.tick().unwrap();
        assert_only(kind, &data, &seen, generation());
        assert!(matches!(vault.record(&tenant(), third.id), Err(Error::RecordGone)));
        assert!(seen.lock().len() >= 4, "{kind:?}: the test saw too few heads");
    }
}

#[test]
fn a_root_opens_what_it_sealed_and_nothing_else() {
    for kind in Kind::ALL {
        let dir = tempfile::tempdir().unwrap();
        let setting = kind.setting(dir.path());
        setting.must_be_free(&vault_id(), false).unwrap();
        let mut custody = setting.create(&vault_id()).unwrap();
        let (first, second) = (custody.make(2).unwrap(), custody.make(3).unwrap());
        custody.put(&first).unwrap();
        custody.put(&second).unwrap();
        assert_ne!(first.key.expose(), second.key.expose());
        let crossed = Handle { generation: 2, wrapped: second.handle.wrapped.clone() };
        if kind != Kind::File {
            assert!(custody.open(&crossed).unwrap().is_none(), "{kind:?}");
            let mut damaged = second.handle.clone();
            *damaged.wrapped.last_mut().unwrap() ^= 1;
            assert!(custody.open(&damaged).unwrap().is_none(), "{kind:?}");
            for bytes in [&first.key, &second.key].map(|key| key.expose().to_vec()) {
                assert!(!first.handle.wrapped.windows(32).chain(second.handle.wrapped.windows(32)).any(|window| window == bytes));
            }
        }
        assert!(custody.open(&Handle { generation: 4, wrapped: second.handle.wrapped.clone() }).unwrap().is_none());
        // A vault that is being made may have left its first roots; roots of a later one are another's.
        let error = setting.must_be_free(&vault_id(), true).unwrap_err();
        assert!(error.to_string().contains("whose data is not here"), "{error}");
        let evidence = custody.settle(&second.handle).unwrap();
        assert_eq!(custody.generations().unwrap(), [3]);
        let class = if kind == Kind::File { Class::BestEffort } else { Class::Test };
        assert_eq!((evidence.class, evidence), (class, custody.describe()), "{kind:?}");
        println!("{}", custody.describe());
        custody.clear().unwrap();
        assert!(custody.open(&second.handle).unwrap().is_none());
        setting.must_be_free(&vault_id(), false).unwrap();
    }
}

/// Opens the vault of a home with a custody that fails from when the switch is on.
fn failing(home: &Path, clock: &Hand, kind: Kind, failure: At) -> (Result<Scene, OpenError>, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(false));
    let is_on = Arc::clone(&switch);
    let plan = |blueprint: Blueprint| Blueprint {
        custody: Box::new(move |inner| {
            Box::new(Watched { inner, watch: move |at| at != failure || !is_on.load(Ordering::SeqCst) })
        }),
        ..kind.under(blueprint)
    };
    (Scene::try_at(home, clock.clone(), plan), switch)
}

#[test]
fn a_commit_whose_custody_fails_anywhere_is_finished_by_the_next_start() {
    for kind in Kind::ALL {
        for failure in At::ALL {
            println!("{kind:?} {failure:?}");
            let (home, clock) = (tempfile::tempdir().unwrap(), Hand::new());
            let (scene, switch) = failing(home.path(), &clock, kind, failure);
            let scene = scene.unwrap();
            scene.vault().create_tenant(&tenant(), new_tenant()).unwrap();
            let (alive, gone) = (scene.record(), scene.record());
            switch.store(true, Ordering::SeqCst);
            let error = scene.vault().shred_record(&tenant(), gone.id).unwrap_err();
            assert!(matches!(&error, Error::Failed(why) if why.contains("the test wants it so")), "{error}");
            drop(scene);

            // A start with the same failure serves nothing, and harms nothing.
            let (again, switch) = failing(home.path(), &clock, kind, failure);
            drop(again.unwrap());
            let data = home.path().join("data");
            let is_on = Arc::new(AtomicBool::new(true));
            drop(switch);
            let broken = Blueprint {
                custody: Box::new(move |inner| {
                    Box::new(Watched { inner, watch: move |at| at != failure || !is_on.load(Ordering::SeqCst) })
                }),
                ..kind.under(blueprint(&data, &clock))
            };
            let error = broken.open().err().unwrap();
            assert!(error.to_string().contains("the test wants it so"), "{error}");

            let scene = Scene::at(home.path(), clock.clone(), |blueprint| kind.under(blueprint));
            assert!(matches!(scene.vault().record(&tenant(), gone.id), Err(Error::RecordGone)));
            scene.vault().record(&tenant(), alive.id).unwrap();
            assert_eq!(scene.fetch(scene.job()).unwrap(), Fetched { served: 1, ..Fetched::default() });
            let generation = scene.vault().retention_status(None).unwrap().keyring_generation;
            assert_only(kind, &data, &Seen::default(), generation);
        }
    }
}

/// Moves the root of the vault in a home, the custodies watched.
fn moved(home: &Path, clock: &Hand, from: Kind, to: Kind) -> Result<idvault::keys::root::Evidence, OpenError> {
    let data = home.join("data");
    from.under(blueprint(&data, clock)).move_root(&to.setting(&data))
}

#[test]
fn a_root_is_moved_and_the_old_custody_keeps_nothing() {
    let (home, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    let data = home.path().join("data");
    let scene = Scene::at(home.path(), clock.clone(), |blueprint| Kind::File.under(blueprint));
    scene.vault().create_tenant(&tenant(), new_tenant()).unwrap();
    let (alive, gone) = (scene.record(), scene.record());
    scene.vault().shred_record(&tenant(), gone.id).unwrap();
    assert!(matches!(moved(home.path(), &clock, Kind::File, Kind::Transit), Err(OpenError::Locked(_))));
    drop(scene);
    for (from, to) in [(Kind::File, Kind::Pkcs11), (Kind::Pkcs11, Kind::Transit), (Kind::Transit, Kind::File)] {
        let evidence = moved(home.path(), &clock, from, to).unwrap();
        assert_eq!(evidence.custody, from.name());
        assert_eq!(from.setting(&data).open(&vault_id()).unwrap().generations().unwrap(), [0; 0], "{from:?} keeps a root");
        let error = from.under(blueprint(&data, &clock)).open().err().unwrap();
        assert!(error.to_string().contains("no keyring head opens with a root of this custody"), "{error}");
        let scene = Scene::at(home.path(), clock.clone(), |blueprint| to.under(blueprint));
        scene.vault().record(&tenant(), alive.id).unwrap();
        assert!(matches!(scene.vault().record(&tenant(), gone.id), Err(Error::RecordGone)));
        assert_eq!(scene.fetch(scene.job()).unwrap(), Fetched { served: 1, ..Fetched::default() });
        assert_only(to, &data, &Seen::default(), scene.vault().retention_status(None).unwrap().keyring_generation);
    }
}

/// What a move that was cut short has left, taken at each of its steps.
fn cut_moves(from: Kind, to: Kind, cut: impl Fn(&Path, &Hand)) {
    let (home, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    let data = home.path().join("data");
    let scene = Scene::at(home.path(), clock.clone(), |blueprint| from.under(blueprint));
    scene.vault().create_tenant(&tenant(), new_tenant()).unwrap();
    let alive = scene.record();
    drop(scene);
    fs::write(data.join("moving"), to.name()).unwrap();
    cut(&data, &clock);
    let refused = from.under(blueprint(&data, &clock)).open().err().unwrap();
    assert!(matches!(refused, OpenError::Moving { .. }), "{refused}");
    if from == Kind::File {
        let elsewhere = moved(home.path(), &clock, from, Kind::Transit);
        assert!(matches!(elsewhere, Err(OpenError::MovingElsewhere(_))));
    }
    moved(home.path(), &clock, from, to).unwrap();
    assert_eq!(from.setting(&data).open(&vault_id()).unwrap().generations().unwrap(), [0; 0]);
    let scene = Scene::at(home.path(), clock.clone(), |blueprint| to.under(blueprint));
    scene.vault().record(&tenant(), alive.id).unwrap();
    assert_eq!(scene.fetch(scene.job()).unwrap(), Fetched { served: 1, ..Fetched::default() });
    assert_only(to, &data, &Seen::default(), scene.vault().retention_status(None).unwrap().keyring_generation);
}

#[test]
fn a_move_that_was_cut_short_is_refused_until_it_is_done_again() {
    for (from, to) in [(Kind::File, Kind::Pkcs11), (Kind::Transit, Kind::File)] {
        // Before anything, and with a root made in the new custody that seals nothing.
        cut_moves(from, to, |_, _| ());
        cut_moves(from, to, |data, _| {
            let mut new = to.setting(data).create(&vault_id()).unwrap();
            let root = new.make(handles(data).last_key_value().unwrap().0 + 1).unwrap();
            new.put(&root).unwrap();
        });
    }
    // After the commit: the new head is there, and so is the old root.
    cut_moves(Kind::File, Kind::Pkcs11, |data, clock| {
        // A move opens the vault as a start does, by a commit: the root of that one is what the cell holds then.
        let scene = Scene::at(data.parent().unwrap(), clock.clone(), |_| unmoved(data, clock));
        drop(scene);
        let (cell, old) = (fs::read(data.join("root.cell")).unwrap(), handles(data));
        moved(data.parent().unwrap(), clock, Kind::File, Kind::Pkcs11).unwrap();
        fs::write(data.join("root.cell"), cell).unwrap();
        fs::write(data.join("moving"), Kind::Pkcs11.name()).unwrap();
        let kept = Kind::File.setting(data).open(&vault_id()).unwrap().open(old.last_key_value().unwrap().1).unwrap();
        assert!(kept.is_some(), "the test did not put the old root back");
    });
}

/// The plan of a vault whose root is in its file and not being moved.
fn unmoved(data: &Path, clock: &Hand) -> Blueprint {
    fs::remove_file(data.join("moving")).unwrap();
    Kind::File.under(blueprint(data, clock))
}

#[test]
fn a_new_vault_is_not_made_over_the_root_of_another() {
    for kind in [Kind::Pkcs11, Kind::Transit] {
        let (scene, seen) = filmed(kind);
        let record = scene.record();
        let root = kind.setting(&scene.data());
        let other = tempfile::tempdir().unwrap();
        let mut plan = blueprint(&other.path().join("data"), &Hand::new());
        plan.keys.root = root;
        let error = plan.open().err().unwrap();
        assert!(error.to_string().contains("whose data is not here"), "{error}");
        let generation = scene.vault().retention_status(None).unwrap().keyring_generation;
        assert_only(kind, &scene.data(), &seen, generation);
        scene.vault().record(&tenant(), record.id).unwrap();
    }
}
