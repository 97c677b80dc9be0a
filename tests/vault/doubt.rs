//! `CLOCK_UNTRUSTED`, as callers see it: nothing comes in or goes out, what is taken back goes, and the ways out of it: the wall set
//! right, the grace period, an operator's word.

use std::io;
use std::path::Path;

use chrono::TimeDelta;
use futures_util::stream::poll_fn;
use idvault::clock::{FileSource, Reading, Source};
use idvault::proto::{CreateSnapshotRequest, Record, UploadRecordRequest};
use idvault::vault::release::MESSAGE_BYTES;
use idvault::vault::trust::{accept_clock, is_accepted};
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use uuid::Uuid;

use crate::client::{WORKLOAD, reason_of, refused};
use crate::restored::health;
use crate::server::{Clock, Server, eventually};
use crate::stream::{Epoch, whole};
use crate::streamed::video;
use crate::time::is_destroyed;
use crate::withdraw::stream;
use crate::world::{active_job, messages, snapshot};

/// A clock file on a machine that can be booted.
#[derive(Debug)]
struct Booted(FileSource, u8);

impl Source for Booted {
    fn read(&self) -> io::Result<Reading> {
        Ok(Reading { boot: [self.1; 16], ..self.0.read()? })
    }
    fn is_simulated(&self) -> bool {
        true
    }
}

impl Booted {
    fn new(home: &Path, boot: u8) -> Self {
        Self(FileSource::open(&home.join("clock")).unwrap(), boot)
    }
}

async fn says(server: &Server, status: ServingStatus) {
    eventually(async || health(server, "").await == Some(status)).await;
}

async fn upload(server: &Server, mark: u64) -> Result<Record, Status> {
    server.acme.send(&server.client, server.acme.upload_face(mark, 900_000, server.clock.now())).await
}

fn is_untrusted(status: &Status) {
    assert_eq!(reason_of(status), (Code::Unavailable, "CLOCK_UNTRUSTED".to_owned()));
}

/// A vault with a tenant whose clocks go apart, and which doubts a wall for ever.
async fn patient() -> Server {
    let home = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let mut clock = Clock::new(home.path().join("clock"));
    clock.set_both(clock.now(), TimeDelta::zero());
    let server = Server::run_as(home, clock, |blueprint| blueprint.limits.grace = TimeDelta::days(1000)).await.unwrap();
    server.acme.create(&server.client).await;
    server
}

#[tokio::test]
async fn nothing_comes_in_or_goes_out_and_what_is_taken_back_goes() {
    let mut server = patient().await;
    let (client, start) = (server.client.clone(), server.clock.now());
    let mut records = Vec::new();
    for mark in 0..4 {
        records.push(upload(&server, mark).await.unwrap());
    }
    let job = active_job(&client, server.acme.spec(start)).await;
    let list = snapshot(&client, &job).await;
    let mut epoch = Epoch::open(&client, whole(&list)).await.unwrap();
    assert!(epoch.read_one().await.unwrap());
    let mut release = stream(&server, &list);
    let decided = server.vault().next_message(&mut release, MESSAGE_BYTES).unwrap().unwrap();
    // An upload of which a part has arrived.
    let mut large = server.acme.upload_face(9, 100, start);
    large.parts.push(video(5 << 20));
    let mut parts = messages(large, 1 << 20).into_iter();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<UploadRecordRequest>();
    parts.by_ref().take(6).for_each(|part| sender.send(part).unwrap());
    let stored = || server.volumes().iter().map(|path| path.metadata().unwrap().len()).sum::<u64>();
    let before = stored();
    let mut caller = client.records("tenant/acme");
    let uploading = tokio::spawn(async move { caller.upload_record(poll_fn(move |cx| receiver.poll_recv(cx))).await });
    eventually(async || stored() > before).await;

    server.clock.set_both(start + TimeDelta::days(3), TimeDelta::zero());
    says(&server, ServingStatus::NotServing).await;
    assert!(!server.vault().hand_over(&mut release, decided, |_, _| panic!("it was handed over")));
    is_untrusted(&epoch.read_all().await.unwrap_err());
    // It may have ended already, over what had been sent.
    parts.for_each(|part| drop(sender.send(part)));
    is_untrusted(&uploading.await.unwrap().unwrap_err());
    is_untrusted(&upload(&server, 5).await.unwrap_err());
    let list_again = CreateSnapshotRequest { parent: job.name.clone(), request_id: Uuid::new_v4().to_string() };
    refused(client.training(WORKLOAD).create_snapshot(list_again).await, Code::Unavailable, "CLOCK_UNTRUSTED");
    refused(client.training(WORKLOAD).fetch_records(whole(&list)).await, Code::Unavailable, "CLOCK_UNTRUSTED");

    let withdrawn = server.acme.withdraw(&client, &records[0], &[]).await.unwrap();
    assert_eq!(withdrawn.destruction.unwrap().record_count, 1);
    assert_eq!(server.acme.shred(&client, &records[1]).await.unwrap().record_count, 1);
    let status = server.acme.status(&client).await;
    assert_eq!(status.live_record_count + status.backlog_record_count, 2);
    // What is due by the trusted time is destroyed, whatever the wall says.
    server.clock.set_both(start + TimeDelta::days(33), TimeDelta::days(30));
    eventually(async || is_destroyed(&server).await).await;
    says(&server, ServingStatus::NotServing).await;
    server.clock.set_both(start + TimeDelta::days(30), TimeDelta::days(30));
    says(&server, ServingStatus::Serving).await;
    upload(&server, 6).await.unwrap();
}

