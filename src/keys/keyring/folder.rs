//! The keyring's directory and its mirrors: which file is what, and how heads and pages get there and come back. No decisions
//! here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::KeyringError;
use super::format::{self, Head, HourKey, Slot};
use crate::crypto::secret::Secret;
use crate::domain::ids::{Hour, VaultId};
use crate::files;
use crate::keys::tree::Tree;

/// The directories of one vault's keyring, all with the same in them.
#[derive(Debug)]
pub(super) struct Folder {
    dirs: Vec<PathBuf>,
    vault: VaultId,
}

impl Folder {
    /// Of this vault.
    pub(super) fn new(dirs: &[PathBuf], vault: &VaultId) -> Self {
        Self { dirs: dirs.to_vec(), vault: vault.clone() }
    }

    /// The vault's id.
    pub(super) fn vault(&self) -> &VaultId {
        &self.vault
    }

    /// Makes the directories that are not there.
    pub(super) fn make(&self) -> io::Result<()> {
        self.dirs.iter().try_for_each(|dir| files::make_dir(dir).map_err(|error| in_dir(dir, &error)))
    }

    /// Every head slot that can be read from the medium, newest first.
    pub(super) fn slots(&self) -> Vec<Vec<u8>> {
        let paths = self.dirs.iter().flat_map(|dir| [0, 1].map(|generation| head(dir, generation)));
        let mut slots: Vec<_> = paths.filter_map(|path| files::read_medium(&path).ok()).collect();
        slots.sort_by_cached_key(|slot| std::cmp::Reverse(Slot::parse(slot).map(|slot| slot.handle.generation)));
        slots.dedup();
        slots
    }

    /// Whether the pages that were written with a head are there and open.
    pub(super) fn is_whole(&self, head: &Head<Secret>) -> bool {
        head.hours.iter().all(|(hour, key)| match key {
            HourKey::Page { generation, key } if *generation == head.generation => {
                self.read_page(*hour, *generation, key).is_ok()
            }
            HourKey::Page { .. } | HourKey::Seed(_) => true,
        })
    }

    /// The tree in a page, from the first directory where it opens.
    ///
    /// # Errors
    /// [`KeyringError::PageDamaged`] when it does not open anywhere.
    pub(super) fn read_page(&self, hour: Hour, generation: u64, key: &Secret) -> Result<Tree, KeyringError> {
        let mut failed = None;
        for dir in &self.dirs {
            match fs::read(page(dir, hour, generation)) {
                Ok(sealed) => {
                    if let Some(tree) = format::open_page(&sealed, &self.vault, (hour, generation), key) {
                        return Ok(tree);
                    }
                    tracing::warn!(dir = %dir.display(), %hour, generation, "a page of the keyring is damaged");
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => failed = Some(in_dir(dir, &error)),
            }
        }
        Err(failed.map_or(KeyringError::PageDamaged(hour), KeyringError::Disk))
    }

    /// Makes the sealed pages and the slot of the head of a generation durable in every directory, and reads them back from the
    /// medium.
    ///
    /// All are written before the first is synced: a file system that journals takes in what is new of all of them with it.
    pub(super) fn write(&self, generation: u64, pages: &[(Hour, Vec<u8>)], slot: &[u8]) -> io::Result<()> {
        let write = |dir: &PathBuf| write_in(dir, generation, pages, slot).map_err(|error| in_dir(dir, &error));
        self.dirs.iter().try_for_each(write)
    }

    /// Removes a page.
    pub(super) fn remove_page(&self, (hour, generation): (Hour, u64)) -> io::Result<()> {
        self.dirs.iter().try_for_each(|dir| fs::remove_file(page(dir, hour, generation)))
    }

    /// Has this slot and the named pages be in every directory, from where they are, and removes pages that are not named: of
    /// commits that did not happen, or that a crash left behind.
    ///
    /// # Errors
    /// [`KeyringError::PageDamaged`] when one that is named is nowhere.
    pub(super) fn keep(&self, slot: &[u8], generation: u64, named: &[(Hour, u64)]) -> Result<(), KeyringError> {
        for dir in &self.dirs {
            let mut missing: BTreeMap<_, _> = named.iter().map(|(hour, written)| (page(dir, *hour, *written), *hour)).collect();
            for entry in fs::read_dir(dir)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "page") && missing.remove(&path).is_none() {
                    fs::remove_file(path)?;
                }
            }
            for (path, hour) in &missing {
                let name = path.file_name().unwrap_or_default();
                let found = self.dirs.iter().find_map(|other| fs::read(other.join(name)).ok());
                write_durably(path, &found.ok_or(KeyringError::PageDamaged(*hour))?)?;
            }
            let head = head(dir, generation);
            let is_kept = fs::read(&head).is_ok_and(|kept| kept == slot);
            if !is_kept {
                write_durably(&head, slot)?;
            }
            if !is_kept || !missing.is_empty() {
                tracing::warn!(dir = %dir.display(), pages = missing.len(), "a directory of the keyring was made whole from another");
                File::open(dir)?.sync_all()?;
            }
        }
        Ok(())
    }
}

fn write_in(dir: &Path, generation: u64, pages: &[(Hour, Vec<u8>)], slot: &[u8]) -> io::Result<()> {
    let head = head(dir, generation);
    let has_new_names = !pages.is_empty() || !head.exists();
    let named = pages.iter().map(|(hour, sealed)| (page(dir, *hour, generation), sealed.as_slice()));
    let mut written = Vec::new();
    for (path, bytes) in named.chain([(head, slot)]) {
        let file = files::open_rw(&path)?;
        file.write_all_at(bytes, 0)?;
        written.push((file, bytes));
    }
    for (file, bytes) in written {
        files::sync_and_verify(&file, bytes, 0)?;
    }
    if has_new_names { File::open(dir)?.sync_all() } else { Ok(()) }
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = files::open_rw(path)?;
    file.set_len(0)?;
    files::write_and_verify(&file, bytes, 0)
}

fn in_dir(dir: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", dir.display()))
}

fn head(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("head.{}", generation & 1))
}

fn page(dir: &Path, hour: Hour, generation: u64) -> PathBuf {
    dir.join(format!("{hour}-{generation}.page"))
}
