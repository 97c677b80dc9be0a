//! The wall clock against what the vault wrote last, and against the time that it trusts.

use std::fs;
use std::path::Path;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use super::finding::Finding;
use crate::app::{limits, source};
use crate::clock::{NOTICED_LEAD, Reading, Standing};
use crate::config::Config;
use crate::vault::trust::{is_accepted, saved_clock, standing};

const WHAT: &str = "clock";

/// Whether the vault trusts the clock.
pub(super) enum Trust {
    /// How it is, and what the clocks say.
    Known(Standing, Reading),
    /// Why that is not known.
    Unknown(String),
}

/// Looks at what the vault has saved and at the clocks, as its next start would.
pub(super) fn trust(config: &Config, clock_file: Option<&Path>) -> Trust {
    let dir = &config.server.data_dir;
    let looked = saved_clock(dir).and_then(|saved| {
        let judged = saved.map(|saved| standing(source(clock_file)?, limits(config.clock), saved));
        judged.transpose()
    });
    match looked {
        Ok(Some((standing, seen))) => Trust::Known(standing, seen),
        Ok(None) => Trust::Unknown("no vault has saved a clock here".to_owned()),
        Err(error) => Trust::Unknown(format!("the clocks, or the one that was saved: {error}")),
    }
}

/// Whether the clock is trusted, and what to do when it is not.
pub(super) fn trusted(dir: &Path, trust: &Trust) -> Finding {
    const WHAT: &str = "trusted time";
    const SET: &str = "set the clock right; if it is right: idvault doctor --accept-clock";
    let standing = match trust {
        Trust::Known(standing, _) => standing,
        Trust::Unknown(finding) => return Finding::ok(WHAT, finding.clone()),
    };
    let Standing { lo, wall, doubted } = standing;
    let (lo, wall) = (lo.trunc_subsecs(0), wall.trunc_subsecs(0));
    let said = format!("{lo}, the wall {}", led(standing.lead()));
    let Some((since, until)) = doubted else {
        if standing.lead() > NOTICED_LEAD {
            return Finding::warn(WHAT, format!("{said}: uploads whose times are of the wall are refused"), SET);
        }
        return Finding::ok(WHAT, said);
    };
    if is_accepted(dir) {
        return Finding::warn(WHAT, format!("{said}: accepted, and not taken yet"), "look again in a second, or serve the vault");
    }
    let (doubted, left) = (span(standing.lo.signed_duration_since(*since)), span(until.signed_duration_since(standing.lo)));
    let found = format!(
        "CLOCK_UNTRUSTED for {doubted}, nothing is served: {lo}, the wall says {wall} and {}; believed in {left} as it stands",
        led(standing.lead())
    );
    Finding::fail(WHAT, found, SET)
}

/// How a wall leads, in words.
fn led(lead: TimeDelta) -> String {
    if lead < TimeDelta::zero() { format!("is {} behind", span(lead.abs())) } else { format!("leads by {}", span(lead)) }
}

/// A span in its two largest units.
fn span(span: TimeDelta) -> String {
    let (days, hours, minutes) = (span.num_days(), span.num_hours() % 24, span.num_minutes() % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{}s", span.num_seconds()),
        (0, 0, _) => format!("{minutes}m {}s", span.num_seconds() % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

pub(super) fn examine(wall: DateTime<Utc>, written: Option<DateTime<Utc>>) -> Finding {
    let wall = wall.trunc_subsecs(0);
    match written.map(|time| time.trunc_subsecs(0)).filter(|time| wall < *time) {
        Some(time) => Finding::fail(
            WHAT,
            format!("the wall clock says {wall}, and the vault wrote at {time}"),
            "set the clock right, and let it be set (NTP) before the vault starts",
        ),
        None => Finding::ok(WHAT, format!("the wall clock says {wall}")),
    }
}

/// When the heartbeat or the ledger was last written to. None where there is neither.
pub(super) fn last_written(dir: &Path) -> Option<DateTime<Utc>> {
    let ledger = ["ledger", "ledger/index", "ledger/journal", "ledger/dump"];
    let files = ledger.into_iter().filter_map(|part| fs::read_dir(dir.join(part)).ok()).flatten();
    let paths = files.filter_map(|entry| Some(entry.ok()?.path())).chain([dir.join("heartbeat")]);
    paths.filter_map(|path| Some(fs::metadata(path).ok()?.modified().ok()?.into())).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade;
    use chrono::TimeDelta;
    use std::fs::File;

    #[test]
    fn a_clock_before_the_last_write_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let time = DateTime::from_timestamp(1_000_000_000, 0).unwrap();
        assert_eq!(last_written(dir.path()), None);
        fs::create_dir_all(dir.path().join("ledger/journal")).unwrap();
        for (name, seconds) in [("ledger/journal/1.journal", 60), ("ledger/journal", 0), ("heartbeat", 30)] {
            let path = dir.path().join(name);
            let file = if path.is_dir() { File::open(path) } else { File::create(path) }.unwrap();
            file.set_modified((time + TimeDelta::seconds(seconds)).into()).unwrap();
        }
        let written = last_written(dir.path());
        assert_eq!(written, Some(time + TimeDelta::minutes(1)));
        for (seconds, grade) in [(59, Grade::Fail), (60, Grade::Ok)] {
            assert_eq!(examine(time + TimeDelta::seconds(seconds), written).grade, grade);
        }
        assert_eq!(examine(time, None).grade, Grade::Ok);
    }

    #[test]
    fn how_the_clock_is_trusted_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let lo = DateTime::from_timestamp(1_000_000_000, 0).unwrap();
        let reading = Reading { wall: lo, elapsed: None, boot: [0; 16] };
        let told = |minutes, doubted| {
            let standing = Standing { lo, wall: lo + TimeDelta::minutes(minutes), doubted };
            let finding = trusted(dir.path(), &Trust::Known(standing, reading));
            (finding.grade, finding.to_string())
        };
        let (grade, text) = told(4, None);
        assert!(grade == Grade::Ok && text.contains("2001-09-09 01:46:40 UTC, the wall leads by 4m 0s"), "{text}");
        let (grade, text) = told(6, None);
        assert!(grade == Grade::Warn && text.contains("uploads"), "{text}");
        let doubted = Some((lo - TimeDelta::minutes(90), lo + TimeDelta::minutes(30)));
        let (grade, text) = told(-3000, doubted);
        assert!(grade == Grade::Fail, "{text}");
        for wanted in ["CLOCK_UNTRUSTED for 1h 30m", "is 2d 2h behind", "believed in 30m 0s", "--accept-clock"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        fs::write(dir.path().join("accepted"), "").unwrap();
        assert_eq!(told(-3000, doubted).0, Grade::Warn);
        assert_eq!(trusted(dir.path(), &Trust::Unknown(String::new())).grade, Grade::Ok);
    }
}
