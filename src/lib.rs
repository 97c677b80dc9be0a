//! Idvault keeps the identification data of eKYC checks: sealed per record, released only to training jobs that each
//! record's consent allows, and unrecoverable after 30 days or at once when consent is withdrawn.
//!
//! `ARCHITECTURE.md` has the map and the four flows through it. The invariants, each held by a type or a test:
//!
//! - Nothing is stored that is not sealed; the store sees neither plaintext nor a key.
//! - A part is opened for release only with a permit that the rules minted for it, taken by value.
//! - A key that was to be forgotten is out of reach of whoever holds every file and the current root.
//! - What was acknowledged is durable; what is answered to be gone is gone.

pub mod app;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod domain;
pub mod files;
pub mod forensic;
pub mod keys;
pub mod os;
pub mod proto;
pub mod rpc;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod vault;
