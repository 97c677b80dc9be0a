//! `kill -9` of the real binary while clients upload, shred and withdraw, again and again on one directory.

use std::collections::BTreeMap;

use idvault::proto::{CreateRecordRequest, Record};
use tokio::sync::mpsc;
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_types::StatusExt;

use crate::client::{Client, reason_of};
use crate::expected::{Expected, job, upload};
use crate::process::Process;
use crate::random::Random;
use crate::server::{Clock, eventually, together};
use crate::world::Provider;

const ROUNDS: u64 = 12;
const CLIENTS: u64 = 4;
/// After how many answers the server is killed, at the most.
const ANSWERS: u64 = 40;
/// The seed of a run to be repeated; how far the server comes before each kill is not in it.
const SEED: Option<&str> = option_env!("IDVAULT_CRASH_SEED");

/// What one client did until the server was gone.
#[derive(Default)]
struct Done {
    taken_in: BTreeMap<u64, (CreateRecordRequest, Record)>,
    destroyed: Vec<u64>,
    /// The upload without an answer.
    open: Option<(u64, CreateRecordRequest)>,
    /// The record whose destruction was asked for without an answer.
    ending: Option<u64>,
}

/// Uploads, shreds and withdraws until the server is gone.
async fn work(client: Client, mut random: Random, first: u64, clock: Clock, answers: mpsc::UnboundedSender<()>) -> Done {
    let (acme, mut done) = (Provider::new("acme"), Done::default());
    for mark in first.. {
        let living: Vec<_> = done.taken_in.keys().copied().filter(|mark| !done.destroyed.contains(mark)).collect();
        if !living.is_empty() && random.below(3) == 0 {
            let chosen = living[random.index(living.len())];
            let record = &done.taken_in[&chosen].1;
            let ended = if random.below(2) == 0 {
                acme.shred(&client, record).await.map(|destruction| destruction.record_count)
            } else {
                let answer = acme.withdraw(&client, record, &[]).await;
                answer.map(|answer| answer.destruction.unwrap().record_count)
            };
            match ended {
                Ok(count) => assert_eq!(count, 1),
                Err(status) => {
                    assert_is_cut_off(&status);
                    done.ending = Some(chosen);
                    break;
                }
            }
            done.destroyed.push(chosen);
        } else {
            // One in fifty spans several frames; one in four lives for two hours only.
            let size = if random.below(50) == 0 { 1_100_000 } else { 60 + random.index(9_000) };
            let short = (random.below(4) == 0).then(|| clock.now().timestamp() / 3600 * 3600 + 2 * 3600);
            let request = upload(&acme, mark, size, &clock, short);
            match acme.send(&client, request.clone()).await {
                Ok(record) => done.taken_in.insert(mark, (request, record)),
                Err(status) => {
                    assert_is_cut_off(&status);
                    done.open = Some((mark, request));
                    break;
                }
            };
        }
        answers.send(()).unwrap_or_default();
    }
    done
}

/// Fails when a call ended otherwise than with the server.
fn assert_is_cut_off(status: &Status) {
    assert!(status.get_details_error_info().is_none(), "{status:?}");
}

impl Expected {
    /// Takes over what a client knows.
    fn learn(&mut self, done: Done) -> Option<Record> {
        let ending = done.ending.map(|mark| self.take_open(mark, &done));
        for (mark, (request, record)) in done.taken_in {
            if done.destroyed.contains(&mark) {
                self.gone.insert(mark, record);
            } else if done.ending != Some(mark) {
                self.alive.insert(mark, (request, record));
            }
        }
        self.open.extend(done.open);
        ending
    }

    fn take_open(&mut self, mark: u64, done: &Done) -> Record {
        let (request, record) = &done.taken_in[&mark];
        self.open.insert(mark, request.clone());
        record.clone()
    }
}

/// Asks again for what got no answer, until nothing is open: as a client would.
async fn settle(expected: &mut Expected, client: &Client, ending: Vec<Record>) {
    let acme = Provider::new("acme");
    for record in ending {
        match acme.shred(client, &record).await {
            Ok(destruction) => assert_eq!(destruction.record_count, 1),
            Err(status) => assert_eq!(reason_of(&status), (Code::NotFound, "RECORD_GONE".to_owned())),
        }
        let (mark, _) = expected.open.iter().find(|(_, request)| is_of(request, &record)).unwrap();
        let mark = *mark;
        expected.open.remove(&mark);
        expected.gone.insert(mark, record);
    }
    for (mark, request) in std::mem::take(&mut expected.open) {
        match acme.send(client, request.clone()).await {
            Ok(record) => drop(expected.alive.insert(mark, (request, record))),
            // It never was, and by now its receipt ends too soon.
            Err(status) => assert_eq!(reason_of(&status).1, "RETENTION_TOO_SHORT"),
        }
    }
}

fn is_of(request: &CreateRecordRequest, record: &Record) -> bool {
    request.header.as_ref().unwrap().call_id == record.call_id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_and_nothing_destroyed_comes_back() {
    let seed = SEED.map_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0, |seed| seed.parse().unwrap());
    println!("IDVAULT_CRASH_SEED={seed}");
    let mut random = Random(seed);
    let home = tempfile::tempdir().unwrap();
    let mut clock = Clock::new(home.path().join("clock"));
    let acme = Provider::new("acme");
    let mut expected = Expected::default();
    let mut process = Process::start(home.path());
    let client = Client::connect(process.address).await.unwrap();
    acme.create(&client).await;
    let job = job(&client, &acme, &clock).await;
    let mut ended = 0;
    for round in 0..ROUNDS {
        let (answer, mut answers) = mpsc::unbounded_channel();
        let mut workers = Vec::new();
        for number in 0..CLIENTS {
            let client = Client::connect(process.address).await.unwrap();
            let first = (round * CLIENTS + number) * 1_000_000;
            workers.push(work(client, Random(random.below(u64::MAX)), first, clock.clone(), answer.clone()));
        }
        let working = tokio::spawn(together(workers));
        for _ in 0..=random.below(ANSWERS) {
            answers.recv().await.unwrap();
        }
        for _ in 0..random.below(3_000) {
            tokio::task::yield_now().await;
        }
        process.kill();
        let ending: Vec<_> = working.await.unwrap().into_iter().filter_map(|done| expected.learn(done)).collect();
        ended += ending.len();

        clock.advance(chrono::TimeDelta::minutes(40));
        expected.expire(&clock);
        process = Process::start(home.path());
        let client = Client::connect(process.address).await.unwrap();
        expected.check(&client, &acme, &job).await;
        eventually(async || process.health().await == ServingStatus::Serving).await;
        settle(&mut expected, &client, ending).await;
    }
    let client = Client::connect(process.address).await.unwrap();
    expected.check(&client, &acme, &job).await;
    println!("{} alive, {} gone, {ended} killed while being destroyed", expected.alive.len(), expected.gone.len());
    assert!(expected.alive.len() > 10 && expected.gone.len() > 10, "too little happened");
}
