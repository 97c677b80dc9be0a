//! A thousand open streams: what the server then holds stays within its budget, and others are served.

use std::path::PathBuf;

use idvault::proto::{CreateRecordRequest, FetchRecordsRequest, TrainingJobSpec};

use crate::client::{Client, WORKLOAD, spiffe_id};
use crate::open::{Call, Fetch, Line, half};
use crate::process::Process;
use crate::server::{Clock, eventually};
use crate::stream::{Epoch, whole};
use crate::world::{Provider, face, messages, snapshot_of};

/// What the server may hold at any time, in KiB: docs/operations.md, under Memory, says what it is made of.
const BUDGET: u64 = 384 << 10;
const UPLOADS: usize = 600;
const FETCHES: usize = 400;
const UPLOADS_PER_LINE: usize = 25;
const FETCHES_PER_LINE: usize = 40;
/// How many uploads have a place.
const PLACES: usize = 64;
/// Who sends them.
const TENANTS: usize = 5;
const CROWD: &str = "workload/crowd";
const MIB: usize = 1 << 20;
/// How many times in a row nothing may have changed until the server is taken to be at rest.
const QUIET: usize = 100;

/// The memory of a process, read from /proc.
pub(crate) struct Memory(PathBuf);

impl Memory {
    pub(crate) fn of(process: &Process) -> Self {
        Self(format!("/proc/{}/status", process.id()).into())
    }

    /// A line of it, in KiB.
    pub(crate) fn get(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(&self.0).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
    }

    /// Waits until it does not grow any more.
    async fn rest(&self, client: &Client, provider: &Provider) {
        let (mut most, mut quiet) = (0, 0);
        eventually(async || {
            provider.status(client).await;
            let now = self.get("RssAnon");
            quiet = if now > most + 64 { 0 } else { quiet + 1 };
            most = most.max(now);
            quiet == QUIET
        })
        .await;
    }
}

/// Uploads that stop in the middle of a chunk, each tenant's over connections of its own.
async fn stalled_uploads(process: &Process, clock: &Clock, tenants: &[Provider]) -> (Vec<Line>, Vec<Call>) {
    let (mut lines, mut senders) = (Vec::new(), Vec::new());
    let parts = vec![face(1, 2 * MIB)];
    for number in 0..UPLOADS / UPLOADS_PER_LINE {
        let tenant = &tenants[number % tenants.len()];
        let mut line = Line::connect(process.address).await;
        for _ in 0..UPLOADS_PER_LINE {
            let mut call = line.upload(&tenant.caller()).await;
            let upload = CreateRecordRequest { parts: parts.clone(), ..tenant.upload_face(1, 20, clock.now()) };
            let bytes = half(&messages(upload, MIB));
            senders.push(tokio::spawn(async move {
                call.send(&bytes, false).await;
                call
            }));
        }
        lines.push(line);
    }
    let mut calls = Vec::new();
    for sender in senders {
        calls.push(sender.await.unwrap());
    }
    (lines, calls)
}

/// Fetches that nobody reads.
async fn unread_fetches(process: &Process, request: &FetchRecordsRequest) -> (Vec<Line>, Vec<Fetch>) {
    let (mut lines, mut fetches) = (Vec::new(), Vec::new());
    for number in 0..FETCHES / FETCHES_PER_LINE {
        let mut line = Line::connect(process.address).await;
        for seed in 0..FETCHES_PER_LINE {
            let seed = u64::try_from(number * FETCHES_PER_LINE + seed).unwrap();
            fetches.push(line.fetch(CROWD, &FetchRecordsRequest { seed, ..request.clone() }).await);
        }
        lines.push(line);
    }
    (lines, fetches)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_open_streams_stay_within_the_budget_and_hold_up_nobody() {
    let home = tempfile::tempdir().unwrap();
    let clock = Clock::new(home.path().join("clock"));
    let process = Process::start(home.path());
    let memory = Memory::of(&process);
    let client = Client::connect(process.address).await.unwrap();
    let tenants: Vec<_> = (0..TENANTS).map(|number| Provider::new(&format!("crowd-{number}"))).collect();
    let acme = Provider::new("acme");
    for provider in tenants.iter().chain([&acme]) {
        provider.create(&client).await;
    }
    for mark in 0..4 {
        acme.stream(&client, messages(acme.upload_face(mark, 3 * MIB, clock.now()), MIB)).await.unwrap();
    }
    let workloads = vec![spiffe_id(WORKLOAD), spiffe_id(CROWD)];
    let list = snapshot_of(&client, TrainingJobSpec { workloads, ..acme.spec(clock.now()) }).await;
    let before = memory.get("VmHWM");

    let (fetch_lines, fetches) = unread_fetches(&process, &whole(&list)).await;
    memory.rest(&client, &acme).await;
    let unread = memory.get("RssAnon");
    let (upload_lines, mut uploads) = stalled_uploads(&process, &clock, &tenants).await;
    memory.rest(&client, &acme).await;

    // Others meanwhile, whichever way they come.
    acme.send(&client, acme.upload(clock.now())).await.unwrap();
    acme.stream(&client, messages(acme.upload(clock.now()), MIB)).await.unwrap();
    let epoch = Epoch::read(&client, whole(&list)).await.unwrap();
    assert_eq!(epoch.faces().len(), 4);

    // Those that have a place are under way; the others are refused, each within a second or so.
    let mut refused = 0;
    eventually(async || {
        acme.status(&client).await;
        let waiting = uploads.len();
        uploads.retain_mut(|call| call.answered().is_none_or(|status| status != "8"));
        refused += waiting - uploads.len();
        uploads.len() <= PLACES
    })
    .await;
    let (peak, now) = (memory.get("VmHWM"), memory.get("RssAnon"));
    println!(
        "KiB: {before} before, {unread} with {FETCHES} unread, {now} with {UPLOADS} uploads, {peak} at the peak, {refused} refused"
    );
    assert!(uploads.len() >= TENANTS, "nobody got a place");
    assert!(peak < BUDGET, "{peak} KiB at the peak");
    drop((fetch_lines, fetches, upload_lines));
}
