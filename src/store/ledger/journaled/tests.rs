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
                Deed::Checkpoint => ledger.store.checkpoint().and_then(|()| ledger.store.index.compact()).unwrap(),
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

/// Copies what is on disk of a ledger, as a kill leaves it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Waits for all upkeep that was begun.
fn upkept(ledger: &JournaledLedger) {
    let Upkeep { checkpoints, dumps, .. } = std::mem::take(&mut *ledger.upkeep.lock());
    checkpoints.map_or(Ok(()), Worker::end).unwrap();
    dumps.map_or(Ok(()), Worker::end).unwrap();
}

fn one(key: &[u8], value: Option<&[u8]>) -> Transaction {
    let mut transaction = Transaction::default();
    match value {
        Some(value) => transaction.put(key.to_vec(), value.to_vec()),
        None => transaction.remove(key.to_vec()),
    }
    transaction
}

#[test]
fn an_index_gets_what_a_kill_left_out() {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ledger = grown(dir.path(), 5);
    ledger.store.checkpoint().unwrap();
    ledger.apply(one(b"R9", Some(&[9]))).unwrap();
    // Sealed as for a checkpoint that is never finished.
    ledger.store.index.seal();
    ledger.apply(one(&[b'R', 2], None)).unwrap();
    ledger.sync(ledger.apply(one(&[b'R', 1], Some(&[11]))).unwrap()).unwrap();
    let before = rows(&ledger);
    copy(dir.path(), image.path());
    assert_eq!(rows(&JournaledLedger::open(image.path()).unwrap()), before);
    // What the start gave it is durable: no journal is needed for it any more.
    let index = Index::open(&Layout(image.path()).index()).unwrap();
    assert_eq!(position_of(&index).unwrap(), 8);
    assert_eq!(index.scan(b"R").count(), before.len());
}

#[test]
fn readers_see_a_transaction_whole_and_a_scan_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = grown(dir.path(), 5);
    let both = |value: u8| {
        let mut transaction = one(b"Ra", Some(&[value]));
        transaction.put(b"Rb".to_vec(), vec![value]);
        transaction
    };
    ledger.apply(both(0)).unwrap();
    let scan = ledger.scan(b"R");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for value in 0..200 {
                ledger.apply(both(value)).unwrap();
                if value % 50 == 0 {
                    ledger.store.checkpoint().unwrap();
                }
            }
        });
        for _ in 0..200 {
            let values: Vec<_> = ledger.scan_after(b"R", b"R\x09").map(|row| row.unwrap().value).collect();
            assert_eq!(values.first(), values.last());
            assert_eq!(values.len(), 2);
        }
    });
    assert_eq!(scan.map(Result::unwrap).last().unwrap().value, [0], "as it was when the scan began");
}

#[test]
fn damage_of_the_index_is_said_and_never_passed_over() {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ledger = grown(dir.path(), 200);
    let before = rows(&ledger);
    drop(ledger);
    copy(dir.path(), image.path());
    let tables = image.path().join("index/tables");
    let table = fs::read_dir(tables).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&table).unwrap();
    let mut found = 0;
    for at in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(&table, changed).unwrap();
        let index = Index::open(&Layout(image.path()).index());
        let read: Result<Map, _> =
            index.and_then(|index| index.scan(b"R").map(|row| row.map(|row| (row.key, row.value))).collect());
        match read {
            Ok(read) => assert_eq!(read, before, "byte {at}"),
            Err(_) => found += 1,
        }
    }
    assert!(found > 0, "some of it matters");
    JournaledLedger::rebuild(image.path()).unwrap();
    assert_eq!(rows(&JournaledLedger::open(image.path()).unwrap()), before);
}

#[test]
fn what_the_journal_may_have_lost_never_reaches_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = grown(dir.path(), 5);
    let before = rows(&ledger);
    ledger.store.fail(&"a sync of the journal");
    ledger.apply(one(b"R9", Some(&[9]))).unwrap_err();
    ledger.store.index.apply(vec![Change { key: vec![b'R', 4], value: None }]);
    drop(ledger);
    assert_eq!(rows(&JournaledLedger::open(dir.path()).unwrap()), before);
}

/// An index as earlier versions had it.
fn earlier_index(dir: &Path, changes: &[(&[u8], &[u8])]) {
    let db = ::sled::Config::new().path(dir).segment_size(4 << 20).open().unwrap();
    for (key, value) in changes {
        db.insert(key, *value).unwrap();
    }
    db.flush().unwrap();
}

