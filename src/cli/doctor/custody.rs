//! The root of all keys: where it is, what destroying it is worth there, and the copies of the keyring.

use std::io;
use std::path::Path;

use super::finding::Finding;
use crate::config::Config;
use crate::domain::ids::VaultId;
use crate::keys;
use crate::keys::root::Class;

pub(super) fn examine(config: &Config, keys: &keys::Setting) -> Vec<Finding> {
    let mirrors = keys.mirrors.iter().map(|dir| mirror(dir, &config.server.data_dir));
    [root(&config.vault, &keys.root)].into_iter().chain(mirrors).collect()
}

/// Whether the custody can be had. That destroys nothing and makes nothing.
fn root(vault: &VaultId, setting: &keys::root::Setting) -> Finding {
    const WHAT: &str = "custody";
    match setting.open(vault) {
        Ok(custody) => {
            let found = custody.describe();
            match found.class {
                Class::BestEffort | Class::Test => Finding::warn(
                    WHAT,
                    found.to_string(),
                    "what shredding is worth is said by the class; a hardware token or a key server makes it more",
                ),
                Class::Token | Class::Server => Finding::ok(WHAT, found.to_string()),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Finding::ok(WHAT, "no root yet: it is made with the vault"),
        Err(error) => Finding::fail(WHAT, error.to_string(), "the vault does not start without the root of its keys"),
    }
}

fn mirror(dir: &Path, data_dir: &Path) -> Finding {
    use std::os::unix::fs::MetadataExt;
    const WHAT: &str = "mirror";
    let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev()).ok();
    match std::fs::metadata(dir) {
        Ok(found) if found.is_dir() && device(data_dir) == Some(found.dev()) => Finding::warn(
            WHAT,
            format!("{} is on the disk of the data", dir.display()),
            "put it on another disk, or it dies with it",
        ),
        Ok(found) if found.is_dir() => Finding::ok(WHAT, format!("{} is there", dir.display())),
        Ok(_) => Finding::fail(WHAT, format!("{} is no directory", dir.display()), "name a directory in [keyring]"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::ok(WHAT, format!("{} will be made and filled", dir.display()))
        }
        Err(error) => Finding::fail(WHAT, format!("{}: {error}", dir.display()), "every commit writes there, or fails"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade;
    use crate::keys::root::file::{self, FileCell};

    #[test]
    fn a_cell_is_described_and_a_broken_mirror_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut keys = keys::Setting::in_directory(dir.path());
        let cell = dir.path().join("root.cell");
        keys.mirrors = vec![dir.path().join("mirror"), dir.path().to_owned(), cell.clone()];
        let vault = "hk-1".parse().unwrap();
        let grades = || {
            let mirrors = keys.mirrors.iter().map(|mirrored| mirror(mirrored, dir.path()));
            [root(&vault, &keys.root)].into_iter().chain(mirrors).map(|finding| finding.grade).collect::<Vec<_>>()
        };
        assert_eq!(grades(), [Grade::Ok, Grade::Ok, Grade::Warn, Grade::Ok]);
        FileCell::create(&file::Setting { path: cell, allow_copies: true }).unwrap();
        assert_eq!(grades(), [Grade::Warn, Grade::Ok, Grade::Warn, Grade::Fail]);
    }
}
