//! Durability, seen from the kernel: no upload is answered before its volume and the journal are synced, no shred before the
//! root cell is.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "vault/client.rs"]
#[expect(dead_code, reason = "shared with the behaviour tests, which need more of it")]
mod client;
#[path = "crash/process.rs"]
#[expect(dead_code, reason = "shared with the crash tests, which need more of it")]
mod process;
#[path = "vault/world.rs"]
#[expect(dead_code, reason = "shared with the behaviour tests, which need more of it")]
mod world;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono::{DateTime, SecondsFormat};

use client::Client;
use process::Process;
use world::Provider;

const UPLOADS: u64 = 20;

/// What strace wrote, and how many lines of it were read.
struct Trace {
    path: PathBuf,
    read: usize,
}

impl Trace {
    /// The files that were synced since it was last asked, in the order in which the syncs ended well. The kernel lets a
    /// traced call return only after strace has written it down.
    fn synced(&mut self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.path).unwrap();
        let (mut begun, mut synced) = (HashMap::new(), Vec::new());
        for line in text.lines().skip(self.read) {
            let (process, call) = line.split_once(' ').unwrap();
            if let Some((_, rest)) = call.split_once('<').filter(|_| call.trim_start().starts_with('f')) {
                begun.insert(process, rest.split_once('>').unwrap().0);
            }
            if call.ends_with("= 0") {
                synced.extend(begun.remove(process).map(str::to_owned));
            }
        }
        self.read = text.lines().count();
        synced
    }
}

/// Where the first of these files is that ends in `name`.
fn place_of(name: &str, synced: &[String]) -> usize {
    synced.iter().position(|path| path.ends_with(name)).unwrap_or_else(|| panic!("{name} was not synced: {synced:?}"))
}

/// A server under strace that writes to `trace`, if this machine lets one process trace another.
fn traced(home: &Path, trace: &Path) -> Option<Process> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-e", "trace=fsync,fdatasync", "-o"]);
    let probe = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    // As a grandchild (-D), so that the server itself is the child that is killed in the end.
    let may = probe.is_ok_and(|probe| probe.success());
    strace.arg(trace).arg("-D").arg(env!("CARGO_BIN_EXE_idvault"));
    may.then(|| Process::run(strace, home))
}

#[tokio::test]
async fn what_is_acknowledged_is_synced() {
    let home = tempfile::tempdir().unwrap();
    let now = DateTime::from_timestamp(1_930_036_200, 0).unwrap();
    std::fs::write(home.path().join("clock"), now.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap();
    let path = home.path().join("trace");
    let Some(process) = traced(home.path(), &path) else {
        println!("skipped: strace is not there or may not trace");
        return;
    };
    let client = Client::connect(process.address).await.unwrap();
    let acme = Provider::new("acme");
    let mut trace = Trace { path, read: 0 };
    acme.create(&client).await;
    place_of(".journal", &trace.synced());
    let mut records = Vec::new();
    for mark in 0..UPLOADS {
        let upload = acme.upload_face(mark, 9_000, now);
        records.push(acme.send(&client, upload).await.unwrap());
        let synced = trace.synced();
        assert!(place_of(".vol", &synced) < place_of(".journal", &synced), "rows before the data that they name: {synced:?}");
    }
    for record in &records[..3] {
        assert_eq!(acme.shred(&client, record).await.unwrap().record_count, 1);
        let synced = trace.synced();
        let (marked, root) = (place_of(".journal", &synced), place_of("/root.cell", &synced));
        assert!(marked < root, "{synced:?}");
        assert!(synced[marked..root].iter().any(|path| path.contains("/keyring/head.")), "{synced:?}");
        assert_eq!(synced.iter().filter(|path| path.ends_with("/root.cell")).count(), 2, "the new root, then the old one");
        place_of(".journal", &synced[root..]);
    }
    process.kill();
}
