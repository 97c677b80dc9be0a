//! The volume that is being appended to: where it ends, and when it takes no more.
//!
//! An append is one write. A write or sync that fails closes the volume for this run: what the range holds is unknown, and the
//! kernel may have dropped what it could not write. Nothing is written there again; the next append makes another volume.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::appending::Appending;
use super::frame::{self, FrameHeader};
use super::{VolumeError, volume_path};
use crate::domain::record::Extent;
use crate::files;
use crate::files::direct::{AlignedBuffer, DirectFile};
use crate::store::group::{Group, Ticket};

/// A volume that reached this many bytes is followed by a new one.
const ROLL_AT: u64 = 4 << 30;

/// A volume that is being appended to.
#[derive(Debug)]
pub(super) struct Volume {
    number: u32,
    file: DirectFile,
    tail: Mutex<Tail>,
    group: Group,
}

/// Where the next frame goes.
#[derive(Debug, Clone, Default)]
struct Tail {
    offset: u64,
    sequence: u64,
    synced_upto: u64,
    /// A write or sync has failed.
    is_closed: bool,
}

impl Volume {
    /// A new volume after those already in `dir`, its name durable.
    pub(super) fn create(dir: &Path) -> Result<Self, VolumeError> {
        files::make_dir(dir)?;
        let mut number = 0_u32;
        for entry in fs::read_dir(dir)? {
            let taken = entry?.path().file_stem().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0_u32);
            number = number.max(taken);
        }
        let number = number.saturating_add(1);
        let path = volume_path(dir, number);
        let file = DirectFile::new(files::open_rw(&path)?)?;
        files::sync_parent(&path)?;
        Ok(Self { number, file, tail: Mutex::default(), group: Group::default() })
    }

    /// Appends frames, unless the volume takes no more: then nothing is done and the answer is false.
    pub(super) fn append(self: &Arc<Self>, appending: &mut Appending, frames: &[(u8, Vec<u8>)]) -> Result<bool, VolumeError> {
        let place = appending.place();
        let mut tail = self.tail.lock();
        if tail.is_closed || tail.offset >= ROLL_AT {
            return Ok(false);
        }
        let mut next = tail.clone();
        let mut bytes = AlignedBuffer::with_capacity(frame::length_of_all(frames));
        let mut extents = Vec::with_capacity(frames.len());
        for (part, payload) in frames {
            let header =
                FrameHeader { place, volume: self.number, part: *part, sequence: next.sequence, synced_upto: next.synced_upto };
            header.add_frame(payload, bytes.end());
            extents.push((*part, Extent { volume: self.number, offset: next.offset, length: in_file(payload.len()) }));
            next.offset = next.offset.saturating_add(in_file(frame::length(payload.len())));
            next.sequence = next.sequence.saturating_add(1);
        }
        if let Err(error) = self.file.write_all_at(bytes.bytes(), tail.offset) {
            tail.is_closed = true;
            return Err(error.into());
        }
        *tail = next;
        drop(tail);
        for (part, extent) in extents {
            appending.add(part, extent);
        }
        appending.touched(Arc::clone(self), self.group.wrote());
        Ok(true)
    }

    /// Returns once the write of `ticket` is durable.
    pub(super) fn make_durable(&self, ticket: Ticket) -> Result<(), VolumeError> {
        let sync = || {
            let end = self.tail.lock().offset;
            let synced = self.file.sync_data();
            let mut tail = self.tail.lock();
            match synced {
                Ok(()) => tail.synced_upto = end,
                Err(_) => tail.is_closed = true,
            }
            synced
        };
        self.group.make_durable(ticket, sync).map_err(VolumeError::Disk)
    }
}

/// A length in memory as one in a file.
fn in_file(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::Volumes;
    use super::*;
    use crate::domain::ids::{Hour, Place, Serial};

    const PLACE: Place = Place { hour: Hour::new(1).unwrap(), serial: Serial::new(9).unwrap() };

    /// Volumes of which this hour's is the file at `path`.
    fn volumes_on(path: &str) -> (tempfile::TempDir, Volumes) {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(dir.path().join("volumes"), 0).unwrap();
        let file = DirectFile::new(fs::OpenOptions::new().write(true).open(path).unwrap()).unwrap();
        let volume = Volume { number: 77, file, tail: Mutex::default(), group: Group::default() };
        volumes.current.lock().volumes.insert(PLACE.hour, Arc::new(volume));
        (dir, volumes)
    }

    /// Appends a part to another volume than the failed one, and reads it back.
    fn append_elsewhere(volumes: &Volumes) {
        let mut appending = Appending::new(PLACE);
        for _ in 0..2 {
            volumes.append(&mut appending, &[(3, vec![7; frame::MAX_PAYLOAD])]).unwrap();
        }
        appending.sync().unwrap();
        let extents = appending.extents(3);
        assert_eq!(extents.iter().map(|extent| extent.volume).collect::<Vec<_>>(), [1], "one new volume, and it is kept");
        assert_eq!(volumes.read(PLACE, 3, &extents).unwrap().as_ref(), vec![7; 2 * frame::MAX_PAYLOAD]);
    }

    #[test]
    fn a_volume_is_left_after_a_failed_write() {
        // Every write to this device fails with ENOSPC.
        let (_dir, volumes) = volumes_on("/dev/full");
        let mut appending = Appending::new(PLACE);
        assert!(matches!(volumes.append(&mut appending, &[(3, vec![7; 99])]), Err(VolumeError::Full)));
        assert_eq!(appending.extents(3), [], "nothing names what failed");
        append_elsewhere(&volumes);
    }

    #[test]
    fn a_volume_is_left_after_a_failed_sync_and_all_who_waited_fail() {
        // Every write to this device succeeds, and no sync.
        let (_dir, volumes) = volumes_on("/dev/null");
        let (mut one, mut other) = (Appending::new(PLACE), Appending::new(PLACE));
        volumes.append(&mut one, &[(1, vec![7; 99])]).unwrap();
        volumes.append(&mut other, &[(2, vec![7; 99])]).unwrap();
        for waiting in [&one, &other, &one] {
            assert!(matches!(waiting.sync(), Err(VolumeError::Disk(_))));
        }
        append_elsewhere(&volumes);
    }
}
