//! Whatever becomes of the index, the ledger is what was acknowledged: against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn rows(ledger: &JournaledLedger) -> Map {
    ledger.scan(&[]).map(|row| row.map(|row| (row.key, row.value)).unwrap()).collect()
}

/// What happens to a ledger.
#[derive(Debug, Clone)]
enum Deed {
    Change(Vec<(u8, Option<u8>)>),
    Checkpoint,
    Dump,
    Reopen,
    LoseIndex,
}

fn deeds() -> impl Strategy<Value = Deed> {
    prop_oneof![
        12 => prop::collection::vec((0_u8..12, any::<Option<u8>>()), 1..5).prop_map(Deed::Change),
        1 => Just(Deed::Checkpoint),
        1 => Just(Deed::Dump),
        1 => Just(Deed::Reopen),
        1 => Just(Deed::LoseIndex),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_ledger_is_a_map(deeds in prop::collection::vec(deeds(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut map = Map::new();
        let mut ledger = JournaledLedger::open(dir.path()).unwrap();
        for deed in deeds {
            match deed {
                Deed::Change(changes) => {
                    let mut transaction = Transaction::default();
                    for (key, value) in changes {
                        let key = vec![b'R', key];
                        if let Some(value) = value {
                            map.insert(key.clone(), vec![value]);
                            transaction.put(key, vec![value]);
                        } else {
                            map.remove(&key);
                            transaction.remove(key);
                        }
                    }
                    ledger.sync(ledger.apply(transaction).unwrap()).unwrap();
                }
                Deed::Checkpoint => ledger.store.checkpoint().unwrap(),
                Deed::Dump => ledger.store.dump(NO_DAY).unwrap(),
                Deed::Reopen => {
                    drop(ledger);
                    ledger = JournaledLedger::open(dir.path()).unwrap();
                }
                Deed::LoseIndex => {
                    drop(ledger);
                    fs::remove_dir_all(dir.path().join("index")).unwrap();
                    if Layout(dir.path()).is_used().unwrap() {
                        prop_assert!(matches!(JournaledLedger::open(dir.path()), Err(LedgerError::Damaged(_))));
                        JournaledLedger::rebuild(dir.path()).unwrap();
                    }
                    ledger = JournaledLedger::open(dir.path()).unwrap();
                }
            }
            prop_assert_eq!(rows(&ledger), map.clone());
        }
    }
}

/// A ledger with one row more with each transaction, and how it was after each.
fn grown(dir: &Path, count: u8) -> JournaledLedger {
    let ledger = JournaledLedger::open(dir).unwrap();
    for number in 0..count {
        let mut transaction = Transaction::default();
        transaction.put(vec![b'R', number], vec![number]);
        ledger.sync(ledger.apply(transaction).unwrap()).unwrap();
    }
    ledger
}

#[test]
fn an_index_that_is_ahead_of_the_journal_is_kept_whole() {
    let dir = tempfile::tempdir().unwrap();
    drop(grown(dir.path(), 5));
    // As power loss may leave it: the index has what the journal lost.
    let segment = dir.path().join("journal/00000000000000000001.journal");
    let bytes = fs::read(&segment).unwrap();
    fs::write(&segment, &bytes[..bytes.len() / 2]).unwrap();
    let ledger = JournaledLedger::open(dir.path()).unwrap();
    assert_eq!(rows(&ledger).len(), 5);
    let mut transaction = Transaction::default();
    transaction.put(b"R9".to_vec(), vec![9]);
    ledger.sync(ledger.apply(transaction).unwrap()).unwrap();
    let before = rows(&ledger);
    drop(ledger);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    JournaledLedger::rebuild(dir.path()).unwrap();
    assert_eq!(rows(&JournaledLedger::open(dir.path()).unwrap()), before);
}

#[test]
fn an_index_gets_what_a_kill_left_out_and_no_more_than_once() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = grown(dir.path(), 5);
    ledger.store.checkpoint().unwrap();
    let mut transaction = Transaction::default();
    transaction.put(b"R1".to_vec(), vec![11]);
    transaction.put(b"R9".to_vec(), vec![9]);
    transaction.remove(b"R2".to_vec());
    ledger.sync(ledger.apply(transaction).unwrap()).unwrap();
    let before = rows(&ledger);
    drop(ledger);
    // Any part of what came after the checkpoint may be missing.
    for missing in 0..8 {
        let index = SledLedger::open(&Layout(dir.path()).index()).unwrap();
        let mut transaction = Transaction::default();
        transaction.put(POSITION.to_vec(), 5_u64.to_be_bytes().to_vec());
        if missing & 1 > 0 {
            transaction.put(b"R1".to_vec(), vec![1]);
        }
        if missing & 2 > 0 {
            transaction.remove(b"R9".to_vec());
        }
        if missing & 4 > 0 {
            transaction.put(b"R2".to_vec(), vec![2]);
        }
        index.apply(transaction).unwrap();
        drop(index);
        assert_eq!(rows(&JournaledLedger::open(dir.path()).unwrap()), before, "{missing}");
    }
}

/// Copies index and journal as they are.
fn copy(from: &Path, to: &Path) {
    for name in ["index", "journal"] {
        fs::create_dir_all(to.join(name)).unwrap();
        for entry in fs::read_dir(from.join(name)).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            fs::copy(entry.path(), to.join(name).join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn an_index_of_which_some_never_reached_the_disk_is_made_anew() {
    const PAGE: usize = 4096;
    let dir = tempfile::tempdir().unwrap();
    let change = |ledger: &JournaledLedger, value: u8| {
        for number in (0..6_000_u32).map(|number| number * 7_919 % 6_000) {
            let mut transaction = Transaction::default();
            transaction.put([b"R", &number.to_be_bytes()[..]].concat(), vec![value; 1_200]);
            ledger.apply(transaction).unwrap();
        }
        ledger.sync(ledger.latest()).unwrap();
    };
    let ledger = JournaledLedger::open(dir.path()).unwrap();
    change(&ledger, 1);
    ledger.store.checkpoint().unwrap();
    drop(ledger);
    let mut ledger = JournaledLedger::open(dir.path()).unwrap();
    let synced = fs::read(dir.path().join("index/db")).unwrap();
    change(&ledger, 2);
    let before = rows(&ledger);
    let made_anew = |running: &[u8]| {
        let image = tempfile::tempdir().unwrap();
        copy(dir.path(), image.path());
        // One page in eight of those that sled wrote since its file was synced never reached the medium.
        let db = image.path().join("index/db");
        let mut pages = fs::read(&db).unwrap();
        for (page, old) in
            pages.chunks_exact_mut(PAGE).zip(synced.chunks_exact(PAGE)).filter(|(page, old)| page != old).step_by(8)
        {
            page.copy_from_slice(old);
        }
        fs::write(&db, pages).unwrap();
        fs::write(image.path().join("running"), running).unwrap();
        JournaledLedger::open(image.path()).is_ok_and(|ledger| rows(&ledger) == before)
    };
    let running = || fs::read(Layout(dir.path()).running()).unwrap();
    assert!(made_anew(b"another boot"), "after power loss");
    assert_eq!(running(), files::boot_id().unwrap(), "after a kill it is believed");
    // Every sync of this device fails, and then the kernel drops what it could not write.
    Arc::get_mut(&mut ledger.store).unwrap().index.file = fs::File::open("/dev/null").unwrap();
    ledger.store.checkpoint().unwrap_err();
    assert!(made_anew(&running()), "after a sync that failed");
    drop(ledger);
    assert!(made_anew(&running()), "after another one, when the vault ended");
}

#[test]
fn an_index_that_may_have_half_of_a_transaction_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = grown(dir.path(), 5);
    let before = rows(&ledger);
    let running = || fs::read(Layout(dir.path()).running()).unwrap();
    ledger.store.fail(&"a read within a transaction");
    assert_eq!(running(), IN_DOUBT, "if it is killed now");
    ledger.store.checkpoint().unwrap_err();
    drop(ledger);
    assert_eq!(running(), IN_DOUBT, "if it ends");
    let index = SledLedger::open(&dir.path().join("index")).unwrap();
    index.apply(vec![Change { key: vec![b'R', 4], value: None }].into()).unwrap();
    drop(index);
    assert_eq!(rows(&JournaledLedger::open(dir.path()).unwrap()), before);
}

#[test]
fn rows_from_before_there_was_a_journal_stay() {
    let dir = tempfile::tempdir().unwrap();
    let first = SledLedger::open(dir.path()).unwrap();
    let mut transaction = Transaction::default();
    transaction.put(b"R1".to_vec(), vec![1]);
    first.sync(first.apply(transaction).unwrap()).unwrap();
    drop(first);
    let ledger = grown(dir.path(), 2);
    assert_eq!(rows(&ledger).len(), 3);
    drop(ledger);
    // Moving the index was cut short.
    fs::rename(dir.path().join("index"), dir.path().join("index.moving")).unwrap();
    fs::rename(dir.path().join("index.moving/conf"), dir.path().join("conf")).unwrap();
    assert_eq!(rows(&JournaledLedger::open(dir.path()).unwrap()).len(), 3);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    JournaledLedger::rebuild(dir.path()).unwrap();
    assert_eq!(rows(&JournaledLedger::open(dir.path()).unwrap()).len(), 3);
}

#[test]
fn an_index_of_which_there_is_neither_dump_nor_journal_stays() {
    let dir = tempfile::tempdir().unwrap();
    let index = SledLedger::open(&dir.path().join("index")).unwrap();
    let mut transaction = Transaction::default();
    transaction.put(b"R1".to_vec(), vec![1]);
    index.sync(index.apply(transaction).unwrap()).unwrap();
    drop(index);
    // As a vault of the first version is when there was no room for its first dump.
    assert!(matches!(JournaledLedger::check(dir.path()), Err(LedgerError::Damaged(_))));
    assert!(matches!(JournaledLedger::rebuild(dir.path()), Err(LedgerError::Damaged(_))));
    assert_eq!(rows(&JournaledLedger::open(dir.path()).unwrap()).len(), 1);
}

#[test]
fn an_index_of_which_the_journal_is_lost_stays() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = grown(dir.path(), 3);
    ledger.store.dump(NO_DAY).unwrap();
    drop(ledger);
    drop(grown(dir.path(), 5));
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    // What came after the dump is in the index alone.
    assert!(matches!(JournaledLedger::rebuild(dir.path()), Err(LedgerError::Damaged(_))));
    assert_eq!(rows(&JournaledLedger::open(dir.path()).unwrap()).len(), 5);
}

#[test]
fn what_an_older_version_left_beside_the_index_is_not_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    drop(grown(dir.path(), 3));
    // The first version opened the vault by mistake, found nothing and refused it.
    drop(SledLedger::open(dir.path()).unwrap());
    assert_eq!(rows(&JournaledLedger::open(dir.path()).unwrap()).len(), 3);
}

#[test]
fn a_dump_that_is_not_whole_is_refused_and_the_index_stays() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = grown(dir.path(), 9);
    ledger.store.dump(NO_DAY).unwrap();
    drop(ledger);
    let path = fs::read_dir(dir.path().join("dump")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&path).unwrap();
    for at in (0..12).chain(16..bytes.len()) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(JournaledLedger::rebuild(dir.path()).is_err(), "byte {at}");
        fs::write(&path, &bytes[..at]).unwrap();
        assert!(JournaledLedger::rebuild(dir.path()).is_err(), "cut at {at}");
    }
    let ledger = JournaledLedger::open(dir.path()).unwrap();
    assert_eq!(rows(&ledger).len(), 9);
    // The next day has a whole one again.
    ledger.keep(1).unwrap();
    ledger.upkeep.lock().worker.take().unwrap().end().unwrap();
    drop(ledger);
    JournaledLedger::rebuild(dir.path()).unwrap();
    assert_eq!(rows(&JournaledLedger::open(dir.path()).unwrap()).len(), 9);
}

