//! Whether the clock is trusted, kept and told: the heartbeat is saved, an operator's word for the wall is taken once, and a clock that
//! is not trusted is told of again and again until it is.
//!
//! The word is a file in the vault's directory, so nobody can give it from afar. It says which clock the operator saw, and counts for
//! no other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use subtle::ConstantTimeEq;

use super::Vault;
use super::error::Error;
use crate::clock::{Clock, HEARTBEAT_LEN, Heartbeat, Limits, NotAccepted, Reading, Source, Standing};
use crate::crypto::secret::Secret;
use crate::files;

/// How often the heartbeat is saved, in trusted time, and how often where the ledger has changed.
const HEARTBEAT_EVERY: TimeDelta = TimeDelta::minutes(1);
const HEARTBEAT_EVERY_IF_CHANGED: TimeDelta = TimeDelta::seconds(5);
/// How often, in trusted time, it is told that the clock is not trusted.
const TOLD_EVERY: TimeDelta = TimeDelta::minutes(10);
const SEQUENCE_LEN: usize = 8;
const MAC_LEN: usize = 32;
/// The clock in a heartbeat of the first versions, which knew no budget and no doubt.
const FIRST_CLOCK_LEN: usize = 40;

/// The clock in a saved heartbeat, not held against its MAC: to be shown, never to decide. Nothing where none is saved.
///
/// # Errors
/// When it cannot be read.
pub fn saved_clock(data_dir: &Path) -> io::Result<Option<Heartbeat>> {
    match fs::read(heartbeat_in(data_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => Ok(file?.split_last_chunk::<MAC_LEN>().and_then(|(bytes, _)| Some(clock_in(bytes)?.0))),
    }
}

/// How the clock of a vault would be if it started now on what was saved last, and what the clocks say.
///
/// # Errors
/// When the clocks cannot be read.
pub fn standing(source: Box<dyn Source>, limits: Limits, saved: Heartbeat) -> io::Result<(Standing, Reading)> {
    let clock = Clock::start(source, limits, Some(saved))?;
    Ok((clock.standing(), clock.heartbeat().reading))
}

/// Says, durably, that an operator of this machine holds this wall clock to be right. A vault that runs believes it when it next looks,
/// one that does not at its next start; neither if the clock is another one by then.
///
/// # Errors
/// When the word cannot be written.
pub fn accept_clock(data_dir: &Path, seen: &Reading) -> io::Result<()> {
    files::replace(&accepted_in(data_dir), &seen.to_bytes())
}

/// Whether an operator has accepted the clock and the vault has not looked yet.
#[must_use]
pub fn is_accepted(data_dir: &Path) -> bool {
    accepted_in(data_dir).exists()
}

pub(super) fn heartbeat_in(data_dir: &Path) -> PathBuf {
    data_dir.join("heartbeat")
}

fn accepted_in(data_dir: &Path) -> PathBuf {
    data_dir.join("accepted")
}

/// Takes the operator's word, if there is one, so that it is taken once: it is gone before it is believed. How the clock was, if it
/// counted.
///
/// # Errors
/// When it cannot be taken away.
fn take_accepted(clock: &Clock, data_dir: &Path) -> io::Result<Option<Standing>> {
    let path = accepted_in(data_dir);
    let word = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        word => word,
    };
    fs::remove_file(&path)?;
    files::sync_parent(&path)?;
    let word =
        word.inspect_err(|error| tracing::warn!(%error, "an operator's word for the clock must be given as the vault's user"));
    let seen = word.ok().and_then(|bytes| Reading::from_bytes(bytes.as_slice().try_into().ok()?));
    let accepted = seen.ok_or(NotAccepted::Moved).and_then(|seen| clock.accept(&seen));
    Ok(accepted.inspect_err(|error| tracing::warn!(%error, "an operator's word for the clock does not count")).ok())
}

/// What was saved of the clock, and told of it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The heartbeat that was saved last, with which sequence of the ledger.
    saved: Option<(Heartbeat, u64)>,
    /// When it was last told that the clock is not trusted.
    told: Option<Standing>,
}

