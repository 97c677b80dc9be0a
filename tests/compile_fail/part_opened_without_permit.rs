//! A part's key alone opens nothing: neither without a permit, nor as if the part were something else.

use idvault::crypto::seal::{PartKey, open, open_part};

fn without(key: &PartKey, sealed: &[u8]) {
    let _part = open_part(key, b"", sealed);
    let _other = open(key, b"", sealed);
    let _secret = &key.secret;
}

fn main() {}
