//! The keyring over a real directory: what a start reads, what a commit writes, what may be let go.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::format::Slot;
use super::*;
use crate::keys::Setting;

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
    let keys = Setting::in_directory(dir);
    Keyring::create(&keys.keyring(dir), &vault(), keys.root.create(&vault()).unwrap(), &change(&[])).unwrap()
}

fn open(dir: &Path) -> Result<Keyring, KeyringError> {
    let keys = Setting::in_directory(dir);
    Keyring::open(&keys.keyring(dir), &vault(), keys.root.open(&vault()).unwrap())
}

/// A keyring with two records in each hour, the second of which is shredded, and the leaf of the first. Its pages are behind its
/// head.
fn just_punctured(dir: &Path) -> (Keyring, BTreeMap<Place, [u8; 32]>) {
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

/// The same, its pages in files and nowhere else.
fn punctured(dir: &Path) -> (Keyring, BTreeMap<Place, [u8; 32]>) {
    let (keyring, alive) = just_punctured(dir);
    for _ in 0..2 {
        keyring.tidy_pages().unwrap();
        keyring.commit(&change(&[]), &|_| ()).unwrap();
    }
    (keyring, alive)
}

fn assert_alive(keyring: &Keyring, alive: &BTreeMap<Place, [u8; 32]>) {
    for (place, leaf) in alive {
        assert_eq!(keyring.leaf(*place).unwrap().unwrap().expose(), leaf);
    }
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
    keyring.tidy_pages().unwrap();
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

fn mirrored(dir: &Path) -> Setting {
    Setting { mirrors: vec![dir.join("mirror")], ..Setting::in_directory(dir) }
}

fn open_mirrored(dir: &Path) -> Result<Keyring, KeyringError> {
    let keys = mirrored(dir);
    Keyring::open(&keys.keyring(dir), &vault(), keys.root.open(&vault()).unwrap())
}

/// The digests of the files in a directory of the keyring; of heads the last one, and of its slot what it takes.
fn files(dir: &Path) -> BTreeMap<PathBuf, String> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: BTreeMap<_, _> =
        paths.map(|path| (PathBuf::from(path.file_name().unwrap()), fs::read(path).unwrap())).collect();
    let older = {
        let mut heads: Vec<_> =
            files.iter().filter(|(name, _)| name.starts_with("head.0") || name.starts_with("head.1")).collect();
        heads.sort_by_key(|(_, head)| Slot::parse(head).unwrap().handle.generation);
        heads.into_iter().rev().skip(1).map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    files.retain(|name, _| !older.contains(name));
    for (_, head) in files.iter_mut().filter(|(name, _)| name.starts_with("head.0") || name.starts_with("head.1")) {
        head.truncate(Slot::parse(head).unwrap().len);
    }
    files.into_iter().map(|(name, bytes)| (name, base16ct::lower::encode_string(&Sha256::digest(bytes)))).collect()
}

#[test]
fn a_mirror_holds_the_same_and_stands_in() {
    let dir = tempfile::tempdir().unwrap();
    let (own, mirror) = (dir.path().join("keyring"), dir.path().join("mirror"));
    let (keyring, alive) = punctured(dir.path());
    drop(keyring);
    let keyring = open_mirrored(dir.path()).unwrap();
    assert_eq!(files(&own), files(&mirror), "a new mirror is filled");
    let before: Vec<_> = files(&mirror).into_keys().map(|name| (fs::read(mirror.join(&name)).unwrap(), name)).collect();
    let first = *alive.keys().next().unwrap();
    // The first commit sets serials aside.
    keyring.commit(&change(&[]), &|_| ()).unwrap();
    keyring.commit(&change(&[keyring.draw(first.hour).unwrap().0]), &|_| ()).unwrap();
    keyring.tidy_pages().unwrap();
    assert_eq!(files(&own), files(&mirror), "a commit writes both");
    drop(keyring);

    for (lost, left) in [(&own, &mirror), (&mirror, &own)] {
        fs::remove_dir_all(lost).unwrap();
        assert_alive(&open_mirrored(dir.path()).unwrap(), &alive);
        assert_eq!(files(lost), files(left), "what is lost comes back from the other");
    }
    // One that was away for some commits has nothing that opens, and one with a damaged page is not asked.
    fs::remove_dir_all(&mirror).unwrap();
    fs::create_dir(&mirror).unwrap();
    for (bytes, name) in &before {
        fs::write(mirror.join(name), bytes).unwrap();
    }
    fs::write(page_of(dir.path(), hour(2)), b"noise").unwrap();
    assert_alive(&open_mirrored(dir.path()).unwrap(), &alive);
}

#[test]
fn a_mirror_that_was_away_keeps_only_pages_that_open() {
    let dir = tempfile::tempdir().unwrap();
    let (own, mirror) = (dir.path().join("keyring"), dir.path().join("mirror"));
    drop(punctured(dir.path()));
    drop(open_mirrored(dir.path()).unwrap());
    // What a commit that failed left there, while the next one under the same number did not write it.
    let name = page_of(dir.path(), hour(2)).file_name().unwrap().to_owned();
    fs::write(mirror.join(&name), b"half of a page").unwrap();
    open_mirrored(dir.path()).unwrap().commit(&change(&[]), &|_| ()).unwrap();
    assert_ne!(files(&own), files(&mirror), "it was not away");
    open(dir.path()).unwrap().commit(&change(&[]), &|_| ()).unwrap();
    drop(open_mirrored(dir.path()).unwrap());
    assert_eq!(files(&own), files(&mirror));
}

#[test]
fn who_fails_to_make_room_goes_no_further() {
    let dir = tempfile::tempdir().unwrap();
    let (keyring, _) = just_punctured(dir.path());
    fs::write(dir.path().join(format!("keyring/head.{}", keyring.generation() & 1)), b"noise").unwrap();
    assert!(matches!(keyring.tidy_pages(), Err(KeyringError::PageDamaged(_))));
    assert!(matches!(keyring.commit(&change(&[]), &|_| ()), Err(KeyringError::Closed)));
    assert!(matches!(keyring.tidy_pages(), Err(KeyringError::Closed)));
    assert_eq!(pages(dir.path()).len(), 0);
}

#[test]
fn a_mirror_that_cannot_be_written_closes_the_keyring() {
    let dir = tempfile::tempdir().unwrap();
    let (keyring, _) = punctured(dir.path());
    drop(keyring);
    let keyring = open_mirrored(dir.path()).unwrap();
    fs::remove_dir_all(dir.path().join("mirror")).unwrap();
    let error = keyring.commit(&change(&[]), &|_| ()).unwrap_err();
    assert!(error.to_string().contains("mirror"), "{error}");
    assert!(matches!(keyring.commit(&change(&[]), &|_| ()), Err(KeyringError::Closed)));
}

#[test]
fn a_head_whose_new_page_is_not_there_did_not_happen_while_the_old_root_lives() {
    let dir = tempfile::tempdir().unwrap();
    let (keyring, alive) = punctured(dir.path());
    let generation = keyring.generation();
    let mut custody = Setting::in_directory(dir.path()).root.open(&vault()).unwrap();
    drop(keyring);
    // The next commit, up to its head and no further: its root is durable, its page is not.
    let keys = Setting::in_directory(dir.path());
    let place = *alive.keys().next().unwrap();
    let open = newest(&Folder::new(&keys.keyring(dir.path()), &vault()), custody.as_ref()).unwrap();
    let folder = Folder::new(&keys.keyring(dir.path()), &vault());
    let mut state = State::new(open.head);
    state.forget(&change(&[place]), generation + 1, &folder).unwrap();
    let root = custody.make(generation + 1).unwrap();
    let head = state.head(generation + 1, 7, &change(&[])).unwrap();
    let slot = format::seal_head(&head, &[], &vault(), &root).unwrap().unwrap();
    folder.write(generation + 1, &[], &slot).unwrap();
    custody.put(&root).unwrap();

    let keyring = self::open(dir.path()).unwrap();
    assert_eq!(keyring.generation(), generation);
    assert_eq!(keyring.leaf(place).unwrap().unwrap().expose(), &alive[&place]);
    assert!(custody.open(&root.handle).unwrap().is_none(), "the root of what did not happen is destroyed");
}

#[test]
fn pages_behind_a_head_are_read_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let (keyring, alive) = just_punctured(dir.path());
    keyring.state.lock().let_go(0);
    assert_alive(&keyring, &alive);
    assert_eq!(pages(dir.path()).len(), 0);
    // Nobody has made room: the second commit from here takes the slot, so it gives them files first.
    keyring.commit(&change(&[]), &|_| ()).unwrap();
    assert_eq!(pages(dir.path()).len(), 0);
    keyring.commit(&change(&[]), &|_| ()).unwrap();
    assert_eq!(pages(dir.path()).len(), 6);
    keyring.state.lock().let_go(0);
    assert_alive(&keyring, &alive);
}

#[test]
fn pages_behind_a_head_outlive_a_stop_and_those_nobody_needs_get_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (keyring, mut alive) = just_punctured(dir.path());
    let (place, _) = alive.pop_first().unwrap();
    keyring.commit(&change(&[place]), &|_| ()).unwrap();
    keyring.commit(&Change { over: hour(2), ..change(&[]) }, &|_| ()).unwrap();
    alive.retain(|place, _| place.hour > hour(2));
    keyring.tidy_pages().unwrap();
    assert_eq!(pages(dir.path()).len(), 4, "of what is over, and of what was written again, there is nothing left");
    let place = *alive.keys().next().unwrap();
    keyring.commit(&Change { over: hour(2), ..change(&[place]) }, &|_| ()).unwrap();
    alive.remove(&place);
    drop(keyring);

    fs::write(dir.path().join("keyring/500004-2.new"), b"half of a page that a crash cut short").unwrap();
    let keyring = open(dir.path()).unwrap();
    assert_alive(&keyring, &alive);
    assert!(keyring.leaf(place).unwrap().is_none());
    assert_eq!(pages(dir.path()).len(), 4, "the start gives what is behind heads files, and removes what is old");
    assert!(!dir.path().join("keyring/500004-2.new").exists());
}

