//! What is not put back, and where no backup goes: nothing changes then.

use std::fs;
use std::path::Path;

use idvault::keys::Setting;
use idvault::store::backup::BackupError;
use idvault::vault::OpenError;
use idvault::vault::restore::{RestoreError, back_up, complete, restore};

use crate::scene::{Scene, vault_id};
use crate::{backed_up, contents, copy, put_back};

#[test]
fn a_backup_goes_into_a_directory_of_its_own() {
    let scene = Scene::new();
    scene.record();
    let back_up_to = |to: &Path| back_up(&vault_id(), &scene.data(), to, scene.clock.now(), &mut |_| ());
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("something"), "").unwrap();
    assert!(matches!(back_up_to(home.path()), Err(RestoreError::Backup(BackupError::NotEmpty(_)))));
    for inside in ["backup", "ledger/backup"] {
        let inside = scene.data().join(inside);
        assert!(matches!(back_up_to(&inside), Err(RestoreError::Backup(BackupError::Inside(_)))));
        assert!(!inside.exists());
    }
    std::os::unix::fs::symlink(scene.data(), home.path().join("link")).unwrap();
    let linked = home.path().join("link/backup");
    assert!(matches!(back_up_to(&linked), Err(RestoreError::Backup(BackupError::Inside(_)))));
    let none = tempfile::tempdir().unwrap();
    let of_none = back_up(&vault_id(), &none.path().join("data"), &none.path().join("backup"), scene.clock.now(), &mut |_| ());
    assert!(matches!(of_none, Err(RestoreError::Vault(OpenError::Empty(_)))));
    back_up_to(&home.path().join("backup")).unwrap();
}

#[test]
fn no_key_is_in_a_backup() {
    let scene = Scene::new();
    scene.record();
    let backup = backed_up(&scene);
    let mut names: Vec<_> = fs::read_dir(backup.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["ledger", "manifest.json", "volumes"]);
    let cell = fs::read(scene.data().join("root.cell")).unwrap();
    let roots = idvault::keys::root::file::roots_in(&cell);
    assert_eq!(roots.len(), 1);
    for (path, bytes) in contents(backup.path()) {
        for root in &roots {
            assert!(!bytes.windows(32).any(|window| window == root.key.expose()), "{}", path.display());
        }
        assert!(!bytes.windows(8).any(|window| window == b"IDVHEAD2" || window == b"IDVROOT1"), "{}", path.display());
    }
}

#[test]
fn what_is_not_whole_or_of_another_vault_is_refused_and_changes_nothing() {
    let mut scene = Scene::new();
    scene.record();
    let backup = backed_up(&scene);
    scene.record();
    let of_others = Scene::new();
    of_others.record();
    let of_others = backed_up(&of_others);
    assert!(matches!(put_back(&scene.data(), backup.path()), Err(RestoreError::Vault(OpenError::Locked(_)))));
    let refused = |data: &Path| {
        let before = contents(data);
        let refuse = |change: &dyn Fn(&Path), wanted: &str| {
            let home = tempfile::tempdir().unwrap();
            copy(backup.path(), home.path());
            change(home.path());
            let error = put_back(data, home.path()).unwrap_err().to_string();
            assert!(error.contains(wanted), "{wanted}: {error}");
            assert!(contents(data) == before, "{wanted}");
        };
        let edit = |from: &'static str, to: &'static str| {
            move |home: &Path| {
                let path = home.join("manifest.json");
                let text = fs::read_to_string(&path).unwrap();
                let edited = text.replacen(from, to, 1);
                assert_ne!(edited, text);
                fs::write(path, edited).unwrap();
            }
        };
        refuse(&|home| fs::remove_file(home.join("manifest.json")).unwrap(), "has no manifest");
        refuse(&edit("\"sequence\": ", "\"sequence\": 1"), "manifest");
        refuse(&edit("\"path\": \"ledger/journal/", "\"path\": \"../ledger/journal/"), "manifest");
        refuse(&edit("\"format\": 1", "\"format\": 2"), "manifest");
        refuse(&edit("\"vault\": \"scene\"", "\"vault\": \"obscene\""), "manifest");
        for (path, _) in contents(backup.path()).into_iter().filter(|(path, _)| !path.ends_with("manifest.json")) {
            let name = path.strip_prefix(backup.path()).unwrap();
            let is_volume = name.starts_with("volumes");
            let flip = |home: &Path| {
                let path = home.join(name);
                let mut bytes = fs::read(&path).unwrap();
                bytes[9] ^= 1;
                fs::write(path, bytes).unwrap();
            };
            let lose = |home: &Path| fs::remove_file(home.join(name)).unwrap();
            if !is_volume {
                refuse(&flip, "is not what was backed up");
                refuse(&lose, "No such file");
            }
        }
        let error = put_back(data, of_others.path()).unwrap_err();
        assert!(matches!(error, RestoreError::OtherKeys), "{error}");
        let error =
            restore(&"other".parse().unwrap(), data, &Setting::in_directory(data), backup.path(), &mut |_| ()).unwrap_err();
        assert!(matches!(error, RestoreError::OtherVault { .. }), "{error}");
        assert!(matches!(complete(data), Err(RestoreError::NotRestored)));
        assert!(contents(data) == before);

        let (away, cell) = (data.with_file_name("cell"), data.join("root.cell"));
        fs::rename(&cell, &away).unwrap();
        assert!(matches!(put_back(data, backup.path()), Err(RestoreError::Vault(OpenError::Missing(_)))));
        fs::rename(away, cell).unwrap();

        // A volume of the backup is only wanted where the vault has lost its own.
        let volume =
            contents(data).into_keys().find(|path| path.extension().is_some_and(|extension| extension == "vol")).unwrap();
        fs::remove_file(&volume).unwrap();
        let home = tempfile::tempdir().unwrap();
        copy(backup.path(), home.path());
        fs::write(home.path().join(volume.strip_prefix(data).unwrap()), "other").unwrap();
        let error = put_back(data, home.path()).unwrap_err().to_string();
        assert!(error.contains("is not what was backed up"), "{error}");
    };
    scene.reopen(refused).unwrap();
    assert!(!scene.vault().is_restored());
}
