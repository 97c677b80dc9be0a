//! Keys that can be forgotten: the key tree, the keyring that keeps it on disk, and the one root that opens the keyring.
//!
//! Prior art: puncturable key wrapping (Backendal, Günther, Paterson, ASIACRYPT 2022), file shredding with a puncturable
//! PRF (Holepunch, IEEE S&P 2024) and re-keying the path up to one erasable root (Reardon, Ritzdorf, Basin, Capkun, CCS 2013).

pub mod keyring;
pub mod root;
#[cfg(feature = "sabotage")]
pub mod sabotage;
pub mod tree;

use std::path::{Path, PathBuf};

/// Where the keys of a vault are, beside its own directory.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Where its root is.
    pub root: root::Setting,
    /// Where the keyring is mirrored to.
    pub mirrors: Vec<PathBuf>,
}

impl Setting {
    /// The usual place: a root in a file of the vault's directory, wherever that is, and no mirrors.
    #[must_use]
    pub fn in_directory(data_dir: &Path) -> Self {
        let cell = root::file::Setting { path: root::file::in_directory(data_dir), allow_copies: true };
        Self { root: root::Setting::File(cell), mirrors: Vec::new() }
    }

    /// The directories of the keyring.
    #[must_use]
    pub fn keyring(&self, data_dir: &Path) -> Vec<PathBuf> {
        [data_dir.join("keyring")].into_iter().chain(self.mirrors.iter().cloned()).collect()
    }
}
