//! Calls that fail: the disk is full or broken at one system call, at one deed of the real binary. It says so, or goes on
//! rightly, or stops and says why; and the next start, on a disk that works again, has what was acknowledged and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use idvault::proto::fetch_records_response::Tombstone;
use idvault::proto::{Record, TrainingJob};
use tempfile::TempDir;
use tonic::Status;
use tonic_types::StatusExt;

use crate::client::Client;
use crate::expected::{Expected, job, upload};
use crate::injection::{Tracer, aftermath, has_failed};
use crate::parallel::{TURN, folder, in_parallel};
use crate::process::Process;
use crate::server::{Clock, Server, copy, eventually};
use crate::stream::{Epoch, whole};
use crate::trace;
use crate::world::{Provider, snapshot};

/// What the vault does when a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Start,
    Upload,
    /// An upload into an hour that has no folder yet.
    NewHour,
    /// An upload of several frames.
    Large,
    Shred,
    Withdraw,
    /// After a shred, its page gets a file of its own.
    Tidy,
    Fetch,
    /// An hour ends.
    Expire,
    /// A day ends: a dump and a checkpoint are taken.
    Day,
}

use Deed::{Day, Expire, Fetch, Large, NewHour, Shred, Start, Tidy, Upload, Withdraw};

/// A call that fails.
#[derive(Debug, Clone, Copy)]
struct Fault {
    deed: Deed,
    /// The call, and of which file if not of any.
    call: &'static str,
    of: Option<&'static str>,
    error: &'static str,
    /// Which of a thread's calls it is.
    which: usize,
    /// Whether all later ones fail too.
    lasts: bool,
}

const VOLUMES: &str = "volumes/*/1.vol";
const HEADS: &str = "keyring/head.*";
const NEW_PAGES: &str = "keyring/*.new";
const INDEX: &str = "ledger/index/*";

/// The calls that may fail at a deed. Of those that programs use for more than files only some on some files.
const CALLS: &[(&[Deed], &str, Option<&str>)] = &[
    (&[Start, Upload, NewHour, Large, Shred, Withdraw, Expire, Day], "pwrite64", None),
    (&[Start, Upload, NewHour, Large, Shred, Withdraw, Expire], "fdatasync", None),
    (&[Start, NewHour, Shred, Withdraw, Expire, Day], "fsync", None),
    (&[Start, Expire, Day], "ftruncate", None),
    (&[Start, Day], "rename", None),
    (&[Start, NewHour, Day], "mkdir", None),
    (&[Shred, Withdraw, Day], "unlink", None),
    (&[Expire], "unlinkat", None),
    (&[Upload, Large, Day], "statfs", None),
    (&[Shred, Withdraw, Expire], "fadvise64", None),
    (&[Shred, Withdraw, Expire], "pread64", None),
    (&[Fetch], "pread64", Some(VOLUMES)),
    (&[Start], "write", Some(INDEX)),
    (&[Start], "openat", Some(INDEX)),
    (&[Day], "write", Some("ledger/dump/draft")),
    (&[Day], "openat", Some("ledger/dump/draft")),
    (&[Day], "openat", Some("heartbeat.new")),
    (&[Shred, Withdraw, Expire], "openat", Some(HEADS)),
    (&[Tidy], "openat", Some(NEW_PAGES)),
    (&[Tidy], "ftruncate", Some(NEW_PAGES)),
    (&[Tidy], "pwrite64", Some(NEW_PAGES)),
    (&[Tidy], "fdatasync", Some(NEW_PAGES)),
    (&[Tidy], "fadvise64", Some(NEW_PAGES)),
    (&[Tidy], "pread64", Some(NEW_PAGES)),
    (&[Tidy], "rename", Some(NEW_PAGES)),
    (&[Tidy], "fsync", Some("keyring")),
    (&[Tidy], "unlink", None),
];

/// A vault that faults are tried on, each on a copy: what it holds, and when it was left.
struct Base {
    home: Arc<TempDir>,
    expected: Expected,
    job: TrainingJob,
    now: DateTime<Utc>,
}

impl Base {
    async fn make() -> Self {
        let home = Arc::new(folder());
        let clock = Clock::new(home.path().join("clock"));
        let server = Server::run(home, clock).await;
        server.acme.create(&server.client).await;
        let job = job(&server.client, &server.acme, &server.clock).await;
        let mut expected = Expected::default();
        for mark in 0..5 {
            // The first lives for two hours only.
            let request = upload(&server.acme, mark, 5_000, &server.clock, (mark == 0).then(|| in_hours(&server.clock, 2)));
            let record = server.acme.send(&server.client, request.clone()).await.unwrap();
            expected.alive.insert(mark, (request, record));
        }
        // Its hour has a page, which the next destruction replaces.
        let request = upload(&server.acme, 5, 5_000, &server.clock, None);
        let gone = server.acme.send(&server.client, request).await.unwrap();
        server.acme.shred(&server.client, &gone).await.unwrap();
        expected.gone.insert(5, gone);
        let (home, clock) = server.stop().await;
        Self { home, expected, job, now: clock.now() }
    }
}

