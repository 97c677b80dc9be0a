//! Secrets and plaintext are never printed.

use idvault::crypto::seal::{PartKey, Plaintext};
use idvault::crypto::secret::Secret;
use idvault::keys::root::Root;

fn print<T: std::fmt::Debug>() {}

fn main() {
    print::<Secret>();
    print::<PartKey>();
    print::<Plaintext>();
    print::<Root>();
}
