//! Which head a start goes on from.

use super::KeyringError;
use super::folder::Folder;
use super::format::{Head, Slot};
use crate::crypto::secret::Secret;
use crate::keys::root::{Custody, Handle};

/// A head that opened.
pub(super) struct Opened {
    /// How its root is found.
    pub(super) handle: Handle,
    /// What is in it.
    pub(super) head: Head<Secret>,
    /// Its bytes on the medium.
    pub(super) slot: Vec<u8>,
}

/// The newest head that opens and whose pages are whole: of a commit that a crash cut short, a page may be missing. Where none is
/// whole, the newest that opens. Changes nothing.
///
/// # Errors
/// When no head opens, or the custody fails.
pub(super) fn newest(folder: &Folder, custody: &dyn Custody) -> Result<Opened, KeyringError> {
    let mut damaged = None;
    for bytes in folder.slots() {
        let Some(slot) = Slot::parse(&bytes) else { continue };
        let Some(root) = custody.open(&slot.handle).map_err(KeyringError::Custody)? else { continue };
        let Some(head) = slot.open(folder.vault(), &root) else { continue };
        let is_whole = folder.is_whole(&head);
        let opened = Opened { handle: root.handle, head, slot: bytes };
        if is_whole {
            return Ok(opened);
        }
        damaged = damaged.or(Some(opened));
    }
    damaged.ok_or(KeyringError::NotOpened)
}
