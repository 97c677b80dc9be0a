//! A permit is used up by the opening that it allows.

use idvault::crypto::seal::{OpenError, PartKey, Piece, open_part};
use idvault::domain::policy::PartPermit;

fn twice(permit: PartPermit, key: &PartKey, piece: &Piece, sealed: &[u8]) {
    let _first = open_part(permit, key, b"", piece, |_| Ok::<_, OpenError>(sealed.to_vec().into()));
    let _second = open_part(permit, key, b"", piece, |_| Ok::<_, OpenError>(sealed.to_vec().into()));
}

fn main() {}
