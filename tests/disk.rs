//! What a disk may do: lose at a power failure what was not synced, refuse what it is asked for. Each time: what was
//! acknowledged is there and opens whole, what was acknowledged as gone is gone.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "vault/client.rs"]
#[expect(dead_code, reason = "shared with the behaviour tests, which need more of it")]
mod client;
#[path = "crash/expected.rs"]
mod expected;
#[path = "crash/process.rs"]
#[expect(dead_code, reason = "shared with the crash tests, which need more of it")]
mod process;
#[path = "crash/random.rs"]
mod random;
#[path = "vault/server.rs"]
#[expect(dead_code, reason = "shared with the behaviour tests, which need more of it")]
mod server;
#[path = "vault/stream.rs"]
mod stream;
#[path = "vault/world.rs"]
#[expect(dead_code, reason = "shared with the behaviour tests, which need more of it")]
mod world;

#[path = "disk/faults.rs"]
mod faults;
#[path = "disk/injection.rs"]
mod injection;
#[path = "disk/medium.rs"]
mod medium;
#[path = "disk/parallel.rs"]
mod parallel;
#[path = "disk/power.rs"]
mod power;
#[path = "disk/story.rs"]
mod story;
#[path = "disk/trace.rs"]
mod trace;
