//! `idvault doctor --accept-clock`: an operator says that the wall clock is right, to a vault that does not trust it.

use chrono::SubsecRound;

use super::clock::Trust;
use super::finding::Finding;
use super::lock;
use crate::config::Config;
use crate::vault::trust::accept_clock;

const WHAT: &str = "accept clock";

/// Says it, if there is something to say it of.
pub(super) fn accept(config: &Config, trust: &Trust) -> Finding {
    let dir = &config.server.data_dir;
    let (standing, seen) = match trust {
        Trust::Known(standing, seen) => (standing, seen),
        Trust::Unknown(finding) => return Finding::fail(WHAT, finding.clone(), "serve the vault once, as its user"),
    };
    let (lo, wall) = (standing.lo.trunc_subsecs(0), standing.wall.trunc_subsecs(0));
    if !standing.is_acceptable() {
        let found = format!("the clock is trusted: the wall says {wall}, the trusted time is {lo}; there is nothing to accept");
        return Finding::fail(WHAT, found, "leave it as it is");
    }
    if let Err(error) = accept_clock(dir, seen) {
        return Finding::fail(WHAT, format!("{}: {error}", dir.display()), "ask as the user that serves the vault");
    }
    let when =
        if lock::holder(dir).is_some() { "within a second" } else { "at its next start, if the clock is not set until then" };
    Finding::ok(
        WHAT,
        format!("trusted time before: {lo}, after: {} and on; the vault takes it {when}, and destroys what is due", lo.max(wall)),
    )
}
