//! Commits: steps 2 and 3 of a shred, and what makes room for the next one.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::format::{self, HourKey, Slot};
use super::state::{NODES_IN_MEMORY, State};
use super::{Change, Committed, Keyring, KeyringError, SERIAL_RESERVE, Step};
use crate::domain::ids::{Hour, Serial};
use crate::keys::root::{Custody, Root};

impl Keyring {
    /// Forgets what `change` names, durably: steps 2 and 3 of a shred.
    ///
    /// # Errors
    /// When anything fails; the keyring is then closed, since nobody knows which head the medium holds.
    pub fn commit(&self, change: &Change<'_>, reached: &dyn Fn(Step)) -> Result<Committed, KeyringError> {
        let mut custody = self.custody.lock();
        self.closed_if_failed(self.commit_with(custody.as_mut(), change, reached))
    }

    /// A commit under a root of another custody, which is the keyring's from then on. The roots of the one before are left to whoever
    /// has it.
    ///
    /// # Errors
    /// As [`Keyring::commit`].
    pub fn commit_to(&self, custody: Box<dyn Custody>, change: &Change<'_>) -> Result<(), KeyringError> {
        *self.custody.lock() = custody;
        self.commit(change, &|_| ()).map(drop)
    }

    fn commit_with(
        &self,
        custody: &mut dyn Custody,
        change: &Change<'_>,
        reached: &dyn Fn(Step),
    ) -> Result<Committed, KeyringError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(KeyringError::Closed);
        }
        let before = state.generation;
        // The slot of the head before the last is written over.
        if state.behind_heads.iter().any(|written| *written < before) {
            drop(state);
            self.free_slots()?;
            state = self.state.lock();
        }
        let root = custody.make(before.saturating_add(1)).map_err(KeyringError::Custody)?;
        let generation = root.handle.generation;
        let serial_limit = state.next_serial.saturating_add(SERIAL_RESERVE);
        let forgotten = state.forget(change, generation, &self.folder)?;
        state.plant(change)?;
        state.planting = true;
        let mut pages = Vec::new();
        for (hour, tree, key) in forgotten.serials.keys().filter_map(|hour| state.page_of(*hour)) {
            pages.push((hour, format::seal_page(tree, self.folder.vault(), (hour, generation), key)?));
        }
        let head = state.head(generation, serial_limit, change)?;
        let is_behind = format::fit_behind_a_head(&pages);
        let (behind, in_files) = pages.split_at(if is_behind { pages.len() } else { 0 });
        let slot = format::seal_head(&head, behind, self.folder.vault(), &root)?.ok_or(KeyringError::HeadTooLarge)?;
        drop(head);
        drop(state);

        // 2. New pages and the new head, sealed under the new root, are on the medium and open from there.
        self.folder.write(generation, in_files, &slot)?;
        self.verify((&slot, &root), in_files, &forgotten.serials, change.over)?;
        reached(Step::Written);

        // 3. Commit point: the new root is durable; then the old one is destroyed.
        custody.put(&root).map_err(KeyringError::Custody)?;
        reached(Step::Durable);
        let evidence = custody.settle(&root.handle).map_err(KeyringError::Custody)?;
        reached(Step::Settled);

        let mut state = self.state.lock();
        state.generation = generation;
        state.serial_limit = serial_limit;
        state.ledger_sequence = change.ledger_sequence;
        state.heartbeat = change.heartbeat;
        state.planting = false;
        let State { old_pages, behind_heads, .. } = &mut *state;
        old_pages.extend(forgotten.pages.into_iter().filter(|(_, written)| !behind_heads.contains(written)));
        behind_heads.extend(Some(generation).filter(|_| !behind.is_empty()));
        state.let_go(NODES_IN_MEMORY);
        drop(state);
        self.committed.notify_all();
        Ok(Committed { before, generation, evidence })
    }

    /// Makes sure that the new head and pages, which are the same on the medium, open and hold nothing that was to go.
    fn verify(
        &self,
        (slot, root): (&[u8], &Root),
        in_files: &[(Hour, Vec<u8>)],
        forgotten: &BTreeMap<Hour, Vec<RangeInclusive<Serial>>>,
        over: Hour,
    ) -> Result<(), KeyringError> {
        let slot = Slot::parse(slot).ok_or(KeyringError::NotOpened)?;
        let head = slot.open(self.folder.vault(), root).ok_or(KeyringError::NotOpened)?;
        for (hour, key) in &head.hours {
            if *hour <= over {
                return Err(KeyringError::NotForgotten);
            }
            if let Some(serials) = forgotten.get(hour) {
                let HourKey::Page { generation, key } = key else { return Err(KeyringError::NotForgotten) };
                let mut pages = slot.pages().chain(in_files.iter().map(|(of, sealed)| (*of, sealed.as_slice())));
                let page = pages.find(|(of, _)| of == hour);
                let tree = page.and_then(|(_, sealed)| format::open_page(sealed, self.folder.vault(), (*hour, *generation), key));
                let tree = tree.ok_or(KeyringError::PageDamaged(*hour))?;
                if serials.iter().any(|serials| tree.covers_any(serials)) {
                    return Err(KeyringError::NotForgotten);
                }
            }
        }
        Ok(())
    }

    /// Gives pages that are behind a head files of their own, so that the next commit but one finds its slot free, and removes
    /// files of pages that no head needs any more, which nothing opens. To be called whenever there is time for it.
    ///
    /// # Errors
    /// As [`Keyring::commit`].
    pub fn tidy_pages(&self) -> Result<(), KeyringError> {
        let _no_commit = self.custody.lock();
        self.closed_if_failed(self.free_slots().and_then(|()| self.remove_old_pages()))
    }

    fn remove_old_pages(&self) -> Result<(), KeyringError> {
        let pages = std::mem::take(&mut self.state.lock().old_pages);
        Ok(pages.into_iter().try_for_each(|page| self.folder.remove_page(page))?)
    }

    /// Whoever has the custody closes the keyring before anybody else has it.
    fn closed_if_failed<T>(&self, outcome: Result<T, KeyringError>) -> Result<T, KeyringError> {
        if outcome.is_err() {
            self.close();
        }
        outcome
    }

    /// Leaves no page behind a head that is not in a file too. The caller has the custody.
    fn free_slots(&self) -> Result<(), KeyringError> {
        let state = self.state.lock();
        if state.closed {
            return Err(KeyringError::Closed);
        }
        let behind = state.pages().filter(|(_, generation, _)| state.behind_heads.contains(generation));
        let copies = behind.map(|(hour, generation, key)| {
            let (sealed, tree) = self.folder.copy_of(hour, generation, key)?;
            tree.map(|_| (hour, generation, sealed)).ok_or(KeyringError::PageDamaged(hour))
        });
        let copies = copies.collect::<Result<Vec<_>, KeyringError>>()?;
        drop(state);
        for (hour, generation, sealed) in &copies {
            self.folder.put_page(*hour, *generation, sealed)?;
        }
        if !copies.is_empty() {
            self.folder.sync()?;
        }
        self.state.lock().behind_heads.clear();
        Ok(())
    }
}
