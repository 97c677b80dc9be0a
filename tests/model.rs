//! The vault against a plain list: whatever happens in whatever order, what must be there is there and comes whole, and what is gone is
//! gone.
//!
//! `IDVAULT_MODEL_SEED` begins a run that was seen to fail again, `IDVAULT_MODEL_MINUTES` goes on for so long.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking; how long it runs is said by the environment"
)]

#[path = "crash/random.rs"]
mod random;
#[expect(dead_code, reason = "other tests use the rest")]
mod scene;
#[expect(dead_code, reason = "other tests use the rest")]
mod story;

use std::env::var;
use std::sync::Arc;

use idvault::clock::Stopwatch;

use story::Story;

const STORIES: u64 = 3;
const LENGTH: usize = 60;

#[test]
fn whatever_happens_the_vault_holds_what_it_must() {
    let given = |name| var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = given("IDVAULT_MODEL_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    let (minutes, watch) = (given("IDVAULT_MODEL_MINUTES").unwrap_or(0), Stopwatch::start());
    for number in 0.. {
        if number >= STORIES && watch.elapsed().as_secs() >= minutes * 60 {
            break;
        }
        let seed = first.wrapping_add(number);
        println!("IDVAULT_MODEL_SEED={seed}");
        let mut story = Story::begin(seed, Arc::new(|_| ()));
        for step in 0..LENGTH {
            story.go_on();
            if step % 5 == 0 {
                story.check_release();
            }
        }
        story.check_release();
    }
}