impl Vault {
    /// Does what the clock asks for: takes an operator's word, and tells whether it is trusted.
    pub(super) fn watch_clock(&self) -> Result<(), Error> {
        let accepted = take_accepted(&self.clock, &self.data_dir);
        let accepted = accepted.map_err(|error| Error::Failed(format!("the file `accepted`: {error}")))?;
        if let Some(before) = &accepted {
            self.save_heartbeat()?;
            let now = self.clock.standing().lo;
            tracing::warn!(before = %before.lo, %now, "an operator of this machine has accepted the clock");
        }
        let now = self.clock.standing();
        let told = &mut self.kept.lock().told;
        *told = told.filter(|_| accepted.is_none());
        let (lo, wall) = (now.lo, now.wall);
        match (now.doubted, *told) {
            (None, None) => {}
            (None, Some(before)) => {
                let why =
                    if before.doubted.is_some_and(|(_, until)| lo >= until) { "it stood for clock.grace" } else { "in bounds" };
                tracing::warn!(%lo, %wall, why, "the clock is trusted again");
                *told = None;
            }
            (Some(_), Some(before)) if before.doubted == now.doubted && lo.signed_duration_since(before.lo) < TOLD_EVERY => {}
            (Some((since, until)), _) => {
                tracing::warn!(
                    %lo, %wall, %since, believed_at = %until, minutes_left = until.signed_duration_since(lo).num_minutes(),
                    "CLOCK_UNTRUSTED: nothing is served; set the clock right, or accept it: idvault doctor --accept-clock"
                );
                *told = Some(now);
            }
        }
        Ok(())
    }

    /// Saves the clock and how far the ledger has come, authenticated, from time to time, and when trust in the clock changes.
    pub(super) fn save_heartbeat(&self) -> Result<(), Error> {
        let heartbeat = self.clock.heartbeat();
        let sequence = self.book.durable();
        let saved = &mut self.kept.lock().saved;
        let is_recent = |(before, of): &(Heartbeat, u64)| {
            let every = if sequence == *of { HEARTBEAT_EVERY } else { HEARTBEAT_EVERY_IF_CHANGED };
            heartbeat.doubts_like(before) && heartbeat.lo.signed_duration_since(before.lo) < every
        };
        if !saved.as_ref().is_some_and(is_recent) {
            let bytes = [&heartbeat.to_bytes()[..], &sequence.to_be_bytes()].concat();
            let file = [&bytes[..], &self.keyring.clock_key().mac(&[&bytes])].concat();
            files::replace(&heartbeat_in(&self.data_dir), &file)
                .map_err(|error| Error::Failed(format!("saving the clock: {error}")))?;
            *saved = Some((heartbeat, sequence));
        }
        Ok(())
    }
}

/// The clock and the ledger's sequence in a saved file, if it is the vault's own.
pub(super) fn read_heartbeat(file: &[u8], clock_key: &Secret) -> Option<(Heartbeat, u64)> {
    let (bytes, mac) = file.split_last_chunk::<MAC_LEN>()?;
    if bool::from(clock_key.mac(&[bytes]).ct_eq(mac)) { clock_in(bytes) } else { None }
}

/// What stands before the MAC. The first version saved no sequence, and two no more of the clock than was trusted.
fn clock_in(bytes: &[u8]) -> Option<(Heartbeat, u64)> {
    let (clock, sequence) = match bytes.len() {
        FIRST_CLOCK_LEN => (bytes, [0; SEQUENCE_LEN]),
        _ => bytes.split_last_chunk::<SEQUENCE_LEN>().map(|(clock, sequence)| (clock, *sequence))?,
    };
    let mut whole = [0; HEARTBEAT_LEN];
    match clock.len() {
        FIRST_CLOCK_LEN => whole.first_chunk_mut::<FIRST_CLOCK_LEN>()?.copy_from_slice(clock),
        _ => whole = clock.try_into().ok()?,
    }
    Some((Heartbeat::from_bytes(&whole)?, u64::from_be_bytes(sequence)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_of_all_versions_are_read() {
        let key = Secret::random().unwrap();
        let reading = Reading { wall: chrono::DateTime::UNIX_EPOCH, elapsed: Some(TimeDelta::seconds(9)), boot: [3; 16] };
        let first = [&1_000_i64.to_be_bytes()[..], &reading.to_bytes()].concat();
        let second = [&first[..], &77_u64.to_be_bytes()].concat();
        let sealed = |bytes: &[u8]| [bytes, &key.mac(&[bytes])].concat();
        let (heartbeat, sequence) = read_heartbeat(&sealed(&first), &key).unwrap();
        assert_eq!((heartbeat.lo.timestamp_millis(), heartbeat.reading, sequence), (1_000, reading, 0));
        assert_eq!(read_heartbeat(&sealed(&second), &key).unwrap(), (heartbeat, 77));
        let third = [&heartbeat.to_bytes()[..], &78_u64.to_be_bytes()].concat();
        assert_eq!(read_heartbeat(&sealed(&third), &key).unwrap(), (heartbeat, 78));
        assert!(read_heartbeat(&sealed(&third), &Secret::random().unwrap()).is_none());
        for length in [0, 31, 39, 41, 47, 49, third.len() - 1] {
            assert!(read_heartbeat(&sealed(&third[..length]), &key).is_none(), "{length}");
        }
    }
}
