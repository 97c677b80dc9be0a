//! What the keyring holds in memory, and how a commit changes it. No files here.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::format::{HEARTBEAT_LEN, Head, HourKey, ServiceKeys};
use super::{Change, KeyringError};
use crate::crypto::random::RandomError;
use crate::crypto::secret::Secret;
use crate::domain::ids::{Hour, Place, Serial};
use crate::keys::tree::Tree;

/// The keyring in memory.
pub(super) struct State {
    /// The head on disk.
    pub(super) generation: u64,
    /// The next serial to draw.
    pub(super) next_serial: u64,
    /// The first serial that is not durably set aside for this run.
    pub(super) serial_limit: u64,
    /// The last transaction of the ledger that the head on disk knows to be durable.
    pub(super) ledger_sequence: u64,
    /// The trusted time of the head on disk.
    pub(super) heartbeat: [u8; HEARTBEAT_LEN],
    /// The vault's own keys.
    pub(super) service: ServiceKeys<Secret>,
    /// The keys of two-year rows by the month in which they are due.
    pub(super) months: BTreeMap<u16, Secret>,
    /// The keys of records.
    pub(super) hours: BTreeMap<Hour, HourKeys>,
    /// Serials that were drawn for records that never came to be.
    pub(super) abandoned: Vec<Place>,
    /// Serials that were drawn, and given back before anything under them was written.
    pub(super) spare: BTreeMap<Hour, Vec<Serial>>,
    /// A commit is giving fresh seeds to unused hours: nobody may draw from one meanwhile.
    pub(super) planting: bool,
    /// Nothing may be done any more.
    pub(super) closed: bool,
}

/// The keys of one hour.
pub(super) struct HourKeys {
    /// The key tree.
    pub(super) tree: Tree,
    /// Whether a record may live in it. Not on disk: the ledger knows.
    pub(super) used: bool,
    page: Option<Page>,
}

/// Which page holds a punctured tree, and what opens it.
struct Page {
    generation: u64,
    key: Secret,
}

/// What a commit forgets.
pub(super) struct Forgotten {
    /// The punctured serials, by hour.
    pub(super) serials: BTreeMap<Hour, Vec<RangeInclusive<Serial>>>,
    /// Pages that are no longer needed, by hour and generation.
    pub(super) pages: Vec<(Hour, u64)>,
}

impl State {
    /// The state that a head describes; `trees` has the trees of the hours that it keeps in pages.
    pub(super) fn new(head: Head<Secret>, mut trees: BTreeMap<Hour, Tree>) -> Self {
        let mut hours = BTreeMap::new();
        for (hour, key) in head.hours {
            let keys = match key {
                HourKey::Seed(seed) => Some(HourKeys { tree: Tree::from_seed(seed), used: false, page: None }),
                HourKey::Page { generation, key } => {
                    trees.remove(&hour).map(|tree| HourKeys { tree, used: true, page: Some(Page { generation, key }) })
                }
            };
            hours.extend(keys.map(|keys| (hour, keys)));
        }
        Self {
            generation: head.generation,
            next_serial: head.serial_limit,
            serial_limit: head.serial_limit,
            ledger_sequence: head.ledger_sequence,
            heartbeat: head.heartbeat,
            service: head.service,
            months: head.months.into_iter().collect(),
            hours,
            abandoned: Vec::new(),
            spare: BTreeMap::new(),
            planting: false,
            closed: false,
        }
    }

    /// Forgets in memory what the change names, and what was abandoned; punctured hours get a page of this generation.
    pub(super) fn forget(&mut self, change: &Change<'_>, generation: u64) -> Result<Forgotten, RandomError> {
        let mut pages = Vec::new();
        while let Some(hour) = self.hours.first_entry().filter(|hour| *hour.key() <= change.over) {
            let (hour, keys) = hour.remove_entry();
            pages.extend(keys.page.map(|page| (hour, page.generation)));
        }
        self.months.retain(|month, _| *month >= change.month);
        self.spare.retain(|hour, _| *hour > change.over);

        let mut serials = BTreeMap::<_, Vec<_>>::new();
        for place in change.punctures.iter().copied().chain(self.abandoned.drain(..)) {
            serials.entry(place.hour).or_default().push(place.serial..=place.serial);
        }
        for (hour, range) in change.ranges {
            serials.entry(*hour).or_default().push(range.clone());
        }
        serials.retain(|hour, _| self.hours.contains_key(hour));
        for (hour, ranges) in &serials {
            if let Some(keys) = self.hours.get_mut(hour) {
                for range in ranges {
                    keys.tree.puncture(range.clone());
                }
                let old = keys.page.replace(Page { generation, key: Secret::random()? });
                pages.extend(old.map(|page| (*hour, page.generation)));
            }
        }
        Ok(Forgotten { serials, pages })
    }

    /// Gives every hour ahead that no record uses a fresh seed, and every month ahead that has none a key.
    pub(super) fn plant(&mut self, change: &Change<'_>) -> Result<(), RandomError> {
        for ahead in 1..=change.horizon {
            let hour = change.over.plus(ahead);
            if !self.hours.get(&hour).is_some_and(|keys| keys.used) {
                self.hours.insert(hour, HourKeys { tree: Tree::from_seed(Secret::random()?), used: false, page: None });
            }
        }
        for ahead in 0..=change.months {
            if let std::collections::btree_map::Entry::Vacant(month) = self.months.entry(change.month.saturating_add(ahead)) {
                month.insert(Secret::random()?);
            }
        }
        Ok(())
    }

    /// A punctured hour's tree and the key of its page.
    pub(super) fn page_of(&self, hour: Hour) -> Option<(Hour, &Tree, &Secret)> {
        let keys = self.hours.get(&hour)?;
        Some((hour, &keys.tree, &keys.page.as_ref()?.key))
    }

    /// All pages in use, by hour and generation.
    pub(super) fn pages(&self) -> impl Iterator<Item = (Hour, u64)> {
        self.hours.iter().filter_map(|(hour, keys)| Some((*hour, keys.page.as_ref()?.generation)))
    }

    /// The head that describes this state.
    pub(super) fn head(&self, generation: u64, serial_limit: u64, change: &Change<'_>) -> Result<Head<&Secret>, KeyringError> {
        let mut hours = Vec::with_capacity(self.hours.len());
        for (hour, keys) in &self.hours {
            let key = match (&keys.page, keys.tree.seed()) {
                (Some(page), _) => HourKey::Page { generation: page.generation, key: &page.key },
                (None, Some(seed)) => HourKey::Seed(seed),
                (None, None) => return Err(KeyringError::PageDamaged(*hour)),
            };
            hours.push((*hour, key));
        }
        let ServiceKeys { index, ledger, clock } = &self.service;
        let months = self.months.iter().map(|(month, key)| (*month, key)).collect();
        let (ledger_sequence, heartbeat, service) =
            (change.ledger_sequence, change.heartbeat, ServiceKeys { index, ledger, clock });
        Ok(Head { generation, serial_limit, ledger_sequence, heartbeat, service, months, hours })
    }
}
