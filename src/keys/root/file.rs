//! The root in a file of two 4 KiB slots, overwritten in place past the page cache, synced and read back.
//!
//! Where the file system or the medium keeps old blocks (flash translation, copy on write, snapshots) the overwritten
//! bytes may survive below: file systems that do are refused unless that is allowed, what is below them is not seen, and the
//! class of this custody is best effort. A hardware root is the answer.
//!
//! A slot, big-endian: magic `IDVROOT1`, generation (8 bytes), root (32), SHA-256 of all that (32), zeros up to 4096. An
//! empty slot is all zeros; the root of generation *g* stands in slot *g* mod 2.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::medium::{self, Blocks};
use super::{Class, Custody, Evidence, Handle, Root};
use crate::crypto::secret::Secret;
use crate::files::{self, direct::AlignedBuffer, direct::DirectFile};

const MAGIC: [u8; 8] = *b"IDVROOT1";
const SLOT_LEN: usize = 4096;
const SLOTS: [u64; 2] = [0, 1];

/// A cell, as it is configured.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its file.
    pub path: PathBuf,
    /// Whether it may be where old blocks are kept.
    pub allow_copies: bool,
}

/// The cell: one file, two slots.
#[derive(Debug)]
pub struct FileCell {
    file: DirectFile,
    path: PathBuf,
    /// Where it must stay; none where copies are allowed.
    blocks: Option<Blocks>,
}

/// A slot, where direct I/O can have it.
struct Slot(AlignedBuffer);

impl FileCell {
    /// Makes an empty cell.
    ///
    /// # Errors
    /// When the file cannot be made, is there already, or is where old blocks are kept.
    pub fn create(setting: &Setting) -> io::Result<Self> {
        if setting.path.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = files::open_rw(&setting.path)?;
        // Written plainly and synced, so that every block has its place from here on.
        files::write_and_verify(&file, &[0; 2 * SLOT_LEN], 0)?;
        file.sync_all()?;
        files::sync_parent(&setting.path)?;
        Self::with(file, setting)
    }

    /// Opens a cell.
    ///
    /// # Errors
    /// When there is none, or it is where old blocks are kept.
    pub fn open(setting: &Setting) -> io::Result<Self> {
        Self::with(File::options().read(true).write(true).open(&setting.path)?, setting)
    }

    fn with(file: File, setting: &Setting) -> io::Result<Self> {
        let blocks = if setting.allow_copies {
            None
        } else {
            medium::check(&file)?;
            Some(Blocks::of(&file)?)
        };
        Ok(Self { file: DirectFile::new(file)?, path: setting.path.clone(), blocks })
    }

    fn write(&self, slot: u64, bytes: &Slot) -> io::Result<()> {
        self.file.write_all_at(bytes.0.bytes(), offset(slot))?;
        self.file.sync_data()?;
        if let Some(blocks) = &self.blocks {
            blocks.must_be_of(self.file.file())?;
        }
        if self.read(slot)?.0.bytes() == bytes.0.bytes() { Ok(()) } else { Err(files::other_bytes()) }
    }

    /// Reads a slot, past the page cache.
    fn read(&self, slot: u64) -> io::Result<Slot> {
        let mut bytes = Slot::empty();
        files::forget_cached(self.file.file())?;
        self.file.read_exact_at(bytes.0.bytes_mut(), offset(slot))?;
        Ok(bytes)
    }

    fn wipe(&self, slots: impl IntoIterator<Item = u64>) -> io::Result<Evidence> {
        slots.into_iter().try_for_each(|slot| self.write(slot, &Slot::empty()))?;
        Ok(self.describe())
    }
}

impl Custody for FileCell {
    fn describe(&self) -> Evidence {
        let place = match &self.blocks {
            Some(blocks) if blocks.are_known() => "in the same blocks of the medium as before, shared with nothing",
            Some(_) => "on a file system that overwrites in place",
            None => "on a medium that may keep copies, as the configuration allows",
        };
        Evidence {
            custody: "file",
            place: self.path.display().to_string(),
            method: format!("overwritten with zeros {place}, synced, read back past the page cache"),
            class: Class::BestEffort,
        }
    }

    fn make(&mut self, generation: u64) -> io::Result<Root> {
        let key = Secret::random().map_err(io::Error::other)?;
        Ok(Root { handle: Handle { generation, wrapped: Vec::new() }, key })
    }

    fn open(&self, handle: &Handle) -> io::Result<Option<Root>> {
        let root = decode(self.read(slot_of(handle.generation))?.0.bytes());
        Ok(root.filter(|root| root.handle == *handle))
    }

    fn put(&mut self, root: &Root) -> io::Result<()> {
        self.write(slot_of(root.handle.generation), &encode(root))
    }

