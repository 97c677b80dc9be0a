//! The root: the one secret on which all others hang, and the only thing that must be erasable.
//!
//! A root seals exactly one keyring head. Replacing it and destroying the old one is what makes a shred final: whoever
//! holds every older head, page, volume and ledger opens nothing with them once the roots that sealed them are gone.

pub mod file;

use std::io;

use crate::crypto::random::RandomError;
use crate::crypto::secret::Secret;

/// A root, with the generation of the head that it seals.
#[expect(missing_debug_implementations, reason = "a secret has no Debug")]
pub struct Root {
    /// Which head it seals.
    pub generation: u64,
    /// The secret.
    pub secret: Secret,
}

impl Root {
    /// A fresh root for the head of this generation.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn fresh(generation: u64) -> Result<Self, RandomError> {
        Ok(Self { generation, secret: Secret::random()? })
    }
}

/// Keeps roots where they can be destroyed.
///
/// A commit calls [`Custody::put`], after which old and new stand side by side, then [`Custody::settle`]. A start after a
/// crash finds one or both with [`Custody::roots`] and settles on the one whose head it opened.
pub trait Custody: Send {
    /// Every root that the cell holds, newest first.
    ///
    /// # Errors
    /// When the cell cannot be read.
    fn roots(&self) -> io::Result<Vec<Root>>;

    /// Makes a new root durable beside the current one. When this returns, the commit has happened.
    ///
    /// # Errors
    /// When the cell cannot be written; whether it was is found out at the next start.
    fn put(&mut self, root: &Root) -> io::Result<()>;

    /// Destroys every root but that of `generation`, and makes sure of it.
    ///
    /// # Errors
    /// When a root may still be there.
    fn settle(&mut self, generation: u64) -> io::Result<()>;
}
