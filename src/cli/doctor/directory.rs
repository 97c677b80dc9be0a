//! The data directory: whether the vault can use it, what is in it, and who else can read it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Access, access};

use super::finding::Finding;
use crate::keys;
use crate::vault::would_be_new;

const WHAT: &str = "data directory";

pub(super) fn examine(dir: &Path, keys: &keys::Setting) -> Vec<Finding> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => vec![to_be_made(dir)],
        Err(error) => {
            vec![Finding::fail(WHAT, format!("{}: {error}", dir.display()), "name another directory, or open this one")]
        }
        Ok(_) => vec![usable(dir), contents(dir, keys), permissions(dir, keys)],
    }
}

/// The directory to make the data directory in.
pub(super) fn parent(dir: &Path) -> &Path {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn to_be_made(dir: &Path) -> Finding {
    let parent = parent(dir);
    match access(parent, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Finding::ok(WHAT, format!("{} will be made", dir.display())),
        Err(error) => {
            let finding = format!("{} cannot be made: {}: {error}", dir.display(), parent.display());
            Finding::fail(WHAT, finding, "make it, or the folder that it is to be in, as the user that serves the vault")
        }
    }
}

fn usable(dir: &Path) -> Finding {
    match access(dir, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Finding::ok(WHAT, format!("{} can be used", dir.display())),
        Err(error) => Finding::fail(
            WHAT,
            format!("{}: {error}", dir.display()),
            "give it to the user that serves the vault, and ask as that user",
        ),
    }
}

/// Whether what is there is a vault, or nothing that is worth anything.
fn contents(dir: &Path, keys: &keys::Setting) -> Finding {
    const WHAT: &str = "data";
    const NEXT: &str = "restore what is missing, or name an empty directory: the vault will not start over data";
    match would_be_new(dir, keys) {
        Ok(true) => Finding::ok(WHAT, "none: a new vault will be made"),
        Ok(false) => Finding::ok(WHAT, "a vault, whole"),
        Err(error) => Finding::fail(WHAT, error.to_string(), NEXT),
    }
}

fn permissions(dir: &Path, keys: &keys::Setting) -> Finding {
    const WHAT: &str = "permissions";
    let open = |path: &Path| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
    if let Some(cell) = keys.root.file().filter(|cell| open(cell)) {
        let finding = format!("{} is open to others than its owner", cell.display());
        return Finding::fail(WHAT, finding, "chmod 600; whoever read it can open what was alive then, so find out who could");
    }
    if open(dir) {
        let finding = format!("{} is open to others than its owner", dir.display());
        return Finding::fail(WHAT, finding, "chmod 700");
    }
    Finding::ok(WHAT, "for the owner alone")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade;

    fn grades(dir: &Path) -> Vec<Grade> {
        examine(dir, &keys::Setting::in_directory(dir)).iter().map(|finding| finding.grade).collect()
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_directory_is_there_or_can_be_made() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(grades(&home.path().join("data")), [Grade::Ok]);
        assert_eq!(grades(&home.path().join("lost/data")), [Grade::Fail]);
        fs::write(home.path().join("file"), "").unwrap();
        assert_eq!(grades(&home.path().join("file")), [Grade::Fail]);
        assert_eq!(parent(Path::new("data")), Path::new("."));
    }

    #[test]
    fn data_is_a_whole_vault_or_none() {
        let dir = tempfile::tempdir().unwrap();
        set_mode(dir.path(), 0o700);
        fs::write(dir.path().join("lock"), "").unwrap();
        assert_eq!(grades(dir.path()), [Grade::Ok; 3], "empty");
        for name in ["keyring", "ledger", "volumes"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            assert_eq!(grades(dir.path()), [Grade::Ok, Grade::Fail, Grade::Ok], "with {name}");
        }
        let cell = dir.path().join("root.cell");
        fs::write(&cell, "").unwrap();
        set_mode(&cell, 0o600);
        assert_eq!(grades(dir.path()), [Grade::Ok; 3], "whole");
        fs::remove_file(&cell).unwrap();
        fs::write(dir.path().join("unfinished"), "").unwrap();
        assert_eq!(grades(dir.path()), [Grade::Ok; 3], "unfinished");
    }

    #[test]
    fn others_must_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let cell = dir.path().join("root.cell");
        fs::write(&cell, "").unwrap();
        for (of_dir, of_cell, grade) in [(0o700, 0o600, Grade::Ok), (0o750, 0o600, Grade::Fail), (0o700, 0o640, Grade::Fail)] {
            set_mode(dir.path(), of_dir);
            set_mode(&cell, of_cell);
            assert_eq!(permissions(dir.path(), &keys::Setting::in_directory(dir.path())).grade, grade, "{of_dir:o} {of_cell:o}");
        }
    }
}
