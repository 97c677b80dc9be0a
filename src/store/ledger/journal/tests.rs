//! What was appended comes back, whatever is cut or changed behind what was synced; what was synced and is not whole is named.

use proptest::prelude::*;

use super::*;

fn change(key: &[u8], value: &[u8]) -> Change {
    Change { key: key.to_vec(), value: Some(value.to_vec()) }
}

/// The values of all transactions after `position`, each of one change.
fn values(journal: &Journal, position: u64) -> Result<Vec<Vec<u8>>, LedgerError> {
    let mut values = Vec::new();
    journal.replay(position, |changes| {
        values.extend(changes.into_iter().filter_map(|change| change.value));
        Ok(())
    })?;
    Ok(values)
}

fn open(dir: &tempfile::TempDir) -> Journal {
    Journal::open(dir.path().join("journal")).unwrap()
}

/// A journal of these values, synced after `synced` of them.
fn written(dir: &tempfile::TempDir, all: &[Vec<u8>], synced: usize) {
    let journal = open(dir);
    values(&journal, 0).unwrap();
    for (number, value) in all.iter().enumerate() {
        let ticket = journal.append(&[change(b"key", value)]).unwrap();
        if number + 1 == synced {
            journal.sync(ticket).unwrap();
        }
    }
}

/// Where each of these transactions ends in its segment.
fn ends(all: &[Vec<u8>]) -> Vec<usize> {
    let lengths = all.iter().map(|value| HEADER_LEN + 2 + b"key".len() + 4 + value.len());
    lengths
        .scan(0, |end, length| {
            *end += length;
            Some(*end)
        })
        .collect()
}

#[test]
fn every_run_goes_on_where_the_last_one_ended() {
    let dir = tempfile::tempdir().unwrap();
    for run in 0..4_u8 {
        let journal = open(&dir);
        assert_eq!(values(&journal, 0).unwrap(), (0..run).map(|run| vec![run]).collect::<Vec<_>>());
        journal.append(&[change(b"key", &[run])]).unwrap();
        assert_eq!(journal.last(), u64::from(run) + 1);
    }
    let journal = open(&dir);
    assert_eq!(values(&journal, 2).unwrap(), [[2], [3]]);
    journal.append(&[change(b"key", &[4])]).unwrap();
    journal.forget(3).unwrap();
    assert_eq!(journal.segments().unwrap(), [4, 5]);
    assert_eq!(values(&journal, 3).unwrap(), [[3], [4]]);
    assert!(matches!(values(&journal, 2), Err(LedgerError::Damaged(_))), "what is gone is missed");
}

#[test]
fn what_comes_after_the_index_comes_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    assert_eq!(journal.replay(7, |_| Ok(())).unwrap(), 0);
    journal.append(&[change(b"key", b"a")]).unwrap();
    assert_eq!(journal.last(), 8);
}

#[test]
fn a_large_transaction_is_one_and_segments_follow_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let large = vec![7; usize::try_from(SEGMENT_BYTES).unwrap()];
    written(&dir, &[large.clone(), vec![1], large.clone(), vec![2]], 4);
    let journal = open(&dir);
    assert_eq!(values(&journal, 0).unwrap(), [large.clone(), vec![1], large, vec![2]]);
    assert_eq!(journal.segments().unwrap(), [1, 2, 4]);
    fs::remove_file(journal.path(2)).unwrap();
    assert!(matches!(values(&journal, 0), Err(LedgerError::Damaged(_))), "a segment is missing");
}

#[test]
fn what_came_before_an_append_that_failed_is_not_said_to_be_durable() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    values(&journal, 0).unwrap();
    let ticket = journal.append(&[change(b"key", b"a")]).unwrap();
    // A file that cannot be written stands for a disk that is full.
    let file = Arc::new(File::open(journal.path(1)).unwrap());
    let whole = std::mem::replace(&mut journal.tail.lock().segment.as_mut().unwrap().file, file);
    journal.append(&[change(b"key", b"b")]).unwrap_err();
    journal.sync(ticket).unwrap_err();
    // Nor does it go on in a new segment, with the old one not synced.
    journal.append(&[change(b"key", b"c")]).unwrap_err();
    drop(whole);
    assert_eq!(values(&open(&dir), 0).unwrap(), [b"a"]);
}

#[test]
fn nothing_is_taken_after_a_sync_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    values(&journal, 0).unwrap();
    let ticket = journal.append(&[change(b"key", b"a")]).unwrap();
    // Takes all and cannot be synced.
    let file = Arc::new(files::open_rw(std::path::Path::new("/dev/null")).unwrap());
    journal.tail.lock().segment.as_mut().unwrap().file = file;
    journal.sync(ticket).unwrap_err();
    journal.append(&[change(b"key", b"b")]).unwrap_err();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_cut_costs_what_is_behind_it(
        all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        written(&dir, &all, 0);
        let path = open(&dir).path(1);
        let bytes = fs::read(&path).unwrap();
        let cut = cut.index(bytes.len() + 1);
        fs::write(&path, &bytes[..cut]).unwrap();
        let ends = ends(&all);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let journal = open(&dir);
        prop_assert_eq!(values(&journal, 0).unwrap(), &all[..whole]);
        // The next run goes on after what is whole, and what was torn is not in the way.
        journal.append(&[change(b"key", b"next")]).unwrap();
        let again = values(&open(&dir), 0).unwrap();
        prop_assert_eq!(&again[..whole], &all[..whole]);
        prop_assert_eq!(again.last().unwrap(), b"next");
    }

    #[test]
    fn a_flipped_bit_in_what_was_synced_is_damage(
        all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 2..8),
        (synced, at, bit) in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_u8..8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let synced = 1 + synced.index(all.len() - 1);
        written(&dir, &all, synced);
        let path = open(&dir).path(1);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(&path, &bytes).unwrap();
        let ends = ends(&all);
        let hit = ends.iter().filter(|end| **end <= at).count();
        let read = values(&open(&dir), 0);
        if hit < synced {
            // Some frame behind it was written after the sync and says so, unless that one is hit.
            prop_assert!(matches!(read, Err(LedgerError::Damaged(_))));
        } else {
            prop_assert_eq!(read.unwrap(), &all[..hit]);
        }
    }
}
