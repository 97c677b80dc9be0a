//! Whether a backup was put back, and what is still to be done about it.

use std::path::Path;

use super::finding::Finding;
use crate::vault::restored::Mark;

const WHAT: &str = "restore";

pub(super) fn examine(dir: &Path) -> Option<Finding> {
    const REPLAY: &str =
        "serve the vault, replay the withdrawals and erasures since the backup, then: idvault restore --complete";
    Some(match Mark::read(dir) {
        Ok(None) => return None,
        Ok(Some(Mark::Replacing)) => Finding::fail(
            WHAT,
            "putting a backup back is under way, or was cut short",
            "run idvault restore again, with the backup",
        ),
        Ok(Some(Mark::Replaced | Mark::Restored)) => {
            Finding::warn(WHAT, "RESTORED: an older ledger was put back, nothing is released", REPLAY)
        }
        Ok(Some(Mark::Completed)) => Finding::ok(WHAT, "completed: the vault releases again when it next looks"),
        Err(error) => {
            Finding::fail(WHAT, format!("{}: {error}", dir.display()), "give the directory to the user that serves the vault")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade;

    #[test]
    fn the_mark_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert!(examine(dir.path()).is_none());
        for (text, grade) in [
            ("replacing\n", Grade::Fail),
            ("replaced\n", Grade::Warn),
            ("restored\n", Grade::Warn),
            ("completed\n", Grade::Ok),
            ("", Grade::Warn),
        ] {
            std::fs::write(dir.path().join("restored"), text).unwrap();
            assert_eq!(examine(dir.path()).unwrap().grade, grade, "{text:?}");
        }
    }
}
