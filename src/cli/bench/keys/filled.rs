//! A keyring as it stands with so many records, some of them withdrawn; and what its least cover would be.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::cli::bench::pairs::whole;
use crate::cli::bench::refused;
use crate::cli::client::Failure;
use crate::crypto::secret::Secret;
use crate::domain::ids::{Hour, Place, Serial, VaultId};
use crate::domain::order::Order;
use crate::keys;
use crate::keys::keyring::format::HEARTBEAT_LEN;
use crate::keys::keyring::{Change, Keyring};
use crate::keys::tree::Tree;

/// Thirty days.
pub(super) const HOURS: u32 = 30 * 24;
/// How many hours are filled in one commit.
const HOURS_AT_ONCE: usize = 24;
/// A commit plants two hours more, as a vault's does.
const HORIZON: u32 = HOURS + 2;
const SEED: u64 = 1;

/// How large a vault is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    /// How many records there are.
    pub(super) leaves: u64,
    /// How many of a hundred are withdrawn.
    pub(super) percent: f64,
}

/// A keyring that is filled.
pub(super) struct Filled {
    dir: PathBuf,
    case: Case,
    pub(super) keyring: Keyring,
    /// How many records of each hour are withdrawn.
    withdrawn: BTreeMap<Hour, u64>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} leaves, {} % withdrawn", self.leaves, self.percent)
    }
}

impl Case {
    /// How many records an hour has.
    pub(super) fn of_an_hour(self) -> u64 {
        self.leaves.checked_div(u64::from(HOURS)).unwrap_or_default()
    }

    /// How many of them are withdrawn: one at the least.
    pub(super) fn withdrawn_of_an_hour(self) -> u64 {
        let share = f64::from(u32::try_from(self.of_an_hour()).unwrap_or(u32::MAX)) * self.percent / 100.0;
        u64::from(whole(share)).max(1)
    }

    /// The record of an hour that is withdrawn in this place of their order.
    pub(super) fn place(self, hour: Hour, position: u64) -> Option<Place> {
        let index = Order::new(SEED, hour.number(), self.of_an_hour()).index(position)?;
        let first = self.of_an_hour().saturating_mul(u64::from(hour.number()));
        Some(Place { hour, serial: Serial::new(first.saturating_add(index))? })
    }

    /// The tree of an hour, so many of whose records are withdrawn.
    pub(super) fn tree(self, hour: Hour, withdrawn: u64) -> Result<Tree, Failure> {
        let mut tree = Tree::from_seed(&Secret::random().map_err(refused)?);
        for place in (0..withdrawn).filter_map(|position| self.place(hour, position)) {
            tree.puncture(place.serial..=place.serial);
        }
        Ok(tree)
    }
}

impl Filled {
    /// Makes one in `dir`.
    pub(super) fn new(case: Case, dir: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir).map_err(|error| Failure::file(dir, &error))?;
        let keys = keys::Setting::in_directory(dir);
        let custody = keys.root.create(&vault()?).map_err(refused)?;
        let keyring = Keyring::create(&keys.keyring(dir), &vault()?, custody, &change(0, &[])).map_err(refused)?;
        let hours: Vec<Hour> = (1..=HOURS).filter_map(Hour::new).collect();
        for hour in &hours {
            keyring.mark_used(*hour);
        }
        let mut withdrawn = BTreeMap::new();
        for some in hours.chunks(HOURS_AT_ONCE) {
            let mut places = Vec::new();
            for hour in some {
                places.extend((0..case.withdrawn_of_an_hour()).filter_map(|position| case.place(*hour, position)));
                withdrawn.insert(*hour, case.withdrawn_of_an_hour());
            }
            keyring.commit(&change(0, &places), &|_| ()).map_err(refused)?;
        }
        Ok(Self { dir: dir.to_owned(), case, keyring, withdrawn })
    }

    /// Closes the keyring and opens it.
    pub(super) fn reopen(self) -> Result<Self, Failure> {
        let Self { dir, case, keyring, withdrawn } = self;
        drop(keyring);
        let keys = keys::Setting::in_directory(&dir);
        let keyring =
            Keyring::open(&keys.keyring(&dir), &vault()?, keys.root.open(&vault()?).map_err(refused)?).map_err(refused)?;
        Ok(Self { dir, case, keyring, withdrawn })
    }

    /// The next record of an hour that is withdrawn.
    pub(super) fn next(&mut self, hour: Hour) -> Result<Place, Failure> {
        let count = self.withdrawn.get_mut(&hour).ok_or_else(|| Failure::refused("the hour is over"))?;
        let place = self.case.place(hour, *count).ok_or_else(|| Failure::refused("the hour has no record left"))?;
        *count = count.saturating_add(1);
        Ok(place)
    }

    /// One of the records of an hour that are not withdrawn.
    pub(super) fn alive(&self, hour: Hour) -> Option<Place> {
        self.case.place(hour, *self.withdrawn.get(&hour)?)
    }

    /// How many nodes the least cover of an hour has.
    pub(super) fn least_cover(&self, hour: Hour) -> usize {
        let count = self.withdrawn.get(&hour).copied().unwrap_or(0);
        let mut serials: Vec<u64> =
            (0..count).filter_map(|position| self.case.place(hour, position)).map(|place| place.serial.number()).collect();
        serials.sort_unstable();
        least_cover(&serials)
    }
}

/// What a commit changes: hours up to this one are over, and these records go.
pub(super) fn change(over: u32, punctures: &[Place]) -> Change<'_> {
    Change {
        punctures,
        ranges: &[],
        over: Hour::new(over).unwrap_or(Hour::MAX),
        horizon: HORIZON,
        month: 0,
        months: 27,
        ledger_sequence: 0,
        heartbeat: [0; HEARTBEAT_LEN],
    }
}

fn vault() -> Result<VaultId, Failure> {
    "bench".parse().map_err(refused)
}

/// How many nodes cover all serials but these, which are sorted. Counted without a tree: each level of each way down to a
/// punctured leaf leaves the other child, unless a way goes there too, and that is so once for any two neighbours.
fn least_cover(serials: &[u64]) -> usize {
    let levels = |apart: u64| usize::try_from(u64::BITS.saturating_sub(apart.leading_zeros())).unwrap_or_default();
    let depth = usize::try_from(Serial::BITS).unwrap_or_default();
    let neighbours = serials.iter().zip(serials.iter().skip(1));
    let more: usize = neighbours.map(|(one, next)| levels(one ^ next).saturating_sub(1)).sum();
    // Of a way that parts from another `l` levels up, `l - 1` nodes are left beside it, and one of the other's goes.
    serials.first().map_or(1, |_| depth.saturating_add(more).saturating_sub(serials.len().saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_cover_is_what_a_tree_holds() {
        let hour = Hour::new(7).unwrap();
        for (leaves, percent) in [(1_000_000, 0.1), (1_000_000, 1.0), (3_000_000, 10.0)] {
            let case = Case { leaves, percent };
            let places = (0..case.withdrawn_of_an_hour()).filter_map(|position| case.place(hour, position));
            let mut serials: Vec<u64> = places.map(|place| place.serial.number()).collect();
            serials.sort_unstable();
            assert_eq!(least_cover(&serials), case.tree(hour, case.withdrawn_of_an_hour()).unwrap().len());
        }
        assert_eq!(least_cover(&[]), 1);
        assert_eq!(least_cover(&[0, 1]), 39);
    }
}
