//! Secrets and plaintext are where they are, and nowhere else.

use idvault::crypto::seal::{PartKey, Plaintext};
use idvault::crypto::secret::Secret;
use idvault::keys::root::Root;

fn copy<T: Clone>() {}

fn main() {
    copy::<Secret>();
    copy::<PartKey>();
    copy::<Plaintext>();
    copy::<Root>();
}
