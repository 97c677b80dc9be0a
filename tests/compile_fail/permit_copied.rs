//! A permit is for one opening: it cannot be copied and come twice that way.

use idvault::domain::policy::{PartPermit, ReleasePermit};

fn copy<T: Clone>(permit: &T) -> T {
    permit.clone()
}

fn twice(part: &PartPermit, record: &ReleasePermit) -> (PartPermit, ReleasePermit) {
    (copy(part), copy(record))
}

fn main() {}
