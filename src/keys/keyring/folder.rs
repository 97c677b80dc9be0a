//! The keyring's directory and its mirrors: which file is what, and how heads and pages get there and come back. No decisions
//! here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::KeyringError;
use super::format::{self, Head, HourKey, SLOT_LEN, Slot};
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
        let mut slots: Vec<_> = paths.filter_map(|path| slot_in(files::read_medium(&path).ok()?)).collect();
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

    /// The tree in a page, from the first place where it opens.
    ///
    /// # Errors
    /// [`KeyringError::PageDamaged`] when it does not open anywhere.
    pub(super) fn read_page(&self, hour: Hour, generation: u64, key: &Secret) -> Result<Tree, KeyringError> {
        self.copy_of(hour, generation, key)?.1.ok_or(KeyringError::PageDamaged(hour))
    }

    /// A page as it is in the first place where it opens, with its tree; or else a damaged one.
    ///
    /// # Errors
    /// [`KeyringError::PageDamaged`] when there is none.
    pub(super) fn copy_of(&self, hour: Hour, generation: u64, key: &Secret) -> Result<(Vec<u8>, Option<Tree>), KeyringError> {
        let (mut damaged, mut failed) = (None, None);
        for (dir, is_behind) in self.dirs.iter().flat_map(|dir| [(dir, false), (dir, true)]) {
            let path = page(dir, hour, generation);
            match if is_behind { read_behind_head(dir, hour, generation) } else { fs::read(path) } {
                Ok(sealed) => {
                    if let Some(tree) = format::open_page(&sealed, &self.vault, (hour, generation), key) {
                        return Ok((sealed, Some(tree)));
                    }
                    tracing::warn!(dir = %dir.display(), %hour, generation, "a page of the keyring is damaged");
                    damaged = Some(sealed);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => failed = Some(in_dir(dir, &error)),
            }
        }
        match (failed, damaged) {
            (Some(error), _) => Err(error.into()),
            (None, Some(sealed)) => Ok((sealed, None)),
            (None, None) => Err(KeyringError::PageDamaged(hour)),
        }
    }

    fn opens(&self, path: &Path, page: (Hour, u64), key: &Secret) -> bool {
        fs::read(path).is_ok_and(|sealed| format::open_page(&sealed, &self.vault, page, key).is_some())
    }

    /// Has a page be a file in every directory, durable once the directories are synced.
    pub(super) fn put_page(&self, hour: Hour, generation: u64, sealed: &[u8]) -> io::Result<()> {
        let mut lacking = self.dirs.iter().filter(|dir| !page(dir, hour, generation).exists());
        lacking.try_for_each(|dir| write_whole(&page(dir, hour, generation), sealed).map_err(|error| in_dir(dir, &error)))
    }

    /// Makes durable which files there are.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.dirs.iter().try_for_each(|dir| File::open(dir)?.sync_all().map_err(|error| in_dir(dir, &error)))
    }

    /// Makes the slot of the head of a generation and the pages that are not behind it durable in every directory, and reads them
    /// back from the medium.
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

    /// Has this slot and the named pages be in every directory, from where they are, and removes what else there is of pages: of
    /// commits that did not happen, or that a crash left behind. Where the slot is not, a directory was away: of its pages those
    /// are kept that open.
    ///
    /// # Errors
    /// [`KeyringError::PageDamaged`] when one that is named is nowhere.
    pub(super) fn keep(&self, slot: &[u8], generation: u64, named: &[(Hour, u64, &Secret)]) -> Result<(), KeyringError> {
        let has = |dir: &Path| fs::read(head(dir, generation)).is_ok_and(|kept| kept.starts_with(slot));
        for dir in &self.dirs {
            let named: BTreeMap<_, _> = named.iter().map(|named| (page(dir, named.0, named.1), named)).collect();
            let was_away = !has(dir);
            let is_kept = |path: &Path| match named.get(path) {
                Some((hour, written, key)) => !was_away || self.opens(path, (*hour, *written), key),
                None => path.extension().is_none_or(|extension| extension != "page" && extension != "new"),
            };
            for entry in fs::read_dir(dir)? {
                let path = entry?.path();
                if !is_kept(&path) {
                    fs::remove_file(path)?;
                }
            }
        }
        for (hour, written, key) in named {
            if !self.dirs.iter().all(|dir| page(dir, *hour, *written).exists()) {
                self.put_page(*hour, *written, &self.copy_of(*hour, *written, key)?.0)?;
            }
        }
        // Only now: a page may have been behind what is written over.
        self.sync()?;
        for dir in self.dirs.iter().filter(|dir| !has(dir)) {
            tracing::warn!(dir = %dir.display(), "a directory of the keyring was made whole from another");
            write_whole(&head(dir, generation), slot)?;
        }
        Ok(self.sync()?)
    }
}

fn read_behind_head(dir: &Path, hour: Hour, generation: u64) -> io::Result<Vec<u8>> {
    let bytes = fs::read(head(dir, generation))?;
    let slot = Slot::parse(&bytes).filter(|slot| slot.handle.generation == generation);
    let page = slot.and_then(|slot| slot.pages().find(|(of, _)| *of == hour));
    page.map(|(_, sealed)| sealed.to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The bytes of the slot that these begin with.
fn slot_in(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let len = Slot::parse(&bytes)?.len;
    bytes.truncate(len);
    Some(bytes)
}

fn write_in(dir: &Path, generation: u64, pages: &[(Hour, Vec<u8>)], slot: &[u8]) -> io::Result<()> {
    let path = head(dir, generation);
    let has_new_names = !pages.is_empty() || !path.exists();
    let head = files::open_rw(&path)?;
    head.write_all_at(slot, 0)?;
    fill_slot(&head)?;
    let mut written = vec![(head, slot)];
    for (hour, sealed) in pages {
        let file = files::open_rw(&page(dir, *hour, generation))?;
        file.write_all_at(sealed, 0)?;
        written.push((file, sealed));
    }
    for (file, bytes) in written {
        files::sync_and_verify(&file, bytes, 0)?;
    }
    if has_new_names { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Takes all the room of a slot at once, so that no later commit makes the file system look for some.
fn fill_slot(head: &File) -> io::Result<()> {
    let len = head.metadata()?.len();
    let missing = usize::try_from(len).map_or(0, |len| SLOT_LEN.saturating_sub(len));
    if missing > 0 { head.write_all_at(&vec![0; missing], len) } else { Ok(()) }
}

/// Writes a file that has its name only once it is whole on the medium.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let file = files::open_rw(&new)?;
    file.set_len(0)?;
    files::write_and_verify(&file, bytes, 0)?;
    fs::rename(new, path)
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
