//! Read-ahead: the sealed parts that a stream comes to next, read in the order in which they lie on disk.
//!
//! They stay sealed. Whether anything of them is released is decided when they are due; what is not is dropped unopened.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{MESSAGE_BYTES, Plan, Release};
use crate::crypto::seal::sealed_len;
use crate::domain::category::Category;
use crate::domain::record::Part;
use crate::store::volume::SealedBytes;
use crate::vault::Vault;

/// Sealed parts at hand.
#[derive(Debug, Default)]
pub struct Ahead {
    /// By position and number of the part.
    parts: BTreeMap<(u64, u8), SealedBytes>,
    bytes: u64,
    /// The first position of which nothing was read.
    upto: u64,
}

/// What is to be read ahead.
#[derive(Debug)]
pub struct Reads {
    plan: Arc<Plan>,
    from: u64,
    /// How many bytes at most.
    bytes: u64,
}

impl Ahead {
    /// The whole part, if it is at hand.
    pub(super) fn take(&mut self, position: u64, part: &Part) -> Option<SealedBytes> {
        let sealed = self.parts.remove(&(position, part.number))?;
        self.bytes = self.bytes.saturating_sub(weight_of(&sealed));
        Some(sealed)
    }

    /// Drops what is of positions before this one.
    pub(super) fn forget_before(&mut self, position: u64) {
        self.parts = self.parts.split_off(&(position, 0));
        self.bytes = self.parts.values().map(weight_of).sum();
    }
}

impl Release {
    /// What to read now so that it is at hand when it is due, where the stream may hold `window` bytes. Nothing while half of
    /// them are at hand.
    #[must_use]
    pub fn next_reads(&self, window: u64) -> Option<Reads> {
        let Ahead { bytes, upto, .. } = self.ahead;
        let from = upto.max(self.cursor.position);
        let is_wanted = window > 0 && bytes <= window / 2 && from < self.plan.list.len();
        is_wanted.then(|| Reads { plan: Arc::clone(&self.plan), from, bytes: window.saturating_sub(bytes) })
    }

    /// Whether nothing was read ahead of what is due next.
    #[must_use]
    pub fn has_caught_up(&self) -> bool {
        self.ahead.upto <= self.cursor.position
    }

    /// Takes in what was read.
    pub fn take_in(&mut self, ahead: Ahead) {
        self.ahead.bytes = self.ahead.bytes.saturating_add(ahead.bytes);
        self.ahead.parts.extend(ahead.parts);
        self.ahead.upto = ahead.upto;
    }
}

impl Vault {
    /// Reads ahead. What is gone or damaged is left out: it is told when it is due.
    #[must_use]
    pub fn read_ahead(&self, reads: &Reads) -> Ahead {
        let Reads { plan, from, bytes } = reads;
        let mut ahead = Ahead { upto: *from, ..Ahead::default() };
        let (mut wanted, mut left) = (Vec::new(), *bytes);
        while let Some(place) = plan.place(ahead.upto) {
            let record = self.record_at(place).ok().flatten();
            let parts: Vec<_> = record.into_iter().flat_map(|record| record.parts).filter(|part| plan.wants(part)).collect();
            let length = parts.iter().fold(0, |sum: u64, part| sum.saturating_add(weight(sealed_len(part.size))));
            let Some(rest) = left.checked_sub(length) else { break };
            left = rest;
            wanted.extend(parts.into_iter().map(|part| (ahead.upto, place, part)));
            ahead.upto = ahead.upto.saturating_add(plan.world_size);
        }
        let begin = |part: &Part| part.extents.first().map(|extent| (extent.volume, extent.offset));
        wanted.sort_by_key(|(_, place, part)| (place.hour, begin(part)));
        for (position, place, part) in wanted {
            if let Ok(sealed) = self.volumes.read(place, part.number, &part.extents) {
                ahead.parts.insert((position, part.number), sealed);
            }
        }
        ahead.bytes = ahead.parts.values().map(weight_of).sum();
        ahead
    }
}

impl Plan {
    /// Whether a part may be released and is sent in one message.
    fn wants(&self, part: &Part) -> bool {
        let is_asked_for = part.category == Category::Attributes || self.categories.contains(&part.category);
        is_asked_for && part.size <= MESSAGE_BYTES
    }
}

/// What a part counts for: not less than a block, since small ones take more memory than they have bytes.
fn weight(length: u64) -> u64 {
    length.max(4096)
}

fn weight_of(sealed: &SealedBytes) -> u64 {
    weight(u64::try_from(sealed.as_ref().len()).unwrap_or(u64::MAX))
}