#[tokio::test]
async fn a_wall_that_stands_for_the_grace_period_is_believed() {
    let mut server = Server::start_elapsed(Some(TimeDelta::zero())).await;
    server.acme.create(&server.client).await;
    let start = server.clock.now();
    upload(&server, 1).await.unwrap();
    let at = |server: &mut Server, elapsed: TimeDelta| server.clock.set_both(start + TimeDelta::days(40) + elapsed, elapsed);
    at(&mut server, TimeDelta::zero());
    says(&server, ServingStatus::NotServing).await;
    at(&mut server, TimeDelta::hours(10));
    server.vault().tick().unwrap();
    let mut server = server.restart().await;
    says(&server, ServingStatus::NotServing).await;
    at(&mut server, TimeDelta::hours(24) - TimeDelta::seconds(1));
    server.vault().tick().unwrap();
    is_untrusted(&upload(&server, 2).await.unwrap_err());
    assert!(!is_destroyed(&server).await);
    at(&mut server, TimeDelta::hours(24));
    says(&server, ServingStatus::Serving).await;
    eventually(async || is_destroyed(&server).await).await;
    upload(&server, 2).await.unwrap();
}

#[tokio::test]
async fn after_a_gap_that_is_too_large_an_operator_decides() {
    let server = Server::start_elapsed(Some(TimeDelta::hours(1))).await;
    server.acme.create(&server.client).await;
    upload(&server, 1).await.unwrap();
    let (home, mut clock) = server.stop().await;
    clock.set_both(clock.now() + TimeDelta::days(40), TimeDelta::seconds(7));
    let path = home.path().to_owned();
    let booted = |boot| {
        let path = path.clone();
        move |blueprint: &mut idvault::vault::Blueprint| blueprint.source = Box::new(Booted::new(&path, boot))
    };
    let server = Server::run_as(home, clock, booted(1)).await.unwrap();
    says(&server, ServingStatus::NotServing).await;
    is_untrusted(&upload(&server, 2).await.unwrap_err());
    assert!(!is_destroyed(&server).await);

    // Words for other clocks do not count: of another boot, of another wall, and what is no reading. Each is taken away.
    let seen = Booted::new(&path, 1).read().unwrap();
    let other = Reading { wall: seen.wall - TimeDelta::days(35), ..seen };
    accept_clock(&server.data(), &Reading { boot: [9; 16], ..seen }).unwrap();
    eventually(async || !is_accepted(&server.data())).await;
    accept_clock(&server.data(), &other).unwrap();
    eventually(async || !is_accepted(&server.data())).await;
    std::fs::write(server.data().join("accepted"), "yes").unwrap();
    eventually(async || !is_accepted(&server.data())).await;
    server.vault().tick().unwrap();
    is_untrusted(&upload(&server, 2).await.unwrap_err());
    assert!(!is_destroyed(&server).await);

    // One that counts ends it, in a vault that is stopped too: what is due is destroyed before anything is served.
    let (home, clock) = server.stop().await;
    accept_clock(&home.path().join("data"), &seen).unwrap();
    let server = Server::run_as(home, clock, booted(1)).await.unwrap();
    assert!(is_destroyed(&server).await && !is_accepted(&server.data()));
    says(&server, ServingStatus::Serving).await;
    upload(&server, 3).await.unwrap();

    // In one that runs, and once: the next jump is doubted anew.
    let (mut server, start) = (server, clock_of(&path));
    for days in [10, 20] {
        server.clock.set_both(start + TimeDelta::days(days), TimeDelta::seconds(7));
        says(&server, ServingStatus::NotServing).await;
        accept_clock(&server.data(), &Booted::new(&path, 1).read().unwrap()).unwrap();
        says(&server, ServingStatus::Serving).await;
        assert!(!is_accepted(&server.data()));
    }
}

fn clock_of(home: &Path) -> chrono::DateTime<chrono::Utc> {
    Booted::new(home, 0).read().unwrap().wall
}
