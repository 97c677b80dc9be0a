//! The journal: every transaction of the ledger, in synced files of our own, before the index knows of it.
//!
//! A segment is a file of frames, one for each transaction, one behind the other, named by the sequence of its first transaction. All
//! numbers are big-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | magic `IVJ1` |
//! | 4..8 | CRC-32C of bytes 8 to the end of the changes |
//! | 8..16 | sequence: the number of the transaction, each one more than the one before |
//! | 16..24 | up to which sequence the journal was known to be durable |
//! | 24..28 | length of the changes |
//! | 28.. | the changes (`ledger/changes.rs`) |
//!
//! A frame that does not hold, and is not below the durable sequence of one behind it, was never acknowledged: a torn tail. The
//! next run leaves it behind and begins a new segment. Otherwise it is damage, and refused by name.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::changes;
use super::{Change, LedgerError};
use crate::files;
use crate::store::group::{Group, Ticket};

const MAGIC: [u8; 4] = *b"IVJ1";
const HEADER_LEN: usize = 28;
/// A segment that has so many bytes is followed by a new one.
const SEGMENT_BYTES: u64 = 16 << 20;

/// The journal of a ledger.
#[derive(Debug)]
pub(super) struct Journal {
    dir: PathBuf,
    tail: Mutex<Tail>,
    group: Group,
    /// The last sequence that is known to be durable.
    durable: AtomicU64,
}

/// Where the next transaction goes.
#[derive(Debug)]
struct Tail {
    /// Its sequence.
    next: u64,
    segment: Option<Segment>,
    /// Bytes appended since the journal was opened.
    appended: u64,
    /// Whether an append or a sync failed. What came before it may be in a segment that cannot be synced any more, so nothing is
    /// taken and nothing is said to be durable after that.
    failed: bool,
}

/// The segment that is being written.
#[derive(Debug)]
struct Segment {
    file: Arc<File>,
    offset: u64,
}

impl Journal {
    /// The journal in the directory `dir`, made if absent. [`Journal::replay`] comes before the first [`Journal::append`].
    pub(super) fn open(dir: PathBuf) -> io::Result<Self> {
        files::make_dir(&dir)?;
        let tail = Tail { next: 1, segment: None, appended: 0, failed: false };
        Ok(Self { dir, tail: Mutex::new(tail), group: Group::default(), durable: AtomicU64::new(0) })
    }

    /// Gives every transaction after `position`, in their order. What is appended from now on comes after them and after `position`.
    /// Returns the sequence of the last.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] when one of them is not whole, although it was acknowledged, or is missing.
    pub(super) fn replay(
        &self,
        position: u64,
        mut each: impl FnMut(Vec<Change>) -> Result<(), LedgerError>,
    ) -> Result<u64, LedgerError> {
        let firsts = self.segments()?;
        let begin = firsts.partition_point(|first| *first <= position.saturating_add(1)).saturating_sub(1);
        let mut next = firsts.get(begin).copied().unwrap_or(1);
        if next > position.saturating_add(1) {
            return Err(LedgerError::Damaged(format!("the journal begins with transaction {next}")));
        }
        for first in firsts.iter().skip(begin) {
            if *first != next {
                return Err(LedgerError::Damaged(format!("the journal has no whole transaction {next}")));
            }
            let segment = files::read_medium(&self.path(*first))?;
            let mut rest = segment.as_slice();
            while let Some((changes, behind)) = read_frame(rest, next) {
                if next > position {
                    each(changes)?;
                }
                (rest, next) = (behind, next.saturating_add(1));
            }
            if durable_behind(rest) >= next {
                return Err(LedgerError::Damaged(format!("the journal has no whole transaction {next}")));
            }
        }
        let mut tail = self.tail.lock();
        tail.next = next.max(position.saturating_add(1));
        self.durable.store(tail.next.saturating_sub(1), Ordering::Release);
        Ok(next.saturating_sub(1))
    }

    /// Appends a transaction: readable after a crash of the process at once, after one of the machine when [`Journal::sync`]
    /// returns for its ticket.
    pub(super) fn append(&self, changes: &[Change]) -> io::Result<Ticket> {
        let mut frame = vec![0; HEADER_LEN];
        changes::encode(changes, &mut frame);
        let mut tail = self.tail.lock();
        tail.check()?;
        // Until all is done.
        tail.failed = true;
        seal(&mut frame, tail.next, self.durable.load(Ordering::Acquire));
        let length = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        let segment = match tail.segment.take() {
            Some(segment) if segment.offset < SEGMENT_BYTES => segment,
            full => {
                // What is behind in a segment must not be missing before.
                full.map_or(Ok(()), |full| full.file.sync_data())?;
                self.begin_segment(tail.next)?
            }
        };
        segment.file.write_all_at(&frame, segment.offset)?;
        tail.segment = Some(Segment { offset: segment.offset.saturating_add(length), ..segment });
        tail.appended = tail.appended.saturating_add(length);
        tail.next = tail.next.saturating_add(1);
        tail.failed = false;
        Ok(self.group.wrote())
    }

    /// The ticket of the latest transaction.
    pub(super) fn latest(&self) -> Ticket {
        self.group.latest()
    }

