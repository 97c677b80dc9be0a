//! Withdrawal and shredding against open streams: what was answered to be gone is in no later message.

use std::collections::BTreeMap;

use idvault::domain::ids::{ConsentId, JobId, SnapshotId, TenantId};
use idvault::domain::purpose::{Purpose, PurposeSet};
use idvault::proto::fetch_records_response::Tombstone;
use idvault::proto::{FetchRecordsRequest, GetRecordRequest, Record, ShredRecordRequest, Snapshot};
use idvault::vault::release::{Content, Iteration, MESSAGE_BYTES, Message, Release};
use tokio::sync::watch;
use tonic::Code;

use crate::client::refused;
use crate::server::{Server, together};
use crate::stream::{Epoch, whole};
use crate::world::{mark_of, snapshot_of, time};

/// Uploads `count` faces of this size, each under a consent of its own; the record of face m is the m-th.
async fn upload(server: &Server, count: u64, size: usize) -> Vec<Record> {
    let mut records = Vec::new();
    for mark in 0..count {
        let upload = server.acme.upload_face(mark, size, server.clock.now());
        records.push(server.acme.send(&server.client, upload).await.unwrap());
    }
    records
}

#[tokio::test]
async fn a_shredded_record_is_gone() {
    let server = Server::start().await;
    let records = upload(&server, 2, 100).await;
    let destruction = server.acme.shred(&server.client, &records[0]).await.unwrap();
    assert_eq!((destruction.record_count, destruction.certificates.len()), (1, 1));
    let mut tenant = server.client.records("tenant/acme");
    let name = records[0].name.clone();
    refused(tenant.get_record(GetRecordRequest { name: name.clone() }).await, Code::NotFound, "RECORD_GONE");
    refused(tenant.shred_record(ShredRecordRequest { name }).await, Code::NotFound, "RECORD_GONE");
    let list = snapshot_of(&server.client, server.acme.spec(server.clock.now())).await;
    let faces = Epoch::read(&server.client, whole(&list)).await.unwrap().faces();
    assert_eq!(faces.values().map(|face| mark_of(face)).collect::<Vec<_>>(), [1]);
}

/// Readers of all speeds, withdrawals and shreds at once: no message of any stream carries a record after the sequence that
/// its destruction was answered with.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_later_message_carries_what_was_taken_back() {
    const RECORDS: u64 = 20;
    const DOOMED: usize = 8;
    let server = Server::start().await;
    let records = upload(&server, RECORDS, 260_000).await;
    let list = snapshot_of(&server.client, server.acme.spec(server.clock.now())).await;
    // How many records are destroyed; slow readers take a message only when one more is.
    let (destroyed, watching) = watch::channel(0_usize);
    let mut readers = Vec::new();
    for number in 0..2 {
        let (client, list, mut destroyed) = (server.connect().await, list.clone(), watching.clone());
        readers.push(tokio::spawn(async move {
            let request = FetchRecordsRequest { seed: number, max_in_flight_bytes: number, ..whole(&list) };
            let mut epoch = Epoch::open(&client, request).await.unwrap();
            while epoch.read_one().await.unwrap() {
                drop(destroyed.changed().await);
            }
            vec![epoch]
        }));
    }
    for seed in 2..4 {
        let (client, list, destroyed) = (server.connect().await, list.clone(), watching.clone());
        readers.push(tokio::spawn(async move {
            let mut epochs = Vec::new();
            for epoch in 0.. {
                let is_last = *destroyed.borrow() == DOOMED;
                let request = FetchRecordsRequest { seed, epoch, ..whole(&list) };
                epochs.push(Epoch::read(&client, request).await.unwrap());
                if is_last {
                    break;
                }
            }
            epochs
        }));
    }
    let mut last_sequences = BTreeMap::new();
    for (mark, record) in (0_u64..).zip(&records).step_by(2).take(DOOMED) {
        let destruction = if mark % 4 == 0 {
            server.acme.shred(&server.client, record).await.unwrap()
        } else {
            server.acme.withdraw(&server.client, record, &[]).await.unwrap().destruction.unwrap()
        };
        assert_eq!(destruction.record_count, 1);
        last_sequences.insert(mark, destruction.last_release_sequence);
        destroyed.send_replace(last_sequences.len());
        // The next one comes when a reader has gone on.
        let sequence = released_since(&server, &list).await;
        assert!(sequence > destruction.last_release_sequence);
    }
    drop(destroyed);
    let (mut after, mut gone) = (0, 0);
    for epoch in together(readers).await.into_iter().flat_map(Result::unwrap) {
        assert_eq!(epoch.positions.len(), records.len());
        gone += epoch.tombstones(Tombstone::Gone);
        for (sequence, carried) in &epoch.released {
            after += usize::from(last_sequences.values().any(|last| sequence > last));
            for face in carried.iter().filter_map(|position| epoch.positions[position].face()) {
                let end = last_sequences.get(&mark_of(face)).copied().unwrap_or(u64::MAX);
                assert!(*sequence <= end, "record {} was released as {sequence}, after {end}", mark_of(face));
            }
        }
    }
    assert!(after > 0 && gone > 0, "nothing was streamed after a destruction: {after}, {gone}");
    assert_eq!(server.acme.status(&server.client).await.live_record_count, RECORDS - u64::try_from(DOOMED).unwrap());
}