    fn settle(&mut self, kept: &Handle) -> io::Result<Evidence> {
        self.wipe(SLOTS.into_iter().filter(|slot| *slot != slot_of(kept.generation)))
    }

    fn generations(&self) -> io::Result<Vec<u64>> {
        generations_at(&self.path)
    }

    fn clear(&mut self) -> io::Result<Evidence> {
        self.wipe(SLOTS)
    }
}

impl Slot {
    fn empty() -> Self {
        Self(AlignedBuffer::zeroed(SLOT_LEN))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.bytes_mut().zeroize();
    }
}

/// The roots in the bytes of a cell, newest first. A torn slot holds none.
#[must_use]
pub fn roots_in(cell: &[u8]) -> Vec<Root> {
    let mut roots: Vec<_> = cell.chunks(SLOT_LEN).filter_map(decode).collect();
    roots.sort_by_key(|root| std::cmp::Reverse(root.handle.generation));
    roots
}

/// The generations of the roots in the file at a path; none when there is no file.
pub(super) fn generations_at(path: &Path) -> io::Result<Vec<u64>> {
    match std::fs::read(path).map(Zeroizing::new) {
        Ok(cell) => Ok(roots_in(&cell).iter().map(|root| root.handle.generation).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The cell of a vault that keeps its root in its own directory.
#[must_use]
pub fn in_directory(data_dir: &Path) -> PathBuf {
    data_dir.join("root.cell")
}

fn slot_of(generation: u64) -> u64 {
    generation & 1
}

fn offset(slot: u64) -> u64 {
    slot.saturating_mul(4096)
}

fn encode(root: &Root) -> Slot {
    let mut slot = Slot::empty();
    let digest = Zeroizing::new(digest(root.handle.generation, &root.key));
    let fields = [&MAGIC[..], &root.handle.generation.to_be_bytes(), root.key.expose(), &*digest];
    for (byte, value) in slot.0.bytes_mut().iter_mut().zip(fields.into_iter().flatten()) {
        *byte = *value;
    }
    slot
}

fn decode(slot: &[u8]) -> Option<Root> {
    let (generation, rest) = slot.strip_prefix(&MAGIC)?.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(32)?;
    let (generation, key) = (u64::from_be_bytes(*generation), Secret::from_slice(key)?);
    rest.starts_with(&digest(generation, &key)).then(|| Root { handle: Handle { generation, wrapped: Vec::new() }, key })
}

fn digest(generation: u64, key: &Secret) -> [u8; 32] {
    Sha256::new().chain_update(MAGIC).chain_update(generation.to_be_bytes()).chain_update(key.expose()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(dir: &Path) -> Setting {
        Setting { path: in_directory(dir), allow_copies: true }
    }

    #[test]
    fn the_new_root_stands_beside_the_old_until_settled() {
        let dir = tempfile::tempdir().unwrap();
        let setting = setting(dir.path());
        let mut cell = FileCell::create(&setting).unwrap();
        let (first, second) = (cell.make(1).unwrap(), cell.make(2).unwrap());
        cell.put(&first).unwrap();
        cell.put(&second).unwrap();
        for root in [&first, &second] {
            let opened = FileCell::open(&setting).unwrap().open(&root.handle).unwrap().unwrap();
            assert_eq!(opened.key.expose(), root.key.expose());
        }
        let evidence = cell.settle(&second.handle).unwrap();
        assert_eq!((evidence.custody, evidence.class), ("file", Class::BestEffort));
        assert!(cell.open(&first.handle).unwrap().is_none());
        assert_eq!(cell.open(&second.handle).unwrap().unwrap().key.expose(), second.key.expose());
        let bytes = std::fs::read(&setting.path).unwrap();
        assert_eq!(roots_in(&bytes).len(), 1);
        assert!(!bytes.windows(32).any(|window| window == first.key.expose()), "the old root is still in the file");
        cell.clear().unwrap();
        assert_eq!(std::fs::read(&setting.path).unwrap(), [0; 2 * SLOT_LEN]);
    }

    #[test]
    fn a_torn_slot_holds_no_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = FileCell::create(&setting(dir.path())).unwrap().make(3).unwrap();
        let whole = encode(&root);
        assert!(decode(whole.0.bytes()).is_some());
        for at in [0, 9, 20, 60] {
            let mut torn = whole.0.bytes().to_vec();
            torn[at] ^= 1;
            assert!(decode(&torn).is_none(), "byte {at}");
        }
    }

    #[test]
    fn a_root_of_another_generation_in_the_slot_is_not_the_one_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut cell = FileCell::create(&setting(dir.path())).unwrap();
        let root = cell.make(4).unwrap();
        cell.put(&root).unwrap();
        assert!(cell.open(&Handle { generation: 2, ..root.handle.clone() }).unwrap().is_none());
        assert!(cell.open(&Handle { wrapped: vec![1], ..root.handle }).unwrap().is_none());
    }
}
