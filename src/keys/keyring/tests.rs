//! The keyring over a real directory: what a start reads, what a commit writes, what may be let go.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::keys::root::file::FileCell;

const HOURS: u32 = 6;

fn vault() -> VaultId {
    "hk-1".parse().unwrap()
}

fn hour(number: u32) -> Hour {
    Hour::new(500_000 + number).unwrap()
}

fn change(punctures: &[Place]) -> Change<'_> {
    Change {
        punctures,
        ranges: &[],
        over: hour(0),
        horizon: HOURS,
        month: 600,
        months: 2,
        ledger_sequence: 0,
        heartbeat: [0; HEARTBEAT_LEN],
    }
}

fn new(dir: &Path) -> Keyring {
    let cell = FileCell::create(&dir.join("root.cell")).unwrap();
    Keyring::create(&dir.join("keyring"), &vault(), Box::new(cell), &change(&[])).unwrap()
}

fn open(dir: &Path) -> Result<Keyring, KeyringError> {
    Keyring::open(&dir.join("keyring"), &vault(), Box::new(FileCell::open(&dir.join("root.cell")).unwrap()))
}

/// A keyring with two records in each hour, the second of which is shredded, and the leaf of the first.
fn punctured(dir: &Path) -> (Keyring, BTreeMap<Place, [u8; 32]>) {
    let keyring = new(dir);
    let (mut alive, mut gone) = (BTreeMap::new(), Vec::new());
    for number in 1..=HOURS {
        let (place, leaf) = keyring.draw(hour(number)).unwrap();
        alive.insert(place, *leaf.expose());
        gone.push(keyring.draw(hour(number)).unwrap().0);
    }
    keyring.commit(&change(&gone), &|_| ()).unwrap();
    assert!(gone.iter().all(|place| keyring.leaf(*place).unwrap().is_none()));
    (keyring, alive)
}

fn pages(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(dir.join("keyring")).unwrap().map(|entry| entry.unwrap().path());
    let pages = paths.filter(|path| path.extension().is_some_and(|extension| extension == "page"));
    pages.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn page_of(dir: &Path, hour: Hour) -> PathBuf {
    let prefix = format!("{hour}-");
    let mut paths = pages(dir).into_keys();
    paths.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&prefix)).unwrap()
}

#[test]
fn a_page_is_read_when_its_hour_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (keyring, alive) = punctured(dir.path());
    drop(keyring);
    let mut page = fs::read(page_of(dir.path(), hour(2))).unwrap();
    *page.last_mut().unwrap() ^= 1;
    fs::write(page_of(dir.path(), hour(2)), page).unwrap();

    let keyring = open(dir.path()).unwrap();
    assert_eq!(keyring.in_memory(), [], "the start has read a page");
    for (place, leaf) in alive {
        match keyring.leaf(place) {
            Err(KeyringError::PageDamaged(damaged)) => assert_eq!((damaged, place.hour), (hour(2), hour(2))),
            found => {
                assert_eq!(*found.unwrap().unwrap().expose(), leaf);
                assert_ne!(place.hour, hour(2));
            }
        }
    }
    // Nor is it read when its hour is over: it can be forgotten all the same.
    keyring.commit(&Change { over: hour(2), ..change(&[]) }, &|_| ()).unwrap();
    keyring.remove_old_pages().unwrap();
    assert_eq!(pages(dir.path()).len(), 4);
}

#[test]
fn a_shred_in_an_hour_with_a_damaged_page_closes_the_keyring() {
    let dir = tempfile::tempdir().unwrap();
    let (keyring, alive) = punctured(dir.path());
    drop(keyring);
    fs::write(page_of(dir.path(), hour(2)), b"noise").unwrap();
    let keyring = open(dir.path()).unwrap();
    let place = alive.into_keys().find(|place| place.hour == hour(2)).unwrap();
    assert!(matches!(keyring.commit(&change(&[place]), &|_| ()), Err(KeyringError::PageDamaged(_))));
    assert!(matches!(keyring.commit(&change(&[]), &|_| ()), Err(KeyringError::Closed)));
}

#[test]
fn a_page_that_is_missing_is_noticed_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    drop(punctured(dir.path()));
    fs::write(dir.path().join("keyring/500001-9.page"), b"of a commit that did not happen").unwrap();
    open(dir.path()).unwrap();
    assert_eq!(pages(dir.path()).len(), 6, "what no head names is still there");
    fs::remove_file(page_of(dir.path(), hour(3))).unwrap();
    assert!(matches!(open(dir.path()), Err(KeyringError::PageDamaged(missing)) if missing == hour(3)));
}

#[test]
fn a_shred_rewrites_one_page() {
    let dir = tempfile::tempdir().unwrap();
    let (keyring, alive) = punctured(dir.path());
    let before = pages(dir.path());
    keyring.commit(&change(&[*alive.keys().next().unwrap()]), &|_| ()).unwrap();
    keyring.remove_old_pages().unwrap();
    let after = pages(dir.path());
    assert_eq!(after.len(), before.len());
    assert_eq!(after.iter().filter(|(path, page)| before.get(*path) == Some(page)).count(), before.len() - 1);
}

#[test]
fn trees_are_let_go_that_are_on_disk_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (keyring, alive) = punctured(dir.path());
    let places: Vec<Place> = alive.keys().copied().collect();
    let held = |state: &State| state.in_memory().map(|(hour, _)| hour).collect::<Vec<_>>();
    {
        let mut state = keyring.state.lock();
        assert_eq!(held(&state).len(), 6);
        state.tree(hour(4), &keyring.folder).unwrap();
        state.let_go(0);
        assert_eq!(held(&state), [hour(4)], "the one asked for last stays, the others go");
        // What is punctured and not written yet must not come back from the old page.
        let generation = state.generation + 1;
        state.forget(&change(&places[..3]), generation, &keyring.folder).unwrap();
        state.tree(hour(6), &keyring.folder).unwrap();
        state.let_go(0);
        assert_eq!(held(&state), [hour(1), hour(2), hour(3), hour(6)]);
    }
    for (place, leaf) in &alive {
        let found = keyring.leaf(*place).unwrap().map(|leaf| *leaf.expose());
        assert_eq!(found, Some(*leaf).filter(|_| !places[..3].contains(place)));
    }
}
