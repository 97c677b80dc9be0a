//! Pressure: many open streams within bounded memory, readers that do not read, streams that are cancelled, and async threads
//! that nothing holds up.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "vault/client.rs"]
#[expect(dead_code, reason = "shared with the behaviour tests, which need more of it")]
mod client;
#[path = "vault/raw.rs"]
#[expect(dead_code, reason = "shared with the behaviour tests, which need more of it")]
mod raw;
#[path = "vault/server.rs"]
#[expect(dead_code, reason = "shared with the behaviour tests, which need more of it")]
mod server;
#[path = "vault/stream.rs"]
#[expect(dead_code, reason = "shared with the behaviour tests, which need more of it")]
mod stream;
#[path = "vault/world.rs"]
#[expect(dead_code, reason = "shared with the behaviour tests, which need more of it")]
mod world;

#[path = "crash/process.rs"]
#[expect(dead_code, reason = "shared with the crash tests, which need more of it")]
mod process;

#[path = "pressure/cancel.rs"]
mod cancel;
#[path = "pressure/crowd.rs"]
mod crowd;
#[path = "pressure/open.rs"]
mod open;
#[path = "pressure/slow.rs"]
mod slow;
#[path = "pressure/watchdog.rs"]
mod watchdog;
