//! Backup and restore: a backup put back, by command or by hand, resurrects nothing and releases nothing until the operator has said
//! that withdrawals since were replayed; and whenever one of both is cut or goes wrong, nothing older takes the place of the ledger
//! unnoticed.

#![expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a failure fails the test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod scene;

#[path = "restore/backup.rs"]
mod backup;
#[path = "restore/by_hand.rs"]
mod by_hand;
#[path = "restore/cuts.rs"]
mod cuts;
#[path = "restore/refusals.rs"]
mod refusals;
#[path = "restore/week.rs"]
mod week;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use idvault::keys::Setting;
use idvault::store::backup::Manifest;
use idvault::vault::restore::{RestoreError, back_up, restore};
use tempfile::TempDir;

use scene::{Scene, vault_id};

/// A backup of a scene's vault, which goes on.
fn backed_up(scene: &Scene) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    back_up(&vault_id(), &scene.data(), home.path(), scene.clock.now(), &mut |_| ()).unwrap();
    home
}

fn put_back(data: &Path, backup: &Path) -> Result<Manifest, RestoreError> {
    restore(&vault_id(), data, &Setting::in_directory(data), backup, &mut |_| ())
}

/// Copies a directory.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Every file below a directory, with its content.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    files
}