#[test]
fn a_damaged_page_behind_a_head_costs_its_hour_only() {
    let dir = tempfile::tempdir().unwrap();
    let (keyring, alive) = just_punctured(dir.path());
    let path = dir.path().join(format!("keyring/head.{}", keyring.generation() & 1));
    drop(keyring);
    let mut slot = fs::read(&path).unwrap();
    let end = Slot::parse(&slot).unwrap().len;
    slot[end - 1] ^= 1;
    fs::write(&path, slot).unwrap();
    let keyring = open(dir.path()).unwrap();
    for (place, leaf) in alive {
        match keyring.leaf(place) {
            Err(KeyringError::PageDamaged(damaged)) => assert_eq!((damaged, place.hour), (hour(HOURS), hour(HOURS))),
            found => assert_eq!(*found.unwrap().unwrap().expose(), leaf),
        }
    }
}

#[test]
fn pages_that_do_not_fit_behind_a_head_are_files_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let keyring = new(dir.path());
    let (mut alive, mut gone) = (BTreeMap::new(), Vec::new());
    // Every second one: a cover of 5,000 nodes of 41 bytes.
    for number in 0..10_000 {
        let (place, leaf) = keyring.draw(hour(1)).unwrap();
        if number % 2 == 0 { alive.extend([(place, *leaf.expose())]) } else { gone.push(place) }
    }
    keyring.commit(&change(&gone), &|_| ()).unwrap();
    assert_eq!(pages(dir.path()).len(), 1);
    drop(keyring);
    assert_alive(&open(dir.path()).unwrap(), &alive);
}

#[test]
fn a_shred_rewrites_one_page() {
    let dir = tempfile::tempdir().unwrap();
    let (keyring, alive) = punctured(dir.path());
    let before = pages(dir.path());
    keyring.commit(&change(&[*alive.keys().next().unwrap()]), &|_| ()).unwrap();
    keyring.tidy_pages().unwrap();
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
