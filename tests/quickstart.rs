//! The quick start of README.md, line by line in a shell, against the real binary; and a fetch that goes on where it was cut.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart");

/// A copy of the quick start's folder whose vault listens on a port that is free.
fn copy() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for name in ["idvault.toml", "client.toml", "spec.json", "face.jpg"] {
        let bytes = fs::read(Path::new(FOLDER).join(name)).unwrap();
        let bytes = match String::from_utf8(bytes) {
            Ok(text) => text.replace(":7443", &format!(":{port}")).into_bytes(),
            Err(binary) => binary.into_bytes(),
        };
        fs::write(home.path().join(name), bytes).unwrap();
    }
    home
}

/// The commands of the quick start, without the one that builds.
fn commands() -> Vec<&'static str> {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("## Quick start").expect("README.md has a quick start");
    let (_, block) = rest.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let (build, commands) = block.split_once('\n').unwrap();
    assert_eq!(build, "cargo build --release && export PATH=\"$PWD/target/release:$PATH\" && cd examples/quickstart");
    let lines: Vec<_> = commands.lines().collect();
    assert!(lines.iter().filter(|line| !line.starts_with("  ")).count() < 9, "the quick start has grown");
    lines
}

/// Runs a script in `home`; the vault that it starts ends with it.
fn run(home: &Path, script: &str) -> String {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_idvault"));
    let path = format!("{}:/usr/bin:/bin", binary.parent().unwrap().display());
    let script = format!("set -e\ntrap 'kill $(jobs -p)' EXIT\n{script}");
    let out = Command::new("bash").arg("-c").arg(script).current_dir(home).env("PATH", path).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}");
    said
}

/// The fetched records: their folders.
fn records(home: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.join("fetched")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

/// Whether a fetched record is the image that was uploaded.
fn is_the_face(record: &Path) -> bool {
    fs::read(record.join("0.jpeg")).unwrap() == fs::read(Path::new(FOLDER).join("face.jpg")).unwrap()
}

#[test]
fn the_quick_start_leads_to_an_image() {
    let home = copy();
    let said = run(home.path(), &commands().join("\n"));
    let records = records(home.path());
    assert_eq!(records.len(), 1, "{said}");
    assert!(is_the_face(records.first().unwrap()));
}

#[test]
fn a_fetch_goes_on_where_it_was_cut_and_a_refusal_says_what_to_do() {
    let home = copy();
    // The folder as a fetch left it that was cut within its first record; then one that is complete.
    let script = format!(
        "{}\n{}",
        commands().join("\n"),
        r#"
        rm -r fetched/????*/
        mkdir fetched/partial && printf half > fetched/partial/0.jpeg
        sed -i 's/"next_position": 1/"next_position": 0/; s/"records": 1/"records": 0/' fetched/fetch.json
        idvault fetch "$job" fetched --profile trainer
        idvault fetch "$job" fetched --profile trainer
        for refused in "fetch $job fetched --epoch 1 --profile trainer" "status --profile trainer" "status --profile nobody" \
            "show tenants/acme/records/1 --profile acme" "put --tenant acme --call-id c --receipt receipt.jws FACE=face.jpg --profile acme"; do
            if idvault $refused; then exit 1; else echo "exit $?"; fi
        done
        record=$(idvault put --tenant acme --call-id check-2 --receipt receipt.jws FACE_IMAGE=face.jpg --profile acme --name)
        idvault shred "$record" --profile acme --json
        idvault completions bash | grep -q idvault
        mkdir man && idvault man man && ls man
        "#
    );
    let said = run(home.path(), &script);
    for wanted in [
        "1 records in fetched; 0 gone, 0 damaged",
        "fetched holds another epoch: name another folder",
        "call as somebody whose role allows it",
        "has no profile \"nobody\"; it has: acme, model-owner, operator, privacy-officer, requester, trainer",
        "must be tenants/{tenant}/records/{record} (INVALID_FIELD)",
        "\"FACE\" is no category",
        "exit 64",
        "exit 70",
        "\"record_count\": 1",
        "idvault-fetch.1",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let [record] = records(home.path()).try_into().unwrap_or_else(|found| panic!("{found:?}"));
    assert!(is_the_face(&record));
}
