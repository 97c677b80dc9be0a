//! Cryptography: secrets, sealing, and the checking of signed receipts.
//!
//! Everything that touches a key or a random number is here or in `keys`, behind types that do not print, copy or compare
//! themselves. Algorithms come from well-kept crates; only their composition, each time a published one, is our own.

pub mod aead;
mod json;
pub mod jwk;
pub mod jws;
pub mod key_proof;
pub mod locked;
pub mod random;
pub mod receipt;
pub mod seal;
pub mod secret;
