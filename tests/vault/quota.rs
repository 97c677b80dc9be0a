//! Limits of a job: what it may receive is counted exactly, over streams, epochs, ranks and restarts.

use idvault::proto::fetch_records_response::Tombstone;
use idvault::proto::{FetchRecordsRequest, TrainingJobSpec};
use tonic::Code;

use crate::client::reason_of;
use crate::server::{Server, together};
use crate::stream::{Epoch, whole};
use crate::world::{active_job, snapshot, snapshot_of};

const SIZE: usize = 500;

async fn upload(server: &Server, count: u64) {
    for mark in 0..count {
        server.acme.send(&server.client, server.acme.upload_face(mark, SIZE, server.clock.now())).await.unwrap();
    }
}

/// Reads a stream that must end with the quota, and gives how many records came before.
async fn until_quota(server: &Server, request: FetchRecordsRequest) -> usize {
    let mut epoch = Epoch::open(&server.client, request).await.unwrap();
    let status = epoch.read_all().await.unwrap_err();
    assert_eq!(reason_of(&status), (Code::ResourceExhausted, "JOB_QUOTA_EXCEEDED".to_owned()));
    epoch.faces().len()
}

#[tokio::test]
async fn max_records_counts_distinct_records() {
    let server = Server::start().await;
    upload(&server, 4).await;
    let spec = server.acme.spec(server.clock.now());
    let exact = snapshot_of(&server.client, TrainingJobSpec { max_records: 4, ..spec.clone() }).await;
    for epoch in 0..3 {
        let request = FetchRecordsRequest { epoch, ..whole(&exact) };
        assert_eq!(Epoch::read(&server.client, request).await.unwrap().faces().len(), 4);
    }
    let fewer = snapshot_of(&server.client, TrainingJobSpec { max_records: 3, ..spec }).await;
    assert_eq!(until_quota(&server, whole(&fewer)).await, 3);
    let server = server.restart().await;
    assert_eq!(until_quota(&server, whole(&fewer)).await, 3, "those that it had it may have again");
    let all_but_one = FetchRecordsRequest { start_position: 3, ..whole(&fewer) };
    assert_eq!(until_quota(&server, all_but_one).await, 0, "the one that it never had it may not have");
}

#[tokio::test]
async fn max_bytes_counts_every_byte_of_every_epoch() {
    let server = Server::start().await;
    upload(&server, 4).await;
    let spec = server.acme.spec(server.clock.now());
    let epoch_bytes = u64::try_from(4 * SIZE).unwrap();
    let exact = snapshot_of(&server.client, TrainingJobSpec { max_bytes: 2 * epoch_bytes, ..spec.clone() }).await;
    assert_eq!(Epoch::read(&server.client, whole(&exact)).await.unwrap().faces().len(), 4);
    let server = server.restart().await;
    assert_eq!(Epoch::read(&server.client, whole(&exact)).await.unwrap().faces().len(), 4);
    assert_eq!(until_quota(&server, whole(&exact)).await, 0);
    let server = server.restart().await;
    assert_eq!(until_quota(&server, whole(&exact)).await, 0);

    let one_short = snapshot_of(&server.client, TrainingJobSpec { max_bytes: 2 * epoch_bytes - 1, ..spec }).await;
    assert_eq!(Epoch::read(&server.client, whole(&one_short)).await.unwrap().faces().len(), 4);
    assert_eq!(until_quota(&server, whole(&one_short)).await, 3);
}

#[tokio::test]
async fn streams_at_once_share_one_quota() {
    let server = Server::start().await;
    upload(&server, 12).await;
    let list = snapshot_of(&server.client, TrainingJobSpec { max_records: 7, ..server.acme.spec(server.clock.now()) }).await;
    let streams = (0..4).map(|rank| {
        let (client, request) = (server.client.clone(), FetchRecordsRequest { rank, world_size: 4, ..whole(&list) });
        async move {
            let mut epoch = Epoch::open(&client, request).await.unwrap();
            let _end = epoch.read_all().await;
            epoch.faces().len()
        }
    });
    assert_eq!(together(streams).await.into_iter().sum::<usize>(), 7);
}

#[tokio::test]
async fn what_is_gone_costs_nothing() {
    let server = Server::start().await;
    let mut records = Vec::new();
    for mark in 0..4 {
        let upload = server.acme.upload_face(mark, SIZE, server.clock.now());
        records.push(server.acme.send(&server.client, upload).await.unwrap());
    }
    let job = active_job(&server.client, TrainingJobSpec { max_records: 3, ..server.acme.spec(server.clock.now()) }).await;
    let list = snapshot(&server.client, &job).await;
    server.acme.shred(&server.client, &records[2]).await.unwrap();
    let epoch = Epoch::read(&server.client, whole(&list)).await.unwrap();
    assert_eq!((epoch.faces().len(), epoch.tombstones(Tombstone::Gone)), (3, 1));
}
