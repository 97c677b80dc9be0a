//! What is stored, looked at while the vault is closed: damage is named and costs what it hits, an index that is lost costs
//! nothing.

#![expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a failure fails the test")]

#[expect(dead_code, reason = "shared with other tests, which need more of it")]
mod scene;

use std::fs;
use std::path::Path;

use chrono::TimeDelta;
use idvault::keys::Setting;
use idvault::store::ledger::journaled::JournaledLedger;
use idvault::store::ledger::{Ledger, Transaction};
use idvault::vault::OpenError;
use idvault::vault::verify::{Damage, Seen, rebuild, verify};

use scene::{Fetched, Scene, vault_id};

/// How many rows and parts of a vault open, and what does not.
fn look(data: &Path) -> (usize, usize, Vec<Damage>) {
    let (mut rows, mut parts, mut damage) = (0, 0, Vec::new());
    let see = |seen| match seen {
        Seen::Row => rows += 1,
        Seen::Part(_) => parts += 1,
        Seen::Damaged(what) => damage.push(what),
    };
    verify(&vault_id(), data, &Setting::in_directory(data), see).unwrap();
    (rows, parts, damage)
}

fn volume(data: &Path) -> std::path::PathBuf {
    let hour = fs::read_dir(data.join("volumes")).unwrap().next().unwrap().unwrap().path();
    fs::read_dir(hour).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn a_flipped_bit_of_a_volume_costs_the_part_that_it_hits() {
    let mut scene = Scene::new();
    let records = [scene.record(), scene.record(), scene.record()];
    let job = scene.job();
    let mut hit = 0;
    let looked = |data: &Path| {
        assert!(matches!(look(data), (_, 6, damage) if damage.is_empty()), "two parts of each record");
        let path = volume(data);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 50) {
            let mut bytes = whole.clone();
            *bytes.get_mut(at).unwrap() ^= 1;
            fs::write(&path, bytes).unwrap();
            let (_, parts, damage) = look(data);
            assert_eq!(parts + damage.len(), 6, "each part is whole or damaged");
            // Padding belongs to nobody.
            assert!(damage.len() <= 1, "byte {at}: {damage:?}");
            for damage in damage {
                hit += 1;
                let Damage::Part { record, .. } = damage else { panic!("{damage}") };
                assert!(records.iter().any(|known| known.id == record));
            }
        }
        // A byte of the first face.
        let mut bytes = whole;
        *bytes.get_mut(4096).unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
    };
    scene.reopen(looked).unwrap();
    assert!(hit > 30, "{hit}");
    assert_eq!(scene.fetch(job).unwrap(), Fetched { served: 2, damaged: 1, gone: 0 });
}

#[test]
fn a_row_that_does_not_open_is_named() {
    let mut scene = Scene::new();
    scene.record();
    scene.record();
    let edited = |data: &Path| {
        let (rows, ..) = look(data);
        let ledger = JournaledLedger::open(&data.join("ledger")).unwrap();
        let all: Vec<_> = ledger.scan(&[]).collect::<Result<_, _>>().unwrap();
        drop(ledger);
        assert_eq!(rows, all.len());
        for row in all {
            let change = |value: Vec<u8>| {
                let ledger = JournaledLedger::open(&data.join("ledger")).unwrap();
                let mut transaction = Transaction::default();
                transaction.put(row.key.clone(), value);
                ledger.sync(ledger.apply(transaction).unwrap()).unwrap();
            };
            let mut value = row.value.clone();
            match value.last_mut() {
                Some(last) => *last ^= 1,
                None => value = vec![1],
            }
            change(value);
            let (.., damage) = look(data);
            assert_eq!(damage, [Damage::Row(row.key.clone())]);
            change(row.value.clone());
        }
        assert_eq!(look(data).2, []);
    };
    scene.reopen(edited).unwrap();
}

#[test]
fn an_index_that_is_lost_costs_nothing() {
    let mut scene = Scene::new();
    scene.record();
    let gone = scene.record();
    let job = scene.job();
    for day in 0..3 {
        scene.record();
        if day == 1 {
            scene.vault().shred_record(&gone.tenant, gone.id).unwrap();
        }
        let before = scene.fetch(job).unwrap();
        let lost = |data: &Path| {
            let seen = look(data);
            let index = data.join("ledger/index");
            fs::remove_dir_all(&index).unwrap();
            assert_eq!(rebuild(data).unwrap(), u64::try_from(seen.0 + 1).unwrap(), "all rows and the position");
            assert_eq!(look(data), seen);
            // Nobody has to notice by himself that it is gone.
            fs::remove_dir_all(&index).unwrap();
        };
        let refused = scene.reopen(lost).unwrap_err();
        assert!(refused.to_string().contains("doctor --rebuild"), "{refused}");
        scene.reopen(|data| assert!(rebuild(data).is_ok())).unwrap();
        assert_eq!(scene.fetch(job).unwrap(), before);
        // A new day: a dump is taken, and what comes after is in the journal alone.
        scene.clock.pass(TimeDelta::days(1));
        scene.vault().tick().unwrap();
    }
}

#[test]
fn there_must_be_a_vault_and_nobody_at_it() {
    let scene = Scene::new();
    let see = |_| ();
    assert!(matches!(verify(&vault_id(), &scene.data(), &Setting::in_directory(&scene.data()), see), Err(OpenError::Locked(_))));
    assert!(matches!(rebuild(&scene.data()), Err(OpenError::Locked(_))));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(verify(&vault_id(), empty.path(), &Setting::in_directory(empty.path()), see), Err(OpenError::Empty(_))));
    assert!(matches!(rebuild(&empty.path().join("none")), Err(OpenError::Empty(_))));
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}
