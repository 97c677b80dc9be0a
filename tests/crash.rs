//! Crashes: the real binary killed at random moments, an image of the directory at every step of a commit, a custody that
//! fails. Each time: what was acknowledged is there and opens whole, what was acknowledged as gone is gone.

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
#[path = "vault/server.rs"]
#[expect(dead_code, reason = "shared with the behaviour tests, which need more of it")]
mod server;
#[path = "vault/stream.rs"]
#[expect(dead_code, reason = "shared with the behaviour tests, which need more of it")]
mod stream;
#[path = "vault/world.rs"]
#[expect(dead_code, reason = "shared with the behaviour tests, which need more of it")]
mod world;

#[path = "crash/custody.rs"]
mod custody;
#[path = "crash/expected.rs"]
mod expected;
#[path = "crash/images.rs"]
mod images;
#[path = "crash/kill.rs"]
mod kill;
#[path = "crash/process.rs"]
#[expect(dead_code, reason = "shared with the disk tests, which need more of it")]
mod process;
#[path = "crash/random.rs"]
mod random;
