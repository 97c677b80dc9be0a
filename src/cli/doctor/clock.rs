//! The wall clock against what the vault wrote last.

use std::fs;
use std::path::Path;

use chrono::{DateTime, SubsecRound, Utc};

use super::finding::Finding;

const WHAT: &str = "clock";

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
}
