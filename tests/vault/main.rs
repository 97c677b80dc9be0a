//! Behaviour over real gRPC: a vault in this process, callers of every kind, a clock that the test moves.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod authority;
mod client;
mod raw;
mod server;
mod stream;
mod world;

mod access;
mod certificates;
mod consents;
mod cuts;
mod doubt;
mod earlier;
mod erase;
mod failures;
mod fetch;
mod jobs;
mod lists;
mod quota;
mod records;
mod releases;
mod restored;
mod retries;
mod shred_tenant;
mod streamed;
mod tenants;
mod time;
mod tls;
mod upload;
mod withdraw;