/// The end of the hour in so many hours.
fn in_hours(clock: &Clock, hours: i64) -> i64 {
    clock.now().timestamp() / 3600 * 3600 + hours * 3600
}

/// A vault at which a call fails.
struct Trial {
    fault: Fault,
    home: Arc<TempDir>,
    clock: Clock,
    acme: Provider,
    expected: Expected,
}

impl Trial {
    fn new(fault: Fault, base: &Base) -> Self {
        let home = Arc::new(folder());
        copy(&base.home.path().join("data"), &home.path().join("data"));
        let mut clock = Clock::new(home.path().join("clock"));
        clock.set(base.now);
        Self { fault, home, clock, acme: Provider::new("acme"), expected: base.expected.clone() }
    }

    /// What strace is told.
    fn injection(&self) -> Vec<String> {
        let Fault { call, of, error, which, lasts, .. } = self.fault;
        let paths = of.map(|of| self.paths(of)).unwrap_or_default();
        let rest = if lasts { "+" } else { "" };
        // Syncs and writes too, to see what is done after a failed one.
        let watched = format!("{call},fsync,fdatasync,pwrite64");
        let tell = format!("inject={call}:error={error}:when={which}{rest}");
        let options = ["-f", "-y", "-s", "0", "-e", &format!("trace={watched}"), "-e", &tell].map(str::to_owned);
        options.into_iter().chain(paths.into_iter().flat_map(|path| ["-P".to_owned(), path])).collect()
    }

    /// The files of this name.
    fn paths(&self, of: &str) -> Vec<String> {
        let data = self.home.path().join("data");
        let hours = fs::read_dir(data.join("volumes")).unwrap().map(|hour| hour.unwrap().path().join("1.vol"));
        let paths = match of {
            VOLUMES => hours.collect(),
            HEADS => vec![data.join("keyring/head.0"), data.join("keyring/head.1")],
            // Those that it has and those that it makes.
            INDEX => (0..32)
                .flat_map(|id| [format!("tables/{id}"), format!("v{id}")])
                .map(|name| data.join("ledger/index").join(name))
                .collect(),
            NEW_PAGES => self.pages().iter().flat_map(|page| (0..32).map(|generation| new_page(page, generation))).collect(),
            one => vec![data.join(one)],
        };
        paths.into_iter().map(|path| path.to_str().unwrap().to_owned()).collect()
    }

