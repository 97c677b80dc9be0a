//! A part's key alone opens nothing: neither without a permit, nor as if the part were something else.

use idvault::crypto::seal::{OpenError, PartKey, Piece, open, open_part};

fn without(key: &PartKey, piece: &Piece, sealed: &[u8]) {
    let _part = open_part(key, b"", piece, |_| Ok::<_, OpenError>(sealed.to_vec().into()));
    let _other = open(key, b"", sealed);
    let _secret = &key.secret;
}

fn main() {}