/// The sequence of a message that is released now.
async fn released_since(server: &Server, list: &Snapshot) -> u64 {
    let mut epoch = Epoch::open(&server.client, FetchRecordsRequest { max_in_flight_bytes: 1, ..whole(list) }).await.unwrap();
    assert!(epoch.read_one().await.unwrap());
    epoch.released[0].0
}

/// A stream over a snapshot, in this process.
pub(crate) fn stream(server: &Server, list: &Snapshot) -> Release {
    let (job, snapshot) = list.name.strip_prefix("trainingJobs/").unwrap().split_once("/snapshots/").unwrap();
    let (job, snapshot): (JobId, SnapshotId) = (job.parse().unwrap(), snapshot.parse().unwrap());
    let iteration = Iteration { job, snapshot, seed: 7, epoch: 0, rank: 0, world_size: 1, start_position: 0 };
    server.vault().release(&iteration).unwrap()
}

/// What the faces of a message tell, by position; `None` where a record is gone.
fn told(message: &Message) -> BTreeMap<u64, Option<u64>> {
    let told = |content: &Content| match content {
        Content::Chunk { data, .. } => Some(mark_of(data)),
        Content::Gone => None,
        Content::Attributes(_) | Content::Damaged => panic!("neither was to be released"),
    };
    message.items.iter().map(|item| (item.position, told(&item.content))).collect()
}

fn withdraw(server: &Server, record: &Record, purposes: PurposeSet) -> u64 {
    let consent: ConsentId = record.consent.rsplit_once('/').unwrap().1.parse().unwrap();
    let acme: TenantId = "acme".parse().unwrap();
    server.vault().withdraw_consent(&acme, consent, purposes).unwrap().1.last_release_sequence
}