    /// The pages that have files.
    fn pages(&self) -> BTreeSet<PathBuf> {
        let files = fs::read_dir(self.home.path().join("data/keyring")).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "page")).collect()
    }

    /// Has the call fail while the deed is done. How often it did; on a disk that works again the vault then is what it must be.
    async fn run(mut self, job: &TrainingJob) -> usize {
        let log = self.home.path().join("trace");
        let process = if self.fault.deed == Start {
            Process::attempt(trace::command(&self.injection(), &log), self.home.path())
        } else {
            let mut process = Process::start(self.home.path());
            let client = Client::connect(process.address).await.unwrap();
            let tracer = Tracer::attach(&self.injection(), process.id(), &log).unwrap();
            self.act(&client, &mut process, job, &log).await;
            drop(tracer);
            Ok(process)
        };
        let end = match process {
            Ok(process) => {
                self.go_on(&Client::connect(process.address).await).await;
                process.end().await
            }
            Err(end) => end,
        };
        let code = end.status.code();
        let says_why = end.said.iter().any(|line| line.contains("\"ERROR\"") || line.starts_with("idvault: "));
        assert!(code == Some(0) || code == Some(70) && says_why, "{end:#?}");
        let injected = aftermath(&log);
        if self.fault.of == Some(VOLUMES) {
            assert!(code == Some(0) && self.expected.alive.contains_key(&9), "a read costs what it is of and never the vault");
        }
        self.check(job).await;
        injected
    }

    async fn act(&mut self, client: &Client, process: &mut Process, job: &TrainingJob, log: &Path) {
        match self.fault.deed {
            Start => {}
            Upload => self.upload(client, 6, 5_000).await,
            NewHour => self.upload(client, 7, 5_000).await,
            Large => self.upload(client, 8, 1_200_000).await,
            Shred | Withdraw | Tidy => {
                let before = self.pages();
                let (request, record) = self.expected.alive.remove(&1).unwrap();
                match self.destroy(client, &record).await {
                    Ok(()) => drop(self.expected.gone.insert(1, record)),
                    Err(status) => {
                        self.is_clear(&status);
                        self.expected.open.insert(1, request);
                    }
                }
                // The page has a file of its own, and the one before is gone.
                let is_done = || self.pages().len() == before.len() && self.pages().is_disjoint(&before);
                let waits = self.fault.deed == Tidy;
                eventually(async || !waits || is_done() || has_failed(log) || process.has_ended()).await;
            }
            Fetch => self.fetch(client, job, log).await.unwrap_or_else(|status| self.is_clear(&status)),
            Expire | Day => {
                self.clock.advance(if self.fault.deed == Day { TimeDelta::days(1) } else { TimeDelta::hours(3) });
                self.expected.expire(&self.clock);
                let data = self.home.path().join("data");
                let count = |folder: &str| fs::read_dir(data.join(folder)).unwrap().count();
                let is_done = || count("volumes") == 1 && (self.fault.deed == Expire || count("ledger/journal") == 1);
                eventually(async || is_done() || has_failed(log) || process.has_ended()).await;
            }
        }
    }

    async fn upload(&mut self, client: &Client, mark: u64, size: usize) {
        let end = (self.fault.deed == NewHour).then(|| in_hours(&self.clock, 5));
        let request = upload(&self.acme, mark, size, &self.clock, end);
        match self.acme.send(client, request.clone()).await {
            Ok(record) => drop(self.expected.alive.insert(mark, (request, record))),
            Err(status) => {
                self.is_clear(&status);
                // What is refused for want of room is not there.
                if reason(&status) != "STORAGE_FULL" {
                    self.expected.open.insert(mark, request);
                }
            }
        }
    }

    async fn destroy(&self, client: &Client, record: &Record) -> Result<(), Status> {
        if self.fault.deed != Withdraw {
            return self.acme.shred(client, record).await.map(drop);
        }
        self.acme.withdraw(client, record, &[]).await.map(drop)
    }

    /// A read of a volume that fails costs the record that it is of.
    async fn fetch(&self, client: &Client, job: &TrainingJob, log: &Path) -> Result<(), Status> {
        let epoch = Epoch::read(client, whole(&snapshot(client, job).await)).await?;
        let damaged = epoch.tombstones(Tombstone::Damaged);
        assert_eq!(epoch.faces().len() + damaged, self.expected.alive.len());
        assert_eq!(damaged > 0, has_failed(log));
        Ok(())
    }

    /// A refusal says why, or the server was gone.
    fn is_clear(&self, status: &Status) {
        let reasons = ["STORAGE_FULL", "KEYRING_UNAVAILABLE", ""];
        assert!(reasons.contains(&reason(status).as_str()), "{:?}: {status:?}", self.fault);
    }

    /// A vault that has not stopped takes in the next record.
    async fn go_on(&mut self, client: &Result<Client, tonic::transport::Error>) {
        if let Ok(client) = client {
            self.upload(client, 9, 300).await;
        }
    }

    /// Starts the vault twice on a disk that works, and checks what it holds. A process of its own each time, since what this one
    /// locks its children may hold for a moment.
    async fn check(&mut self, job: &TrainingJob) {
        for _ in 0..2 {
            self.expected.expire(&self.clock);
            let process = Process::start(self.home.path());
            let client = Client::connect(process.address).await.unwrap();
            self.expected.check(&client, &self.acme, job).await;
            drop(client);
            assert!(process.end().await.status.success());
            // At the next start perhaps a checkpoint, on what this one made of it.
            self.clock.advance(TimeDelta::hours(12));
        }
    }
}

/// What the page of the same hour and this generation is called until it is whole.
fn new_page(page: &Path, generation: u64) -> PathBuf {
    let hour = page.file_stem().unwrap().to_str().unwrap().split('-').next().unwrap();
    page.with_file_name(format!("{hour}-{generation}.new"))
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// Every deed with every call that it may fail at, at the call of this number of each thread.
fn faults(which: usize) -> impl Iterator<Item = Fault> {
    CALLS.iter().flat_map(move |(deeds, call, of)| {
        deeds.iter().flat_map(move |deed| {
            [("EIO", false), ("ENOSPC", true)].map(|(error, lasts)| Fault { deed: *deed, call, of: *of, error, which, lasts })
        })
    })
}

/// Tries all these, and says which of them came to pass.
fn try_all(base: &Base, faults: Vec<Fault>) -> Vec<Fault> {
    let count = faults.len();
    let passed = in_parallel(faults, async |fault| (fault, Trial::new(fault, base).run(&base.job).await));
    let passed: Vec<_> = passed.into_iter().filter(|(_, injected)| *injected > 0).map(|(fault, _)| fault).collect();
    println!("{count} faults, of which {} came to pass", passed.len());
    passed
}

#[tokio::test]
async fn a_call_that_fails_costs_nothing_that_was_acknowledged() {
    if !trace::may_trace() || !Tracer::may_attach() {
        return println!("skipped: strace is not there or may not trace");
    }
    let _turn = TURN.lock().await;
    let (faults, base) = (faults(1).collect::<Vec<_>>(), Base::make().await);
    let count = faults.len();
    assert!(try_all(&base, faults).len() > count / 2, "too little failed");
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn every_call_that_fails_costs_nothing_that_was_acknowledged() {
    let _turn = TURN.lock().await;
    let (base, mut which) = (Base::make().await, 1);
    loop {
        let passed = try_all(&base, faults(which).collect());
        println!("call {which}");
        if passed.is_empty() {
            return;
        }
        which += 1;
    }
}
