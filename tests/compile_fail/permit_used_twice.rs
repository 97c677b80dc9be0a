//! A permit is used up by the opening that it allows.

use idvault::crypto::seal::{PartKey, open_part};
use idvault::domain::policy::PartPermit;

fn twice(permit: PartPermit, key: &PartKey, sealed: &[u8]) {
    let _first = open_part(permit, key, b"", sealed);
    let _second = open_part(permit, key, b"", sealed);
}

fn main() {}