#[test]
fn a_dump_is_taken_once_a_day_whenever_the_vault_starts() {
    let dir = tempfile::tempdir().unwrap();
    for (day, taken) in [(7, true), (7, false), (8, true), (8, false)] {
        let ledger = grown(dir.path(), 1);
        ledger.keep(day).unwrap();
        let worker = ledger.upkeep.lock().worker.take();
        assert_eq!(worker.is_some(), taken, "day {day}");
        worker.map_or(Ok(()), Worker::end).unwrap();
        assert_eq!(Dump::newest(&Layout(dir.path()).dumps()).unwrap().unwrap().day, day);
    }
}

#[test]
fn upkeep_lets_segments_go() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = grown(dir.path(), 1);
    for day in [1, 1, 2] {
        for _ in 0..9 {
            let mut transaction = Transaction::default();
            transaction.put(b"large".to_vec(), vec![7; 4 << 20]);
            ledger.sync(ledger.apply(transaction).unwrap()).unwrap();
        }
        ledger.keep(day).unwrap();
        ledger.upkeep.lock().worker.take().unwrap().end().unwrap();
    }
    assert!(ledger.store.journal.count().unwrap() <= 2);
    drop(ledger);
    JournaledLedger::rebuild(dir.path()).unwrap();
    assert_eq!(rows(&JournaledLedger::open(dir.path()).unwrap()).len(), 2);
}

