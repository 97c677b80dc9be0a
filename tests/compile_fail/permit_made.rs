//! Only `policy::decide` makes permits: nobody else can fill in their fields.

use idvault::domain::category::CategorySet;
use idvault::domain::ids::{JobId, Place};
use idvault::domain::policy::{PartPermit, ReleasePermit};

fn of_part(place: Place, fields: CategorySet) -> PartPermit {
    PartPermit { place, part: 0, fields }
}

fn of_record(job: JobId, place: Place, parts: Vec<PartPermit>) -> ReleasePermit {
    ReleasePermit { job, place, parts }
}

fn main() {}