    /// The sequence of the latest transaction.
    pub(super) fn last(&self) -> u64 {
        self.tail.lock().next.saturating_sub(1)
    }

    /// The sequence of the last transaction that is known to be durable.
    pub(super) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// How many bytes were appended since it was opened.
    pub(super) fn appended(&self) -> u64 {
        self.tail.lock().appended
    }

    /// Returns once everything up to `ticket` is durable.
    pub(super) fn sync(&self, ticket: Ticket) -> io::Result<()> {
        self.group.make_durable(ticket, || {
            let tail = self.tail.lock();
            tail.check()?;
            let (last, file) = (tail.next.saturating_sub(1), tail.segment.as_ref().map(|segment| Arc::clone(&segment.file)));
            drop(tail);
            file.map_or(Ok(()), |file| file.sync_data()).inspect_err(|_| self.tail.lock().failed = true)?;
            self.durable.fetch_max(last, Ordering::AcqRel);
            Ok(())
        })
    }

    /// How many segments there are.
    pub(super) fn count(&self) -> io::Result<usize> {
        self.segments().map(|segments| segments.len())
    }

    /// Deletes segments that hold nothing after `position`.
    pub(super) fn forget(&self, position: u64) -> io::Result<()> {
        let firsts = self.segments()?;
        for (first, next) in firsts.iter().zip(firsts.iter().skip(1)) {
            if *next <= position.saturating_add(1) {
                fs::remove_file(self.path(*first))?;
            }
        }
        Ok(())
    }

    /// The sequences with which segments begin, ascending.
    pub(super) fn segments(&self) -> io::Result<Vec<u64>> {
        let mut firsts = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            firsts.extend(name.to_str().and_then(|name| name.strip_suffix(".journal")?.parse::<u64>().ok()));
        }
        firsts.sort_unstable();
        Ok(firsts)
    }

    /// A new segment, its name durable.
    fn begin_segment(&self, first: u64) -> io::Result<Segment> {
        let path = self.path(first);
        let file = files::open_rw(&path)?;
        // What a run that crashed before its first sync left under this name.
        file.set_len(0)?;
        files::sync_parent(&path)?;
        Ok(Segment { file: Arc::new(file), offset: 0 })
    }

    fn path(&self, first: u64) -> PathBuf {
        self.dir.join(format!("{first:020}.journal"))
    }
}

impl Tail {
    fn check(&self) -> io::Result<()> {
        if self.failed { Err(io::Error::other("an earlier write of the journal failed")) } else { Ok(()) }
    }
}

/// Fills in the header of a frame that has its changes.
fn seal(frame: &mut [u8], sequence: u64, durable: u64) {
    let length = u32::try_from(frame.len().saturating_sub(HEADER_LEN)).unwrap_or(u32::MAX);
    let rest = [&sequence.to_be_bytes()[..], &durable.to_be_bytes(), &length.to_be_bytes()].concat();
    if let Some(field) = frame.get_mut(8..HEADER_LEN) {
        field.copy_from_slice(&rest);
    }
    let crc = crc32c::crc32c(frame.get(8..).unwrap_or_default());
    if let Some(field) = frame.get_mut(..8) {
        field.copy_from_slice(&[MAGIC, crc.to_be_bytes()].concat());
    }
}

/// A whole frame at the beginning of `bytes`: sequence, durable sequence, changes, and what is behind it.
fn split_frame(bytes: &[u8]) -> Option<(u64, u64, &[u8], &[u8])> {
    let (header, _) = bytes.split_first_chunk::<HEADER_LEN>()?;
    let [magic @ .., c0, c1, c2, c3] = header.first_chunk::<8>()?;
    let crc = u32::from_be_bytes([*c0, *c1, *c2, *c3]);
    let number = |at: usize| Some(u64::from_be_bytes(*header.get(at..)?.first_chunk()?));
    let length = u32::from_be_bytes(*header.last_chunk()?);
    let end = HEADER_LEN.checked_add(usize::try_from(length).ok()?)?;
    let (frame, behind) = bytes.split_at_checked(end)?;
    let (head, changes) = frame.split_at_checked(HEADER_LEN)?;
    let whole = *magic == MAGIC && crc == crc32c::crc32c_append(crc32c::crc32c(head.get(8..)?), changes);
    whole.then_some((number(8)?, number(16)?, changes, behind))
}

/// The transaction `next` at the beginning of `bytes`, if it is there and whole, and what is behind it.
fn read_frame(bytes: &[u8], next: u64) -> Option<(Vec<Change>, &[u8])> {
    let (sequence, _, changes, behind) = split_frame(bytes)?;
    let changes = changes::decode(changes).filter(|_| sequence == next)?;
    Some((changes, behind))
}

/// Up to which sequence some whole frame in `bytes`, wherever it begins, says that the journal was durable.
fn durable_behind(bytes: &[u8]) -> u64 {
    let mut durable = 0;
    for (at, _) in bytes.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC) {
        if let Some((_, upto, ..)) = bytes.get(at..).and_then(split_frame) {
            durable = durable.max(upto);
        }
    }
    durable
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests;
