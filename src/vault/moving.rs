//! Moving the root of a vault that is stopped to another custody.
//!
//! The steps, in this order, with a crash allowed between any two:
//!
//! 1. A file says that the root is being moved, and where to: from here on the vault is not served.
//! 2. The vault is opened as by a start, and commits under a root of the new custody: the head that this writes opens with no root of
//!    the old one.
//! 3. Every root of the old custody is destroyed.
//! 4. The file is removed. The configuration names the new custody from then on.
//!
//! Done again after a crash it goes on: where the newest head opens with the new custody, with step 3; else anew.

use std::path::PathBuf;
use std::{fs, io};

use super::Vault;
use super::recover::{Blueprint, Layout, OpenError, custody_of};
use super::shred::change;
use crate::domain::ids::VaultId;
use crate::files;
use crate::keys;
use crate::keys::keyring::Keyring;
use crate::keys::root::{Evidence, Setting};
use crate::store::ledger::Transaction;

impl Blueprint {
    /// Moves the root of the vault, which must not be running, from the custody of the blueprint to another. Returns what the old
    /// custody says of the destruction of its roots.
    ///
    /// # Errors
    /// When the vault does not open, a custody fails, or the new one holds roots. What was begun is finished by doing it again.
    pub fn move_root(self, to: &Setting) -> Result<Evidence, OpenError> {
        let layout = Layout(self.data_dir.clone());
        layout.must_be_whole()?;
        layout.must_have(&self.keys)?;
        let (id, keys) = (self.id.clone(), self.keys.clone());
        let is_moved = match layout.moving_to()? {
            Some(begun) if begun != to.name() => return Err(OpenError::MovingElsewhere(begun)),
            Some(_) => {
                let _lock = layout.lock()?;
                is_newer(&layout, &id, &keys, to)
            }
            None => {
                let _lock = layout.lock()?;
                custody_of(to.must_be_free(&id, false))?;
                layout.reading(files::replace(&layout.moving(), to.name().as_bytes()))?;
                false
            }
        };
        if !is_moved {
            self.open_while_moving()?.commit_to(to)?;
        }
        let _lock = layout.lock()?;
        let evidence = custody_of(keys.root.open(&id).and_then(|mut old| old.clear()))?;
        layout.reading(fs::remove_file(layout.moving()))?;
        layout.reading(files::sync_parent(&layout.moving()))?;
        Ok(evidence)
    }
}

impl Vault {
    /// Step 2.
    fn commit_to(&self, to: &Setting) -> Result<(), OpenError> {
        let custody = custody_of(to.create(&self.id))?;
        self.keyring.commit_to(custody, &change(&self.clock, self.book.durable(), &[]))?;
        Ok(self.see_keyring(Transaction::default())?)
    }
}

/// Whether the newest head that opens at all opens with the new custody.
fn is_newer(layout: &Layout, id: &VaultId, keys: &keys::Setting, to: &Setting) -> bool {
    let generation = |root: &Setting| {
        let custody = root.open(id).ok()?;
        Keyring::generation_in(&keys.keyring(&layout.0), id, custody.as_ref()).ok()
    };
    generation(to).is_some_and(|to| generation(&keys.root).is_none_or(|from| from < to))
}

impl Layout {
    /// There while the root is being moved; says to which custody.
    fn moving(&self) -> PathBuf {
        self.0.join("moving")
    }

    /// To which custody the root is being moved, if it is.
    fn moving_to(&self) -> Result<Option<String>, OpenError> {
        match fs::read_to_string(self.moving()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => self.reading(read).map(Some),
        }
    }

    /// Refuses a vault whose root is being moved.
    pub(super) fn must_not_be_moving(&self) -> Result<(), OpenError> {
        match self.moving_to()? {
            Some(to) => Err(OpenError::Moving { path: self.0.clone(), to }),
            None => Ok(()),
        }
    }
}
