//! Keys that can be forgotten: the key tree, the keyring that keeps it on disk, and the one root that opens the keyring.
//!
//! Prior art: puncturable key wrapping (Backendal, Günther, Paterson, ASIACRYPT 2022), file shredding with a puncturable
//! PRF (Holepunch, IEEE S&P 2024) and re-keying the path up to one erasable root (Reardon, Ritzdorf, Basin, Capkun, CCS 2013).

pub mod keyring;
pub mod root;
pub mod tree;
