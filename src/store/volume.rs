//! Volumes: append-only files of sealed parts, a folder for each hour of expiry.
//!
//! A part is a run of frames; a frame is at most 1 MiB, starts on a multiple of 4 KiB and carries a CRC-32C, so that
//! damage is found before decryption and costs only what it hits. Frames become part of the vault when a ledger row names
//! them; what no row names is dead weight until the hour dies. When an hour is shredded its folder is deleted: space
//! returns at once and nothing is ever compacted. A volume that an earlier run wrote is never appended to.

mod active;
mod appending;

mod frame;
mod layout;
mod room;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

pub use crate::files::direct::{AlignedBuffer, DirectFile};
use active::Volume;
pub use appending::Appending;
pub use frame::MAX_PAYLOAD;
use room::Room;

use crate::domain::ids::{Hour, Place};
use crate::domain::record::Extent;
use crate::files;

/// Bytes that uploads usually leave free, so that what shreds, and what the ledger and the clock write, never meets a full disk.
pub const RESERVE: u64 = 64 << 20;
/// More than any sealed part has: 64 MiB and what sealing adds.
const MAX_SEALED_BYTES: usize = 65 << 20;
/// How many volumes are kept open for appending, and how many for reading: files in use stay open beyond that.
const MAX_OPEN: usize = 128;
/// How many frames one read fetches at most: each takes 1 MiB of memory meanwhile.
const FRAMES_AT_ONCE: usize = 4;

/// Why a part cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The hour and its volumes are gone.
    #[error("the volume is gone")]
    Gone,
    /// The frames are not what was written; the rest of the volume may well be.
    #[error("damaged frame: {0}")]
    Damaged(&'static str),
    /// The disk is full; nothing was kept.
    #[error("no space is left for sealed data")]
    Full,
    /// The disk failed.
    #[error("the volume's disk: {0}")]
    Disk(io::Error),
}

impl From<io::Error> for VolumeError {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            Self::Full
        } else if kind == io::ErrorKind::NotFound {
            Self::Gone
        } else {
            Self::Disk(error)
        }
    }
}

/// All volumes of a vault.
#[derive(Debug)]
pub struct Volumes {
    dir: PathBuf,
    room: Room,
    current: Mutex<Current>,
    /// Volumes opened for reading.
    readers: Mutex<HashMap<(Hour, u32), Arc<DirectFile>>>,
}

/// What is appended to.
#[derive(Debug, Default)]
struct Current {
    /// The volume that each hour's parts are appended to in this run.
    volumes: BTreeMap<Hour, Arc<Volume>>,
    /// The latest hour that was deleted.
    gone: Option<Hour>,
}

/// Sealed bytes that were read.
#[derive(Debug)]
pub enum SealedBytes {
    /// They are this much of a frame, where it was read to.
    Frame(AlignedBuffer, Range<usize>),
    /// Those of several frames, or a small piece of one.
    Joined(Vec<u8>),
}

impl SealedBytes {
    /// The buffer that they are in, and where in it.
    #[must_use]
    pub fn into_buffer(self) -> (Vec<u8>, Range<usize>) {
        match self {
            Self::Frame(buffer, range) => buffer.into_buffer(range),
            Self::Joined(bytes) => {
                let length = bytes.len();
                (bytes, 0..length)
            }
        }
    }
}

impl AsRef<[u8]> for SealedBytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Frame(buffer, range) => buffer.bytes().get(range.clone()).unwrap_or_default(),
            Self::Joined(bytes) => bytes,
        }
    }
}