#[test]
fn an_index_of_an_earlier_version_gets_its_new_form() {
    let grow = |dir: &Path| {
        drop(grown(dir, 5));
        let index = Layout(dir).index();
        fs::remove_dir_all(&index).unwrap();
        // Two rows that a start must take from the journal, and one that is not in it.
        earlier_index(&index, &[(POSITION, &3_u64.to_be_bytes()), (&[b'R', 0], &[0]), (&[b'R', 1], &[1]), (&[b'R', 2], &[22])]);
    };
    let values = |dir: &Path| rows(&JournaledLedger::open(dir).unwrap()).into_values().flatten().collect::<Vec<_>>();
    let closed = tempfile::tempdir().unwrap();
    grow(closed.path());
    assert_eq!(values(closed.path()), [0, 1, 22, 3, 4], "it is believed");
    assert!(!closed.path().join("index/db").exists());
    let killed = tempfile::tempdir().unwrap();
    grow(killed.path());
    fs::write(Layout(killed.path()).running(), files::boot_id().unwrap()).unwrap();
    assert_eq!(values(killed.path()), [0, 1, 22, 3, 4], "also after a kill");
    assert!(!Layout(killed.path()).running().exists());
    let down = tempfile::tempdir().unwrap();
    grow(down.path());
    fs::write(Layout(down.path()).running(), b"another boot").unwrap();
    assert_eq!(values(down.path()), [0, 1, 2, 3, 4], "after power loss it is made anew");
    let doubted = tempfile::tempdir().unwrap();
    grow(doubted.path());
    fs::write(Layout(doubted.path()).running(), b"").unwrap();
    // Cut short when the new one was half made.
    fs::create_dir_all(Layout(doubted.path()).draft().join("tables")).unwrap();
    assert_eq!(values(doubted.path()), [0, 1, 2, 3, 4], "after a sync that failed");
}

#[test]
fn rows_from_before_there_was_a_journal_stay() {
    let dir = tempfile::tempdir().unwrap();
    earlier_index(dir.path(), &[(b"R1", &[1])]);
    // It is moved to its place first, and that was cut short.
    fs::create_dir(dir.path().join("index.moving")).unwrap();
    fs::rename(dir.path().join("db"), dir.path().join("index.moving/db")).unwrap();
    let ledger = grown(dir.path(), 2);
    assert_eq!(rows(&ledger).len(), 3);
    drop(ledger);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    JournaledLedger::rebuild(dir.path()).unwrap();
    assert_eq!(rows(&JournaledLedger::open(dir.path()).unwrap()).len(), 3);
}

#[test]
fn an_index_of_which_there_is_neither_dump_nor_journal_stays() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(&Layout(dir.path()).index()).unwrap();
    index.apply(one(b"R1", Some(&[1])).into_changes());
    index.seal();
    index.flush().unwrap();
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
    earlier_index(dir.path(), &[]);
    earlier_index(&Layout(dir.path()).index(), &[]);
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
    upkept(&ledger);
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
        let worker = ledger.upkeep.lock().dumps.take();
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
        upkept(&ledger);
    }
    assert!(ledger.store.journal.count().unwrap() <= 2);
    drop(ledger);
    JournaledLedger::rebuild(dir.path()).unwrap();
    assert_eq!(rows(&JournaledLedger::open(dir.path()).unwrap()).len(), 2);
}

#[test]
fn a_dump_leaves_the_reserve_that_the_vault_has() {
    for (reserve, taken) in [(1 << 60, false), (0, true)] {
        let dir = tempfile::tempdir().unwrap();
        let ledger = grown(dir.path(), 1).with_reserve(reserve);
        ledger.keep(1).unwrap();
        upkept(&ledger);
        assert_eq!(Dump::newest(&Layout(dir.path()).dumps()).unwrap().is_some(), taken);
    }
}

#[test]
fn files_of_the_index_are_merged_only_where_there_is_room_for_it() {
    let files = |reserve| {
        let dir = tempfile::tempdir().unwrap();
        let ledger = JournaledLedger::open(dir.path()).unwrap();
        for value in 0..8 {
            ledger.apply(one(b"R1", Some(&[value]))).unwrap();
            ledger.store.keep_up(reserve).unwrap();
        }
        assert_eq!(rows(&ledger).len(), 1);
        fs::read_dir(dir.path().join("index/tables")).unwrap().count()
    };
    assert_eq!(files(1 << 60), 8);
    assert!(files(0) < 8);
}

#[test]
fn upkeep_that_panicked_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = grown(dir.path(), 1);
    let panics = std::thread::spawn(|| std::panic::resume_unwind(Box::new("as a bug would")));
    while !panics.is_finished() {
        std::thread::yield_now();
    }
    ledger.upkeep.lock().dumps = Some(Worker::with(panics));
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