#[tokio::test]
async fn a_message_decided_before_a_withdrawal_is_made_again_after_it() {
    let server = Server::start().await;
    let records = upload(&server, 8, 100).await;
    let list = snapshot_of(&server.client, server.acme.spec(server.clock.now())).await;
    let mut release = stream(&server, &list);
    let mut highest = 0;
    let mut gone = Vec::new();
    for (mark, record) in (0_u64..).zip(&records) {
        let decided = server.vault().next_message(&mut release, MESSAGE_BYTES).unwrap().unwrap();
        assert!(told(&decided).values().any(|told| *told == Some(mark)));
        // Every second withdrawal only takes the job's purpose back; the record itself lives on.
        let withdrawn = if mark % 2 == 0 { vec![Purpose::TrainFaceMatch] } else { Vec::new() };
        let sequence = withdraw(&server, record, withdrawn.into_iter().collect());
        assert!(sequence >= highest);
        highest = sequence;
        gone.push(mark);
        assert!(!server.vault().hand_over(&mut release, decided, |_, _| panic!("it was handed over")));
        let again = server.vault().next_message(&mut release, MESSAGE_BYTES).unwrap().unwrap();
        let after = told(&again);
        assert_eq!(after.len(), records.len(), "the whole message is made again");
        let mut left: Vec<_> = after.into_values().flatten().collect();
        left.sort_unstable();
        assert_eq!(left, (0..8).filter(|mark| !gone.contains(mark)).collect::<Vec<_>>());
    }
    let message = server.vault().next_message(&mut release, MESSAGE_BYTES).unwrap().unwrap();
    let mut sent = 0;
    assert!(server.vault().hand_over(&mut release, message, |_, sequence| sent = sequence));
    assert!(sent > highest);
    assert!(server.vault().next_message(&mut release, MESSAGE_BYTES).unwrap().is_none());
}

#[tokio::test]
async fn a_message_decided_before_an_expiry_is_made_again_at_it() {
    let mut server = Server::start().await;
    let records = upload(&server, 1, 100).await;
    server.clock.advance(chrono::TimeDelta::days(1));
    upload(&server, 2, 100).await;
    let list = snapshot_of(&server.client, server.acme.spec(server.clock.now())).await;
    server.clock.set(time(records[0].expire_time) - chrono::TimeDelta::seconds(1));
    let mut release = stream(&server, &list);
    let decided = server.vault().next_message(&mut release, MESSAGE_BYTES).unwrap().unwrap();
    assert_eq!(told(&decided).values().flatten().count(), 3);
    server.clock.set(time(records[0].expire_time));
    assert!(!server.vault().hand_over(&mut release, decided, |_, _| panic!("it was handed over")));
    let again = server.vault().next_message(&mut release, MESSAGE_BYTES).unwrap().unwrap();
    assert_eq!((told(&again).len(), told(&again).values().flatten().count()), (3, 2));
    assert!(server.vault().hand_over(&mut release, again, |_, _| ()));
}

#[tokio::test]
async fn what_was_read_ahead_serves_without_the_disk_and_only_while_it_may() {
    let server = Server::start().await;
    let records = upload(&server, 8, 100).await;
    let list = snapshot_of(&server.client, server.acme.spec(server.clock.now())).await;
    let mut release = stream(&server, &list);
    assert!(release.next_reads(0).is_none(), "many streams read nothing ahead");
    assert!(release.has_caught_up());
    // Room for three of them: each counts as a block.
    let reads = release.next_reads(3 * 4096 + 1).unwrap();
    release.take_in(server.vault().read_ahead(&reads));
    assert!(!release.has_caught_up());
    assert!(release.next_reads(3 * 4096).is_none(), "there is enough at hand");
    let reads = release.next_reads(100 * 4096).unwrap();
    release.take_in(server.vault().read_ahead(&reads));
    assert!(release.next_reads(100 * 4096).is_none(), "there is no more");
    withdraw(&server, &records[3], PurposeSet::default());
    for hour in std::fs::read_dir(server.data().join("volumes")).unwrap() {
        std::fs::File::create(hour.unwrap().path().join("1.vol")).unwrap();
    }
    let message = server.vault().next_message(&mut release, MESSAGE_BYTES).unwrap().unwrap();
    let mut left: Vec<_> = told(&message).into_values().flatten().collect();
    left.sort_unstable();
    assert_eq!(left, [0, 1, 2, 4, 5, 6, 7]);
    assert!(server.vault().hand_over(&mut release, message, |_, _| ()));
    // By now all of it was opened or dropped: another stream finds the disk as it is.
    let mut again = stream(&server, &list);
    let message = server.vault().next_message(&mut again, MESSAGE_BYTES).unwrap().unwrap();
    assert_eq!(message.items.iter().filter(|item| matches!(item.content, Content::Damaged)).count(), 7);
}