impl Volumes {
    /// The volumes below the directory `dir`, made if absent, which leave so many bytes of the disk free.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(dir: PathBuf, reserve: u64) -> Result<Self, VolumeError> {
        files::make_dir(&dir)?;
        Ok(Self { dir, room: Room::new(reserve), current: Mutex::default(), readers: Mutex::default() })
    }

    /// Appends frames, each a piece of a sealed part after the part's number: [`MAX_PAYLOAD`] bytes, the last piece of a part
    /// at most as many. They are not durable yet.
    ///
    /// # Errors
    /// [`VolumeError::Full`] when there is no space, [`VolumeError::Gone`] when the hour was deleted; no row must then name what
    /// was appended.
    pub fn append(&self, appending: &mut Appending, frames: &[(u8, Vec<u8>)]) -> Result<(), VolumeError> {
        let wanted = u64::try_from(frame::length_of_all(frames)).unwrap_or(u64::MAX);
        let _promise = self.room.promise(wanted, || {
            let disk = rustix::fs::statvfs(&self.dir)?;
            Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
        })?;
        let hour = appending.place().hour;
        let mut volume = self.volume_for(hour, None)?;
        while !volume.append(appending, frames)? {
            volume = self.volume_for(hour, Some(&volume))?;
        }
        Ok(())
    }

    /// Reads back the sealed bytes of one part.
    ///
    /// # Errors
    /// [`VolumeError::Gone`] when the hour is gone, [`VolumeError::Damaged`] when the frames are not this part's.
    pub fn read(&self, place: Place, part: u8, extents: &[Extent]) -> Result<SealedBytes, VolumeError> {
        let length = extents.iter().map(|extent| extent.length).fold(0, u64::saturating_add);
        self.read_range(place, part, extents, 0..length)
    }

    /// Reads back those of one part's sealed bytes that are in `range`, or as many of them as there are.
    ///
    /// # Errors
    /// As [`Volumes::read`].
    pub fn read_range(&self, place: Place, part: u8, extents: &[Extent], range: Range<u64>) -> Result<SealedBytes, VolumeError> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).ok().filter(|length| *length <= MAX_SEALED_BYTES);
        let length = length.ok_or(VolumeError::Damaged("a length beyond all parts"))?;
        let frames: Vec<_> = layout::frames_with(extents, range).collect();
        let mut sealed = Vec::with_capacity(if frames.len() > 1 { length } else { 0 });
        let runs = frames.chunk_by(|(one, _), (next, _)| one.is_before(next));
        for run in runs.flat_map(|run| run.chunks(FRAMES_AT_ONCE)) {
            let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else { continue };
            let file = self.reader(place.hour, first.volume)?;
            let full = frame::length(MAX_PAYLOAD);
            let before_last = full.saturating_mul(run.len().saturating_sub(1));
            let mut bytes = AlignedBuffer::zeroed(before_last.saturating_add(frame::length(last.length)));
            // A sector that cannot be read is damage too: it costs this part and never the vault.
            let read = file.read_exact_at(bytes.bytes_mut(), first.offset);
            read.map_err(|_| VolumeError::Damaged("the frame cannot be read"))?;
            for ((located, wanted), frame) in run.iter().zip(bytes.bytes().chunks(full)) {
                let frame = frame.get(..frame::HEADER_LEN.saturating_add(located.length)).unwrap_or_default();
                let payload = frame::payload(frame, place, located.volume, part)?;
                if frames.len() > 1 {
                    sealed.extend_from_slice(payload.get(wanted.clone()).unwrap_or_default());
                }
            }
            if let [(_, wanted)] = frames.as_slice() {
                let place = |at: usize| frame::HEADER_LEN.saturating_add(at);
                let range = place(wanted.start)..place(wanted.end);
                // A small piece of a frame does not keep all of it in memory.
                if range.len() < bytes.bytes().len() / 2 {
                    return Ok(SealedBytes::Joined(bytes.bytes().get(range).unwrap_or_default().to_vec()));
                }
                return Ok(SealedBytes::Frame(bytes, range));
            }
        }
        Ok(SealedBytes::Joined(sealed))
    }

    /// Deletes the volumes of an hour. Hours end in their order: nothing is appended to it or to one before it from then on.
    ///
    /// # Errors
    /// When the disk fails; an hour without volumes is no error.
    pub fn delete_hour(&self, hour: Hour) -> Result<(), VolumeError> {
        let mut current = self.current.lock();
        // Volumes are made under the same lock, so none can come into the folder while it is removed.
        current.gone = current.gone.max(Some(hour));
        current.volumes.remove(&hour);
        drop(current);
        let dir = self.hour_dir(hour);
        let removed = fs::remove_dir_all(&dir);
        // Only now, since a file that somebody still opened before would keep its space.
        self.readers.lock().retain(|(of, _), _| *of != hour);
        match removed {
            Ok(()) => Ok(files::sync_parent(&dir)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(VolumeError::Disk(error)),
        }
    }

    /// The hours that have volumes.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn hours(&self) -> Result<Vec<Hour>, VolumeError> {
        let mut hours = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            hours.extend(entry?.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Hour::new));
        }
        Ok(hours)
    }

    fn hour_dir(&self, hour: Hour) -> PathBuf {
        self.dir.join(hour.to_string())
    }

    /// The volume that parts of `hour` are appended to: this run's, or a new one if that is `full`.
    fn volume_for(&self, hour: Hour, full: Option<&Arc<Volume>>) -> Result<Arc<Volume>, VolumeError> {
        let mut current = self.current.lock();
        if current.gone >= Some(hour) {
            return Err(VolumeError::Gone);
        }
        if let Some(volume) = current.volumes.get(&hour)
            && !full.is_some_and(|full| Arc::ptr_eq(full, volume))
        {
            return Ok(Arc::clone(volume));
        }
        let volume = Arc::new(Volume::create(&self.hour_dir(hour))?);
        if current.volumes.len() >= MAX_OPEN {
            current.volumes.pop_first();
        }
        current.volumes.insert(hour, Arc::clone(&volume));
        Ok(volume)
    }

    fn reader(&self, hour: Hour, number: u32) -> Result<Arc<DirectFile>, VolumeError> {
        let mut readers = self.readers.lock();
        if let Some(file) = readers.get(&(hour, number)) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(DirectFile::new(File::open(volume_path(&self.hour_dir(hour), number))?)?);
        if readers.len() >= MAX_OPEN {
            readers.clear();
        }
        readers.insert((hour, number), Arc::clone(&file));
        Ok(file)
    }
}