#[test]
fn no_dump_takes_the_last_room_of_a_disk() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = grown(dir.path(), 1);
    // An index of 15 TiB, of which nothing is there.
    files::open_rw(&dir.path().join("index/db")).unwrap().set_len(15 << 40).unwrap();
    for day in [1, 2] {
        ledger.keep(day).unwrap();
        ledger.upkeep.lock().worker.take().unwrap().end().unwrap();
        assert_eq!(Dump::newest(&Layout(dir.path()).dumps()).unwrap(), None);
    }
    ledger.apply(Transaction::default()).unwrap();
}

#[test]
fn a_dump_leaves_the_reserve_that_the_vault_has() {
    for (reserve, taken) in [(1 << 60, false), (0, true)] {
        let dir = tempfile::tempdir().unwrap();
        let ledger = grown(dir.path(), 1).with_reserve(reserve);
        ledger.keep(1).unwrap();
        ledger.upkeep.lock().worker.take().unwrap().end().unwrap();
        assert_eq!(Dump::newest(&Layout(dir.path()).dumps()).unwrap().is_some(), taken);
    }
}

#[test]
fn upkeep_that_panicked_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = grown(dir.path(), 1);
    let panics = std::thread::spawn(|| std::panic::resume_unwind(Box::new("as a bug would")));
    while !panics.is_finished() {
        std::thread::yield_now();
    }
    ledger.upkeep.lock().worker = Some(Worker::with(panics));
    ledger.keep(1).unwrap_err();
    ledger.apply(Transaction::default()).unwrap_err();
}

#[test]
fn upkeep_that_failed_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = grown(dir.path(), 1);
    *ledger.store.failed.lock() = Some("EIO".to_owned());
    ledger.keep(1).unwrap_err();
    ledger.apply(Transaction::default()).unwrap_err();
}
