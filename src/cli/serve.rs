//! `idvault serve`: a vault over gRPC, until a signal.

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::doctor::memory::swaps;
use super::{EX_SOFTWARE, EX_TEMPFAIL, EX_USAGE, fail};
use crate::app::{App, BuildError, Options};
use crate::config::Config;
use crate::crypto::locked::{self, Held};
use crate::os;
use crate::telemetry;
use crate::vault::OpenError;

/// What to serve.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration; idvault.example.toml shows every setting
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Serve without TLS, on loopback: callers are who they say in the metadata key idvault-caller
    #[arg(long)]
    insecure_loopback: bool,
    /// Take the time from this file: line 1 the wall (RFC 3339), line 2, optional, elapsed seconds
    #[arg(long, value_name = "PATH")]
    clock_file: Option<PathBuf>,
}

pub(super) async fn run(arguments: Arguments) -> ExitCode {
    let config = match Config::read(&arguments.config) {
        Ok(config) => config,
        Err(error) => return fail(EX_USAGE, &error),
    };
    telemetry::start(&config.log);
    let all_locked = protect_memory();
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return fail(EX_TEMPFAIL, &"signals cannot be handled");
    };
    let options = Options { insecure_loopback: arguments.insecure_loopback, clock_file: arguments.clock_file };
    let app = match App::build(config, &options).await {
        Ok(app) => app,
        Err(error) => return fail(code_of(&error), &error),
    };
    tell_memory(all_locked);
    match app.local_addr() {
        Ok(address) => tracing::info!(%address, "serving"),
        Err(error) => return fail(EX_TEMPFAIL, &error),
    }
    let signalled = async {
        let received = |signal: &'static str| move |_: Option<()>| tracing::info!(signal, "received");
        tokio::select! {
            signal = next(&mut terminate) => received("SIGTERM")(signal),
            signal = next(&mut interrupt) => received("SIGINT")(signal),
        }
    };
    match app.run(signalled).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(EX_SOFTWARE, &error),
    }
}

/// Keeps memory off the disk as far as the system lets it, before there is a secret in it. Whether all of it is locked.
fn protect_memory() -> bool {
    if let Err(error) = os::leave_no_core() {
        tracing::warn!(%error, "the process may leave a core with keys in it");
    }
    os::lock_all().unwrap_or_else(|error| {
        tracing::warn!(%error, "memory cannot be locked whole");
        false
    })
}

/// Says what holds, now that the keys are in memory.
fn tell_memory(all_locked: bool) {
    let Held { locked, unlocked } = locked::held();
    let swaps = swaps().join(", ");
    if all_locked {
        tracing::info!("all memory is locked");
    } else if swaps.is_empty() {
        tracing::info!(locked, unlocked, "bytes for keys are locked as far as RLIMIT_MEMLOCK allows; swap is off");
    } else {
        tracing::warn!(
            locked, unlocked, %swaps,
            "bytes for keys are locked as far as RLIMIT_MEMLOCK allows, and swap is on: set LimitMEMLOCK=infinity, or switch it off"
        );
    }
}

async fn next(signal: &mut Signal) -> Option<()> {
    signal.recv().await
}

/// Whose fault it is that there is no server.
fn code_of(error: &BuildError) -> u8 {
    match error {
        BuildError::Refused(_) | BuildError::Tls(_) | BuildError::Clock(_) => EX_USAGE,
        BuildError::Vault(OpenError::Locked(_)) | BuildError::Bind { .. } => EX_TEMPFAIL,
        BuildError::Vault(_) | BuildError::Panicked(_) => EX_SOFTWARE,
    }
}
