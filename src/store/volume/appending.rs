//! A record's parts on their way into volumes: where their frames went, and what must be synced before a row may name them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Volume, VolumeError, layout};
use crate::domain::ids::Place;
use crate::domain::record::Extent;
use crate::store::group::Ticket;

/// The sealed parts of one record on their way into volumes.
#[derive(Debug)]
pub struct Appending {
    place: Place,
    /// Where each part went, by its number.
    extents: BTreeMap<u8, Vec<Extent>>,
    /// The volumes that must be synced before a row may name them.
    volumes: Vec<(Arc<Volume>, Ticket)>,
}

impl Appending {
    /// Nothing yet of the record at `place`.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self { place, extents: BTreeMap::new(), volumes: Vec::new() }
    }

    /// Where the frames of a part went, in their order.
    #[must_use]
    pub fn extents(&self, part: u8) -> Vec<Extent> {
        self.extents.get(&part).cloned().unwrap_or_default()
    }

    /// Returns once all frames are durable.
    ///
    /// # Errors
    /// When the disk fails, now or before.
    pub fn sync(&self) -> Result<(), VolumeError> {
        self.volumes.iter().try_for_each(|(volume, ticket)| volume.make_durable(*ticket))
    }

    /// The record's place.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// A frame of a part was written.
    pub(super) fn add(&mut self, part: u8, next: Extent) {
        let extents = self.extents.entry(part).or_default();
        match extents.last_mut().filter(|last| layout::follows(last, &next)) {
            Some(last) => last.length = last.length.saturating_add(next.length),
            None => extents.push(next),
        }
    }

    /// Frames were written to a volume, the last of them with this ticket.
    pub(super) fn touched(&mut self, volume: Arc<Volume>, ticket: Ticket) {
        self.volumes.retain(|(touched, _)| !Arc::ptr_eq(touched, &volume));
        self.volumes.push((volume, ticket));
    }
}
