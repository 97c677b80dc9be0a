//! The keyring's directory: which file is what, and how heads and pages get there and come back. No decisions here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::KeyringError;
use super::format::{self, Head};
use crate::crypto::secret::Secret;
use crate::domain::ids::{Hour, VaultId};
use crate::files;
use crate::keys::root::Root;
use crate::keys::tree::Tree;

/// The directory of one vault's keyring.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    vault: VaultId,
}

impl Folder {
    /// Of this vault.
    pub(super) fn new(dir: &Path, vault: &VaultId) -> Self {
        Self { dir: dir.to_owned(), vault: vault.clone() }
    }

    /// The vault's id.
    pub(super) fn vault(&self) -> &VaultId {
        &self.vault
    }

    /// The head of this root's generation, if it is there and opens.
    pub(super) fn read_head(&self, root: &Root) -> Option<Head<Secret>> {
        let slot = fs::read(self.head(root.generation)).ok()?;
        format::open_head(&slot, &self.vault, &root.secret).filter(|head| head.generation == root.generation)
    }

    /// The tree in a page.
    ///
    /// # Errors
    /// [`KeyringError::PageDamaged`] when it is not there or does not open.
    pub(super) fn read_page(&self, hour: Hour, generation: u64, key: &Secret) -> Result<Tree, KeyringError> {
        let sealed = match fs::read(self.page(hour, generation)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(KeyringError::PageDamaged(hour)),
            sealed => sealed?,
        };
        format::open_page(&sealed, &self.vault, (hour, generation), key).ok_or(KeyringError::PageDamaged(hour))
    }

    /// Makes the sealed pages and the slot of the head of a generation durable, and reads them back from the medium.
    ///
    /// All are written before the first is synced: a file system that journals takes in what is new of all of them with it.
    pub(super) fn write(&self, generation: u64, pages: &[(Hour, Vec<u8>)], slot: &[u8]) -> io::Result<()> {
        let head = self.head(generation);
        let has_new_names = !pages.is_empty() || !head.exists();
        let named = pages.iter().map(|(hour, page)| (self.page(*hour, generation), page.as_slice()));
        let mut written = Vec::new();
        for (path, bytes) in named.chain([(head, slot)]) {
            let file = files::open_rw(&path)?;
            file.write_all_at(bytes, 0)?;
            written.push((file, bytes));
        }
        for (file, bytes) in written {
            files::sync_and_verify(&file, bytes, 0)?;
        }
        if has_new_names { File::open(&self.dir)?.sync_all() } else { Ok(()) }
    }

    /// Removes a page.
    pub(super) fn remove_page(&self, (hour, generation): (Hour, u64)) -> io::Result<()> {
        fs::remove_file(self.page(hour, generation))
    }

    /// Removes pages that are not named: of commits that did not happen, or that a crash left behind.
    ///
    /// # Errors
    /// [`KeyringError::PageDamaged`] when one that is named is not there.
    pub(super) fn keep_pages(&self, named: impl Iterator<Item = (Hour, u64)>) -> Result<(), KeyringError> {
        let mut missing: BTreeMap<PathBuf, Hour> = named.map(|(hour, generation)| (self.page(hour, generation), hour)).collect();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "page") && missing.remove(&path).is_none() {
                fs::remove_file(path)?;
            }
        }
        missing.into_values().next().map_or(Ok(()), |hour| Err(KeyringError::PageDamaged(hour)))
    }

    fn head(&self, generation: u64) -> PathBuf {
        self.dir.join(format!("head.{}", generation & 1))
    }

    fn page(&self, hour: Hour, generation: u64) -> PathBuf {
        self.dir.join(format!("{hour}-{generation}.page"))
    }
}
