//! What the keyring holds in memory, and how a commit changes it. Pages come into memory when their hour is asked for, and
//! go when there are too many of them; otherwise no files here.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::folder::Folder;
use super::format::{HEARTBEAT_LEN, Head, HourKey, ServiceKeys};
use super::{Change, KeyringError};
use crate::crypto::random::RandomError;
use crate::crypto::secret::Secret;
use crate::domain::ids::{Hour, Place, Serial};
use crate::keys::tree::Tree;

/// How many nodes trees from pages may hold in memory before the hours that were not asked for the longest are let go.
pub(super) const NODES_IN_MEMORY: usize = 1 << 21;

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
    /// The generations whose pages are behind their heads and nowhere else.
    pub(super) behind_heads: BTreeSet<u64>,
    /// Pages of earlier heads that are still there.
    pub(super) old_pages: Vec<(Hour, u64)>,
    /// A commit is giving fresh seeds to unused hours: nobody may draw from one meanwhile.
    pub(super) planting: bool,
    /// Nothing may be done any more.
    pub(super) closed: bool,
    /// How often a tree was asked for.
    asked: u64,
}

/// The keys of one hour.
pub(super) struct HourKeys {
    /// The key tree, unless it is in its page only.
    /// INVARIANT (a tree is somewhere): an hour without a page has its tree here, and so has one whose page no commit has
    /// written yet.
    tree: Option<Tree>,
    /// Whether a record may live in it. Not on disk: the ledger knows.
    pub(super) used: bool,
    page: Option<Page>,
    /// When the tree was asked for last, in numbers of such questions.
    asked: u64,
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
    /// The state that a head describes. Pages are left where they are.
    pub(super) fn new(head: Head<Secret>) -> Self {
        let hours = head.hours.into_iter().map(|(hour, key)| match key {
            HourKey::Seed(seed) => (hour, HourKeys::planted(&seed)),
            HourKey::Page { generation, key } => {
                (hour, HourKeys { tree: None, used: true, page: Some(Page { generation, key }), asked: 0 })
            }
        });
        Self {
            generation: head.generation,
            next_serial: head.serial_limit,
            serial_limit: head.serial_limit,
            ledger_sequence: head.ledger_sequence,
            heartbeat: head.heartbeat,
            service: head.service,
            months: head.months.into_iter().collect(),
            hours: hours.collect(),
            abandoned: Vec::new(),
            spare: BTreeMap::new(),
            behind_heads: BTreeSet::new(),
            old_pages: Vec::new(),
            planting: false,
            closed: false,
            asked: 0,
        }
    }

    /// The tree of an hour, read from its page if it is not in memory; `None` when the hour has no keys.
    pub(super) fn tree(&mut self, hour: Hour, folder: &Folder) -> Result<Option<&mut Tree>, KeyringError> {
        self.asked = self.asked.saturating_add(1);
        let Some(keys) = self.hours.get_mut(&hour) else { return Ok(None) };
        keys.asked = self.asked;
        if let (None, Some(page)) = (&keys.tree, &keys.page) {
            keys.tree = Some(folder.read_page(hour, page.generation, &page.key)?);
            self.let_go(NODES_IN_MEMORY);
        }
        Ok(self.hours.get_mut(&hour).and_then(|keys| keys.tree.as_mut()))
    }

    /// Lets trees go that are in a page on disk, the one asked for last excepted, until the others hold at most so many nodes.
    pub(super) fn let_go(&mut self, nodes: usize) {
        let (written, now) = (self.generation, self.asked);
        let is_in_page = |keys: &&mut HourKeys| keys.page.as_ref().is_some_and(|page| page.generation <= written);
        let mut held: Vec<_> = self.hours.values_mut().filter(is_in_page).filter(|keys| keys.tree.is_some()).collect();
        held.sort_unstable_by_key(|keys| std::cmp::Reverse(keys.asked));
        let mut sum = 0_usize;
        for keys in held {
            sum = sum.saturating_add(keys.tree.as_ref().map_or(0, Tree::held));
            if sum > nodes && keys.asked < now {
                keys.tree = None;
            }
        }
    }

    /// The hours whose trees are in memory, and how many nodes each of them holds.
    pub(super) fn in_memory(&self) -> impl Iterator<Item = (Hour, usize)> {
        self.hours.iter().filter_map(|(hour, keys)| Some((*hour, keys.tree.as_ref()?.held())))
    }

    /// Forgets in memory what the change names, and what was abandoned; punctured hours get a page of this generation.
    pub(super) fn forget(&mut self, change: &Change<'_>, generation: u64, folder: &Folder) -> Result<Forgotten, KeyringError> {
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
            if let Some(tree) = self.tree(*hour, folder)? {
                for range in ranges {
                    tree.puncture(range.clone());
                }
            }
            // No page that is read from here on lets this tree go: the page that it is to be in is not written.
            if let Some(keys) = self.hours.get_mut(hour) {
                let old = keys.page.replace(Page { generation, key: Secret::random()? });
                #[cfg(feature = "sabotage")]
                crate::keys::sabotage::reuse(keys.page.as_mut().map(|page| &mut page.key), old.as_ref().map(|page| &page.key));
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
                self.hours.insert(hour, HourKeys::planted(&Secret::random()?));
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
        Some((hour, keys.tree.as_ref()?, &keys.page.as_ref()?.key))
    }

    /// All pages in use: hour, generation, key.
    pub(super) fn pages(&self) -> impl Iterator<Item = (Hour, u64, &Secret)> {
        self.hours.iter().filter_map(|(hour, keys)| keys.page.as_ref().map(|page| (*hour, page.generation, &page.key)))
    }

    /// The head that describes this state.
    pub(super) fn head(&self, generation: u64, serial_limit: u64, change: &Change<'_>) -> Result<Head<&[u8; 32]>, KeyringError> {
        let mut hours = Vec::with_capacity(self.hours.len());
        for (hour, keys) in &self.hours {
            let key = match (&keys.page, keys.tree.as_ref().and_then(Tree::seed)) {
                (Some(page), _) => HourKey::Page { generation: page.generation, key: page.key.expose() },
                (None, Some(seed)) => HourKey::Seed(seed),
                (None, None) => return Err(KeyringError::PageDamaged(*hour)),
            };
            hours.push((*hour, key));
        }
        let ServiceKeys { index, ledger, clock } = &self.service;
        let service = ServiceKeys { index: index.expose(), ledger: ledger.expose(), clock: clock.expose() };
        let months = self.months.iter().map(|(month, key)| (*month, key.expose())).collect();
        let (ledger_sequence, heartbeat) = (change.ledger_sequence, change.heartbeat);
        Ok(Head { generation, serial_limit, ledger_sequence, heartbeat, service, months, hours })
    }
}

impl HourKeys {
    /// A whole tree.
    fn planted(seed: &Secret) -> Self {
        Self { tree: Some(Tree::from_seed(seed)), used: false, page: None, asked: 0 }
    }
}
