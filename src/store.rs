//! What is on disk: the ledger of small rows and the volumes of sealed parts.
//!
//! Everything that comes here is sealed already. The store never sees plaintext or a key.

pub mod backup;
pub mod group;
pub mod ledger;
pub mod schema;
pub mod volume;
