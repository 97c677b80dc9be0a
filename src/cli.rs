//! The command line: one file per command.
//!
//! Exit codes: 0, 64 (usage or configuration), 70 (refused to go on), 75 (try again).

mod backup;
mod bench;
mod certificate;
mod client;
mod consent;
mod demo;
mod dev_certs;
mod doctor;
mod fetch;
mod job;
mod progress;
mod put;
mod records;
mod releases;
mod restore;
mod root;
mod serve;
mod shell;
mod tenant;
mod verify;

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use chrono::{DateTime, Utc};

use clap::{Parser, Subcommand};
use prost_types::Timestamp;

use crate::clock::{Source, SystemSource};
use crate::domain::category::Category;
use crate::domain::purpose::Purpose;
use client::Failure;

/// Usage or configuration.
const EX_USAGE: u8 = 64;
/// Refused to go on.
const EX_SOFTWARE: u8 = 70;
/// Try again.
const EX_TEMPFAIL: u8 = 75;

/// A vault for identification data: sealed per record, released only to consented training, unrecoverable after 30 days.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a vault.
    Serve(serve::Arguments),
    /// Look at what `serve` would meet on this machine, and at what is stored.
    Doctor(doctor::Arguments),
    /// Copy what a vault stores into another directory, while it serves; never its keys.
    Backup(backup::Arguments),
    /// Put a backup back, or say that the withdrawals since were replayed.
    Restore(restore::Arguments),
    /// Move the root of all keys to another custody.
    #[command(subcommand)]
    Root(root::Action),
    /// Measure a vault on this machine, beside its unprotected twin.
    #[command(subcommand)]
    Bench(bench::Action),
    /// Show the whole story on real images, in a temporary vault.
    Demo(demo::Arguments),
    /// Make a certificate authority and everybody's certificates, for trials.
    DevCerts(dev_certs::Arguments),
    /// Create, change and show tenants.
    #[command(subcommand)]
    Tenant(tenant::Action),
    /// Make receipt keys, sign receipts; register, show and withdraw consents.
    #[command(subcommand)]
    Consent(consent::Action),
    /// Upload a check's files and attributes.
    Put(put::Arguments),
    /// List records' metadata.
    Records(records::ListArguments),
    /// Show a record's metadata.
    Show(records::Arguments),
    /// Destroy a record at once, for good.
    Shred(records::Arguments),
    /// Erase a person: withdraw all of their consents and destroy all of their records, for good.
    Erase(consent::EraseArguments),
    /// Show what is alive, hour by hour of expiry.
    Status(records::StatusArguments),
    /// Create, submit, approve and show training jobs.
    #[command(subcommand)]
    Job(job::Action),
    /// Create and show snapshots: what a job iterates.
    #[command(subcommand)]
    Snapshot(job::SnapshotAction),
    /// Fetch one epoch of a snapshot into a folder.
    Fetch(fetch::Arguments),
    /// List and show certificates of destruction.
    #[command(subcommand)]
    Certificate(certificate::Action),
    /// Verify what a vault has signed, without the vault.
    #[command(subcommand)]
    Verify(verify::Action),
    /// Show who received what: the records of a job, or the jobs of a record or person.
    Releases(releases::Arguments),
    /// Print the completions for a shell.
    Completions(shell::CompletionArguments),
    /// Write the man pages into a folder.
    Man(shell::ManArguments),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            let code = if usage.use_stderr() { EX_USAGE } else { 0 };
            return if usage.print().is_ok() { code.into() } else { EX_USAGE.into() };
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(EX_TEMPFAIL, &error),
    };
    let code = runtime.block_on(async {
        match cli.command {
            Command::Serve(arguments) => serve::run(arguments).await,
            Command::Doctor(arguments) => told(doctor::run(&arguments)),
            Command::Backup(arguments) => told(backup::run(&arguments)),
            Command::Restore(arguments) => told(restore::run(&arguments)),
            Command::Root(action) => told(root::run(&action)),
            Command::Bench(action) => told(bench::run(action).await),
            Command::Demo(arguments) => demo::run(arguments).await,
            Command::DevCerts(arguments) => told(dev_certs::run(&arguments)),
            Command::Tenant(action) => told(tenant::run(action).await),
            Command::Consent(action) => told(consent::run(action).await),
            Command::Put(arguments) => told(put::run(arguments).await),
            Command::Records(arguments) => told(records::list(arguments).await),
            Command::Show(arguments) => told(records::show(arguments).await),
            Command::Shred(arguments) => told(records::shred(arguments).await),
            Command::Erase(arguments) => told(consent::erase(arguments).await),
            Command::Status(arguments) => told(records::status(arguments).await),
            Command::Job(action) => told(job::run(action).await),
            Command::Snapshot(action) => told(job::run_snapshot(action).await),
            Command::Fetch(arguments) => told(fetch::run(arguments).await),
            Command::Releases(arguments) => told(releases::run(arguments).await),
            Command::Certificate(action) => told(certificate::run(action).await),
            Command::Verify(action) => told(verify::run(&action)),
            Command::Completions(arguments) => shell::completions(&arguments),
            Command::Man(arguments) => told(shell::man(&arguments)),
        }
    });
    // A disk that hangs must not keep the program from ending.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}

/// Says what is wrong and gives the exit code.
fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    anstream::eprintln!("idvault: {error}");
    code.into()
}

fn told(outcome: Result<ExitCode, Failure>) -> ExitCode {
    outcome.unwrap_or_else(|failure| fail(failure.code, &failure))
}

fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))
}

/// Writes a file that only its owner can read, and that was not there before.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(|error| Failure::file(path, &error))
}

/// A fresh request id.
fn new_uuid() -> Result<String, Failure> {
    let bytes = crate::crypto::random::array().map_err(|error| Failure::refused(error.to_string()))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

/// The time on the wall.
fn wall() -> Result<DateTime<Utc>, Failure> {
    let reading = SystemSource::new().and_then(|source| source.read());
    Ok(reading.map_err(|error| Failure::refused(format!("the clock: {error}")))?.wall)
}

/// A time as messages have it.
fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: time.timestamp(), nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0) }
}

/// Bytes as two lower-case hexadecimal digits each.
fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

/// The number of a category by its bare name.
fn category(name: &str) -> Result<i32, Failure> {
    let category = Category::from_name(name).map(|category| i32::from(category.number()));
    category.ok_or_else(|| Failure::usage(format!("{name:?} is no category, such as FACE_IMAGE or DOCUMENT_FRONT")))
}

/// The number of a purpose by its bare name.
fn purpose(name: &str) -> Result<i32, Failure> {
    let purpose = Purpose::from_name(name).map(|purpose| i32::from(purpose.number()));
    purpose.ok_or_else(|| Failure::usage(format!("{name:?} is no purpose, such as TRAIN_FACE_MATCH")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_contradicts_itself() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
