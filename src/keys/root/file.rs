//! The root in a file of two 4 KiB slots, overwritten in place, synced and read back.
//!
//! Where the file system or the medium keeps old blocks (flash translation, copy on write, snapshots) the overwritten
//! bytes may survive below: there the class of this custody is best effort, and a hardware root is the answer.
//!
//! A slot, big-endian: magic `IDVROOT1`, generation (8 bytes), root (32), SHA-256 of all that (32), zeros up to 4096. An
//! empty slot is all zeros; the root of generation *g* stands in slot *g* mod 2.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Custody, Root};
use crate::crypto::secret::Secret;
use crate::files;

const MAGIC: [u8; 8] = *b"IDVROOT1";
const SLOT_LEN: usize = 4096;
const SLOTS: [u64; 2] = [0, 1];

/// The cell: one file, two slots.
#[derive(Debug)]
pub struct FileCell {
    file: File,
}

impl FileCell {
    /// Makes an empty cell at `path`.
    ///
    /// # Errors
    /// When the file cannot be made or is there already.
    pub fn create(path: &Path) -> io::Result<Self> {
        if path.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let cell = Self { file: files::open_rw(path)? };
        for slot in SLOTS {
            cell.write(slot, &[0; SLOT_LEN])?;
        }
        files::sync_parent(path)?;
        Ok(cell)
    }

    /// Opens the cell at `path`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::options().read(true).write(true).open(path)? })
    }

    fn write(&self, slot: u64, bytes: &[u8; SLOT_LEN]) -> io::Result<()> {
        files::write_and_verify(&self.file, bytes, offset(slot))
    }
}

impl Custody for FileCell {
    fn roots(&self) -> io::Result<Vec<Root>> {
        let mut cell = Zeroizing::new(Vec::new());
        for slot in SLOTS {
            let mut bytes = Zeroizing::new([0; SLOT_LEN]);
            self.file.read_exact_at(&mut *bytes, offset(slot))?;
            cell.extend_from_slice(&*bytes);
        }
        Ok(roots_in(&cell))
    }

    fn put(&mut self, root: &Root) -> io::Result<()> {
        self.write(slot_of(root.generation), &encode(root))
    }

    fn settle(&mut self, generation: u64) -> io::Result<()> {
        SLOTS.into_iter().filter(|slot| *slot != slot_of(generation)).try_for_each(|slot| self.write(slot, &[0; SLOT_LEN]))
    }
}

/// The roots in the bytes of a cell, newest first. A torn slot holds none.
#[must_use]
pub fn roots_in(cell: &[u8]) -> Vec<Root> {
    let mut roots: Vec<_> = cell.chunks(SLOT_LEN).filter_map(decode).collect();
    roots.sort_by_key(|root| std::cmp::Reverse(root.generation));
    roots
}

fn slot_of(generation: u64) -> u64 {
    generation & 1
}

fn offset(slot: u64) -> u64 {
    slot.saturating_mul(4096)
}

fn encode(root: &Root) -> Zeroizing<[u8; SLOT_LEN]> {
    let mut slot = Zeroizing::new([0; SLOT_LEN]);
    let digest = digest(root.generation, &root.secret);
    let fields = [&MAGIC[..], &root.generation.to_be_bytes(), root.secret.expose(), &digest];
    for (byte, value) in slot.iter_mut().zip(fields.into_iter().flatten()) {
        *byte = *value;
    }
    slot
}

fn decode(slot: &[u8]) -> Option<Root> {
    let (generation, rest) = slot.strip_prefix(&MAGIC)?.split_first_chunk()?;
    let (secret, rest) = rest.split_at_checked(32)?;
    let root = Root { generation: u64::from_be_bytes(*generation), secret: Secret::from_slice(secret)? };
    rest.starts_with(&digest(root.generation, &root.secret)).then_some(root)
}

fn digest(generation: u64, secret: &Secret) -> [u8; 32] {
    Sha256::new().chain_update(MAGIC).chain_update(generation.to_be_bytes()).chain_update(secret.expose()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_root_stands_beside_the_old_until_settled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.cell");
        let mut cell = FileCell::create(&path).unwrap();
        let (first, second) = (Root::fresh(1).unwrap(), Root::fresh(2).unwrap());
        cell.put(&first).unwrap();
        cell.put(&second).unwrap();
        let generations = |cell: &FileCell| cell.roots().unwrap().iter().map(|root| root.generation).collect::<Vec<_>>();
        assert_eq!(generations(&FileCell::open(&path).unwrap()), [2, 1]);
        cell.settle(2).unwrap();
        assert_eq!(generations(&cell), [2]);
        assert_eq!(cell.roots().unwrap()[0].secret.expose(), second.secret.expose());
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(32).any(|window| window == first.secret.expose()), "the old root is still in the file");
    }

    #[test]
    fn a_torn_slot_holds_no_root() {
        let root = Root::fresh(3).unwrap();
        let whole = encode(&root);
        assert!(decode(&*whole).is_some());
        for at in [0, 9, 20, 60] {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            assert!(decode(&*torn).is_none(), "byte {at}");
        }
    }
}
