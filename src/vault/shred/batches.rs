//! Shreds that share a commit: whoever comes first commits for all who have come, the others find it done.
//!
//! A commit costs the same for one record as for many. While one runs others come, and are in the next. Those who were in it
//! come back when it is over, a little late for the next: where several came together before, a commit waits a moment for as
//! many to come again. Whoever comes alone waits for nobody, nor does what the clock asks for, and who waits with it.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::domain::ids::Place;

/// How many shreds one commit takes in.
const SHREDS_OF_A_COMMIT: usize = 256;
/// How long a commit waits for others: about as long as its syncs take.
const PATIENCE: Duration = Duration::from_millis(4);

/// Shreds that wait for a commit.
#[derive(Debug)]
pub(crate) struct Batches {
    queue: Mutex<Queue>,
    /// Signalled when somebody has come: to the one who gathers a batch.
    came: Condvar,
    /// Signalled when a commit is over: to those who were in it, and to those who may make the next.
    over: Condvar,
    patience: Duration,
}

#[derive(Debug, Default)]
struct Queue {
    /// What each of those who wait wants forgotten; nothing: what the clock asks for.
    waiting: VecDeque<Vec<Place>>,
    /// How many have come, and how many of them are done.
    came: u64,
    done: u64,
    /// How many were in the last commit.
    together: usize,
    /// Somebody gathers a batch or commits it.
    is_led: bool,
}

/// The right to commit for everyone who waits, given back on drop.
struct Lead<'a>(&'a Batches);

impl Default for Batches {
    fn default() -> Self {
        Self { queue: Mutex::default(), came: Condvar::new(), over: Condvar::new(), patience: PATIENCE }
    }
}

impl Batches {
    /// Has these places be in a commit, made here or by somebody else who waits for one. No places: what the clock asks for.
    ///
    /// # Errors
    /// When the commit made here fails. What was in it waits on.
    pub(crate) fn join<E>(&self, places: &[Place], commit: impl Fn(&[Place]) -> Result<(), E>) -> Result<(), E> {
        let number = self.queue.lock().come(places);
        self.came.notify_one();
        while let Some(lead) = self.lead(number) {
            let (count, places) = lead.gather();
            commit(&places)?;
            self.queue.lock().close(count);
        }
        Ok(())
    }

    /// Waits until whoever came with this number may commit; `None` when that is done.
    fn lead(&self, number: u64) -> Option<Lead<'_>> {
        let mut queue = self.queue.lock();
        self.over.wait_while(&mut queue, |queue| queue.is_led && queue.done < number);
        (queue.done < number).then(|| {
            queue.is_led = true;
            Lead(self)
        })
    }
}

impl Lead<'_> {
    /// Those who wait, and who come in a moment where that is worth it: how many, and what they want forgotten.
    fn gather(&self) -> (usize, Vec<Place>) {
        let mut queue = self.0.queue.lock();
        self.0.came.wait_while_for(&mut queue, |queue| queue.may_grow(), self.0.patience);
        let batch = queue.waiting.iter().take(SHREDS_OF_A_COMMIT);
        (batch.len(), batch.flatten().copied().collect())
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().is_led = false;
        self.0.over.notify_all();
    }
}

impl Queue {
    /// Takes in what somebody wants forgotten. Returns how many have come.
    fn come(&mut self, places: &[Place]) -> u64 {
        self.waiting.push_back(places.to_vec());
        self.came = self.came.saturating_add(1);
        self.came
    }

    /// Whether it is worth a moment to wait for more.
    fn may_grow(&self) -> bool {
        self.waiting.len() < self.together.min(SHREDS_OF_A_COMMIT) && self.waiting.iter().all(|places| !places.is_empty())
    }

    /// The first of those who wait are done, so many of them.
    fn close(&mut self, count: usize) {
        self.waiting.drain(..count);
        self.done = self.done.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        self.together = count;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn place(number: u64) -> Place {
        Place::from_u64(number)
    }

    /// Returns when so many wait, or fewer do for a commit.
    fn until(batches: &Batches, count: usize) {
        while batches.queue.lock().waiting.len() < count {
            thread::yield_now();
        }
    }

    /// Commits one record, and while that runs lets so many others come. How many records each commit had.
    fn commits_of(others: u64) -> Vec<usize> {
        let batches = Batches { patience: Duration::ZERO, ..Batches::default() };
        let (sizes, commits) = mpsc::channel();
        let commit = |places: &[Place]| -> Result<(), Infallible> {
            if places == [place(0)] {
                until(&batches, usize::try_from(others).unwrap().saturating_add(1));
            }
            sizes.send(places.len()).unwrap();
            Ok(())
        };
        thread::scope(|scope| {
            scope.spawn(|| batches.join(&[place(0)], commit));
            until(&batches, 1);
            for number in 1..=others {
                scope.spawn({
                    let (batches, commit) = (&batches, &commit);
                    move || batches.join(&[place(number)], commit)
                });
            }
        });
        drop(sizes);
        commits.into_iter().collect()
    }

    #[test]
    fn whoever_comes_while_a_commit_runs_is_in_the_next() {
        assert_eq!(commits_of(7), [1, 7]);
    }

    #[test]
    fn a_commit_takes_in_so_many_and_no_more() {
        assert_eq!(commits_of(300)[..2], [1, 256]);
    }

    #[test]
    fn a_commit_that_fails_or_panics_lets_the_next_one_try() {
        let batches = Batches::default();
        batches.join(&[place(1)], |_| Err("the disk is gone")).unwrap_err();
        thread::scope(|scope| {
            let panicking = scope.spawn(|| batches.join(&[place(2)], |_| -> Result<(), Infallible> { panic!("a bug") }));
            panicking.join().unwrap_err();
        });
        let commit = |places: &[Place]| if places == [1, 2, 3].map(place) { Ok(()) } else { Err(places.to_vec()) };
        batches.join(&[place(3)], commit).unwrap();
    }

    #[test]
    fn a_commit_waits_for_those_who_came_together_but_never_with_what_is_due() {
        // Who waits in vain does so for an hour, and is not waited for.
        let (ended, end) = mpsc::channel();
        thread::spawn(move || ended.send(commits_of_those_who_came_together()));
        assert_eq!(end.recv_timeout(Duration::from_mins(1)), Ok(vec![3, 0, 1]));
    }

    fn commits_of_those_who_came_together() -> Vec<usize> {
        let batches = Batches { patience: HOUR, ..Batches::default() };
        batches.queue.lock().together = 3;
        let (sizes, commits) = mpsc::channel();
        let commit = |places: &[Place]| -> Result<(), Infallible> {
            sizes.send(places.len()).unwrap();
            Ok(())
        };
        thread::scope(|scope| {
            for number in 1..=3 {
                scope.spawn({
                    let (batches, commit) = (&batches, &commit);
                    move || batches.join(&[place(number)], commit)
                });
            }
        });
        batches.join(&[], commit).unwrap();
        batches.queue.lock().together = 3;
        thread::scope(|scope| {
            scope.spawn(|| batches.join(&[place(4)], commit));
            until(&batches, 1);
            batches.join(&[], commit).unwrap();
        });
        drop(sizes);
        commits.into_iter().collect()
    }
}
