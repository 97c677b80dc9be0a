//! What the vault stores: whether all of it opens, and the index of the ledger, made anew.

use std::time::Duration;

use indicatif::ProgressBar;

use super::finding::Finding;
use crate::app;
use crate::cli::client::Failure;
use crate::cli::progress;
use crate::config::Config;
use crate::vault::OpenError;
use crate::vault::verify::{Damage, Seen, rebuild, verify};

/// How many damaged things are named one by one.
const MOST: usize = 1000;
const STOP: &str = "stop the vault first: only one process can have its files";

/// Makes the index anew.
pub(super) fn make_anew(config: &Config) -> Finding {
    const WHAT: &str = "rebuild";
    match rebuild(&config.server.data_dir) {
        Ok(rows) => Finding::ok(WHAT, format!("the index of the ledger was made anew, {rows} rows")),
        Err(error @ OpenError::Locked(_)) => Finding::fail(WHAT, error.to_string(), STOP),
        Err(error) => Finding::fail(WHAT, error.to_string(), "restore the ledger from a backup; the index was left as it is"),
    }
}

/// Looks at all that is stored.
pub(super) fn look_through(config: &Config) -> Result<Vec<Finding>, Failure> {
    const WHAT: &str = "verify";
    let keys = app::keys(config).map_err(|error| Failure::usage(error.to_string()))?;
    let bar = progress::counter();
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut found = Found::default();
    let looked = verify(&config.vault, &config.server.data_dir, &keys, |seen| found.add(seen, &bar));
    bar.finish_and_clear();
    let Found { rows, parts, bytes, damage, damaged } = found;
    let sum = format!("{rows} rows, {parts} parts, {bytes} bytes open");
    let mut findings: Vec<_> = damage.iter().map(name).collect();
    findings.push(match looked {
        Err(error @ OpenError::Locked(_)) => Finding::fail(WHAT, error.to_string(), STOP),
        Err(error) => Finding::fail(WHAT, error.to_string(), "see what `idvault serve` says of it"),
        Ok(()) if damaged == 0 => Finding::ok(WHAT, sum),
        Ok(()) => Finding::fail(WHAT, format!("{sum}, {damaged} do not"), "ask whoever sent it to send it again, or shred it"),
    });
    Ok(findings)
}

fn name(damage: &Damage) -> Finding {
    const WHAT: &str = "damaged";
    const NEXT: &str = "nothing is lost while the index is there, and the next day's dump makes it good";
    match damage {
        Damage::Row(_) => Finding::fail(WHAT, damage.to_string(), "make the index anew: idvault doctor --rebuild"),
        Damage::Part { .. } => Finding::fail(WHAT, damage.to_string(), "the other parts of the record can still be fetched"),
        Damage::Journal(_) => Finding::warn(WHAT, damage.to_string(), NEXT),
    }
}

/// What was seen so far.
#[derive(Default)]
struct Found {
    rows: u64,
    parts: u64,
    bytes: u64,
    /// The first of what does not open.
    damage: Vec<Damage>,
    /// How much does not.
    damaged: u64,
}

impl Found {
    fn add(&mut self, seen: Seen, bar: &ProgressBar) {
        match seen {
            Seen::Row => self.rows = self.rows.saturating_add(1),
            Seen::Part(bytes) => {
                self.parts = self.parts.saturating_add(1);
                self.bytes = self.bytes.saturating_add(bytes);
                bar.inc(1);
            }
            Seen::Damaged(damage) => {
                self.damaged = self.damaged.saturating_add(u64::from(!matches!(damage, Damage::Journal(_))));
                if self.damage.len() < MOST {
                    self.damage.push(damage);
                }
            }
        }
    }
}