fn volume_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number}.vol"))
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use super::*;
    use crate::domain::ids::Serial;
    use proptest::prelude::*;
    use std::sync::Barrier;
    use std::thread;

    fn place(hour: u32, serial: u64) -> Place {
        Place { hour: Hour::new(hour).unwrap(), serial: Serial::new(serial).unwrap() }
    }

    fn volumes() -> (tempfile::TempDir, Volumes) {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(dir.path().join("volumes"), 0).unwrap();
        (dir, volumes)
    }

    /// Appends parts, each cut into frames.
    fn append(volumes: &Volumes, place: Place, parts: &[(u8, &[u8])]) -> Appending {
        let mut appending = Appending::new(place);
        for (part, sealed) in parts {
            let frames: Vec<_> = sealed.chunks(MAX_PAYLOAD).map(|payload| (*part, payload.to_vec())).collect();
            volumes.append(&mut appending, &frames).unwrap();
        }
        appending.sync().unwrap();
        appending
    }

    #[test]
    fn parts_of_every_length_come_back() {
        let (_dir, volumes) = volumes();
        let lengths = [1, 100, 4032, 4033, MAX_PAYLOAD, MAX_PAYLOAD + 1, 3 * MAX_PAYLOAD];
        let parts: Vec<_> = lengths.iter().map(|length| vec![u8::try_from(length % 251).unwrap(); *length]).collect();
        let numbered: Vec<_> = (0..).zip(parts.iter().map(Vec::as_slice)).collect();
        let appended = append(&volumes, place(1, 9), &numbered);
        for (number, part) in numbered {
            let extents = appended.extents(number);
            assert_eq!(extents.len(), 1, "frames that lie together have one extent");
            assert_eq!(volumes.read(place(1, 9), number, &extents).unwrap().as_ref(), part);
        }
    }

    #[test]
    fn parts_that_arrive_together_lie_in_pieces() {
        let (_dir, volumes) = volumes();
        let (mut one, mut other) = (Appending::new(place(1, 9)), Appending::new(place(1, 10)));
        let frame = |mark: u8, length: usize| (mark, vec![mark; length]);
        for turn in 0..4 {
            volumes.append(&mut one, &[frame(1, MAX_PAYLOAD), frame(1, MAX_PAYLOAD)]).unwrap();
            volumes.append(&mut other, &[frame(2, if turn == 3 { 7 } else { MAX_PAYLOAD })]).unwrap();
        }
        volumes.append(&mut one, &[frame(1, 9), frame(3, 5)]).unwrap();
        one.sync().unwrap();
        other.sync().unwrap();
        assert_eq!((one.extents(1).len(), other.extents(2).len(), one.extents(3).len()), (5, 4, 1));
        assert_eq!(volumes.read(place(1, 9), 1, &one.extents(1)).unwrap().as_ref(), vec![1; 8 * MAX_PAYLOAD + 9]);
        assert_eq!(volumes.read(place(1, 10), 2, &other.extents(2)).unwrap().as_ref(), vec![2; 3 * MAX_PAYLOAD + 7]);
        assert_eq!(volumes.read(place(1, 9), 3, &one.extents(3)).unwrap().as_ref(), [3; 5]);
        assert!(matches!(volumes.read(place(1, 9), 1, &other.extents(2)), Err(VolumeError::Damaged(_))));
    }

    #[test]
    fn a_range_costs_only_the_frames_that_it_is_in() {
        let (dir, volumes) = volumes();
        let sealed: Vec<_> = (0_u8..251).cycle().take(3 * MAX_PAYLOAD + 5).collect();
        let appended = append(&volumes, place(1, 9), &[(0, &sealed)]);
        let path = dir.path().join("volumes/1/1.vol");
        let mut bytes = fs::read(&path).unwrap();
        bytes[(1 << 20) + 100] ^= 1;
        fs::write(&path, bytes).unwrap();
        let read = |from: usize, to: usize| {
            let range = u64::try_from(from).unwrap()..u64::try_from(to).unwrap();
            volumes.read_range(place(1, 9), 0, &appended.extents(0), range)
        };
        for (from, to) in [(0, 56), (7, MAX_PAYLOAD), (2 * MAX_PAYLOAD, sealed.len()), (3 * MAX_PAYLOAD - 1, 3 * MAX_PAYLOAD + 1)]
        {
            assert_eq!(read(from, to).unwrap().as_ref(), &sealed[from..to]);
        }
        assert_eq!(read(3 * MAX_PAYLOAD, 4 * MAX_PAYLOAD).unwrap().as_ref(), &sealed[3 * MAX_PAYLOAD..], "no more than there is");
        for (from, to) in [(MAX_PAYLOAD - 1, MAX_PAYLOAD + 1), (2 * MAX_PAYLOAD - 1, 2 * MAX_PAYLOAD)] {
            assert!(matches!(read(from, to), Err(VolumeError::Damaged(_))));
        }
    }

    #[test]
    fn frames_of_another_record_or_part_are_refused() {
        let (_dir, volumes) = volumes();
        let appended = append(&volumes, place(1, 9), &[(3, b"sealed")]);
        let extent = &appended.extents(3);
        for (wrong, part) in [(place(1, 8), 3), (place(1, 9), 4)] {
            assert!(matches!(volumes.read(wrong, part, extent), Err(VolumeError::Damaged(_))));
        }
    }

    #[test]
    fn a_deleted_hour_is_gone_and_others_stay() {
        let (_dir, volumes) = volumes();
        let gone = append(&volumes, place(1, 1), &[(0, b"a")]);
        let stays = append(&volumes, place(2, 2), &[(0, b"b")]);
        volumes.read(place(1, 1), 0, &gone.extents(0)).unwrap();
        volumes.delete_hour(place(1, 1).hour).unwrap();
        assert!(matches!(volumes.read(place(1, 1), 0, &gone.extents(0)), Err(VolumeError::Gone)));
        assert_eq!(volumes.read(place(2, 2), 0, &stays.extents(0)).unwrap().as_ref(), b"b");
        assert_eq!(volumes.hours().unwrap(), [place(2, 2).hour]);
    }

    #[test]
    fn an_hour_goes_while_others_append_to_it() {
        let (dir, volumes) = volumes();
        for hour in 1..40 {
            let start = Barrier::new(4);
            let append = |serial| {
                start.wait();
                // Without their volume kept, each append makes one, which is when a folder fills while it goes.
                loop {
                    volumes.current.lock().volumes.clear();
                    match volumes.append(&mut Appending::new(place(hour, serial)), &[(0, vec![7; 99])]) {
                        Ok(()) => {}
                        Err(VolumeError::Gone) => return,
                        Err(error) => panic!("{error}"),
                    }
                }
            };
            thread::scope(|scope| {
                (1..4).for_each(|serial| drop(scope.spawn(move || append(serial))));
                start.wait();
                volumes.delete_hour(place(hour, 0).hour).unwrap();
            });
            assert!(!dir.path().join("volumes").join(hour.to_string()).exists());
        }
        assert_eq!(volumes.hours().unwrap(), []);
        append(&volumes, place(40, 1), &[(0, b"an hour that is not over")]);
    }

    #[test]
    fn a_small_piece_does_not_keep_its_frame() {
        let (_dir, volumes) = volumes();
        let appended = append(&volumes, place(1, 1), &[(0, &vec![7; 500_000])]);
        for (range, kept) in [(0..500_000, 500_000), (10..300_000, 500_000), (10..100_000, 100_000)] {
            let (buffer, at) = volumes.read_range(place(1, 1), 0, &appended.extents(0), range.clone()).unwrap().into_buffer();
            assert_eq!(buffer[at], vec![7; usize::try_from(range.end - range.start).unwrap()]);
            assert!((kept - 10..kept + 10_000).contains(&buffer.capacity()), "{}", buffer.capacity());
        }
    }

    #[test]
    fn another_run_appends_to_another_volume() {
        let (dir, volumes) = volumes();
        let first = append(&volumes, place(1, 1), &[(0, b"first")]);
        let again = Volumes::open(dir.path().join("volumes"), 0).unwrap();
        let second = append(&again, place(1, 2), &[(0, b"second")]);
        assert_eq!((first.extents(0)[0].volume, second.extents(0)[0].volume), (1, 2));
        assert_eq!(again.read(place(1, 1), 0, &first.extents(0)).unwrap().as_ref(), b"first");
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_damage(length in 1_usize..9000, at: prop::sample::Index, bit in 0_u8..8) {
            let (dir, volumes) = volumes();
            let appended = append(&volumes, place(1, 9), &[(0, &vec![7; length])]);
            let path = dir.path().join("volumes/1/1.vol");
            let mut bytes = fs::read(&path).unwrap();
            bytes[at.index(frame::HEADER_LEN + length)] ^= 1 << bit;
            fs::write(&path, bytes).unwrap();
            prop_assert!(matches!(volumes.read(place(1, 9), 0, &appended.extents(0)), Err(VolumeError::Damaged(_))));
        }
    }
}
