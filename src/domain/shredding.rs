//! The destruction of all that a tenant has: asked for by one person, approved by another.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::ids::Identity;

/// How long the first person's word stands.
pub const APPROVAL_LIVES: TimeDelta = TimeDelta::hours(24);

/// One person's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Whose.
    pub by: Identity,
    /// Whether as a privacy officer.
    pub is_officer: bool,
    /// When.
    pub time: DateTime<Utc>,
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShredState {
    /// Nobody has asked for it.
    None,
    /// One person has.
    Pending,
    /// Two have: the tenant's records are being destroyed, and nothing of it is taken in or released.
    Shredding,
    /// Nothing is left.
    Shredded,
}

/// What two persons said, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shredding {
    /// The words that stand: at most two, of different persons, one of them a privacy officer.
    pub words: Vec<Word>,
    /// When nothing was left.
    pub finished: Option<DateTime<Utc>>,
}

/// Only operators have said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one of the two persons must be a privacy officer")]
pub struct OfficerMissing;

impl Shredding {
    /// Where it stands.
    #[must_use]
    pub fn state(&self, now: DateTime<Utc>) -> ShredState {
        match self.words.as_slice() {
            [_, _, ..] if self.finished.is_some() => ShredState::Shredded,
            [_, _, ..] => ShredState::Shredding,
            [word] if !is_over(word, now) => ShredState::Pending,
            _ => ShredState::None,
        }
    }

    /// Whether two persons have said it.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.words.len() > 1
    }

    /// A person says it. Whoever said it before, and whoever comes when it is decided, changes nothing.
    ///
    /// # Errors
    /// When both are operators.
    pub fn say(&mut self, word: Word) -> Result<(), OfficerMissing> {
        if self.is_decided() {
            return Ok(());
        }
        self.words.retain(|said| !is_over(said, word.time));
        match self.words.first() {
            Some(said) if said.by == word.by => Ok(()),
            Some(said) if !said.is_officer && !word.is_officer => Err(OfficerMissing),
            _ => {
                self.words.push(word);
                Ok(())
            }
        }
    }
}

fn is_over(word: &Word, now: DateTime<Utc>) -> bool {
    now.signed_duration_since(word.time) >= APPROVAL_LIVES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(name: &str, is_officer: bool, hour: i64) -> Word {
        let time = DateTime::from_timestamp(hour.saturating_mul(3600), 0).unwrap();
        Word { by: Identity::Person(name.to_owned()), is_officer, time }
    }

    #[test]
    fn two_persons_decide_one_of_them_an_officer() {
        let at = |hour: i64| DateTime::from_timestamp(hour.saturating_mul(3600), 0).unwrap();
        let mut shredding = Shredding::default();
        assert_eq!(shredding.state(at(0)), ShredState::None);
        shredding.say(word("olga", false, 0)).unwrap();
        shredding.say(word("olga", false, 1)).unwrap();
        assert_eq!((shredding.words.len(), shredding.state(at(1))), (1, ShredState::Pending));
        assert_eq!(shredding.say(word("omar", false, 1)), Err(OfficerMissing));
        assert_eq!(shredding.state(at(24)), ShredState::None, "a word lapses");
        shredding.say(word("paul", true, 24)).unwrap();
        assert_eq!((shredding.words.len(), shredding.state(at(24))), (1, ShredState::Pending));
        shredding.say(word("olga", false, 25)).unwrap();
        assert_eq!(shredding.state(at(1000)), ShredState::Shredding);
        shredding.say(word("mona", true, 1001)).unwrap();
        assert_eq!(shredding.words.len(), 2);
        shredding.finished = Some(at(1002));
        assert_eq!(shredding.state(at(1003)), ShredState::Shredded);
    }
}
