//! What the vault says to others, signed: certificates of destruction. Nothing here decides or stores anything.

pub mod certificate;
pub mod merkle;
pub mod note;
