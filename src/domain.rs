//! The rules of the vault, pure: no IO, no async, no clock, no serialisation framework.
//!
//! Everything here is a value or a function of values, so that what decides over a person's data can be read, tested
//! exhaustively and argued about without running anything.

pub mod attributes;
pub mod category;
pub mod consent;
pub mod context;
pub mod ids;
pub mod job;
pub mod media;
pub mod metadata;
pub mod order;
pub mod policy;
pub mod purpose;
pub mod receipt;
pub mod record;
pub mod retention;
pub mod shredding;
pub mod tenant;
pub mod trigger;
