//! Streams: what is granted and asked for, whole, in one order for any number of readers, and nothing else.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

use chrono::TimeDelta;
use idvault::domain::order::Order;
use idvault::proto::Category::{Address, DocumentBack, DocumentFront, FaceImage, IdNumber, Mrz, Name, Sex};
use idvault::proto::fetch_records_response::Tombstone;
use idvault::proto::{Attributes, FetchRecordsRequest, Purpose, TrainingJobSpec};
use serde_json::json;
use tonic::Code;
use uuid::Uuid;

use crate::client::{Client, WORKLOAD, invalid, refused};
use crate::server::Server;
use crate::stream::{Epoch, whole};
use crate::world::{active_job, face_bytes, grant, mark_of, snapshot, snapshot_of, stamp};

/// Uploads faces that tell 0 to `count` - 1.
async fn upload_faces(server: &Server, count: u64, size: usize) {
    for mark in 0..count {
        let upload = server.acme.upload_face(mark, size, server.clock.now());
        server.acme.send(&server.client, upload).await.unwrap();
    }
}

/// What the faces of a stream tell, by position.
async fn marks(client: &Client, request: FetchRecordsRequest) -> BTreeMap<u64, u64> {
    let faces = Epoch::read(client, request).await.unwrap().faces();
    faces.into_iter().map(|(position, face)| (position, mark_of(&face))).collect()
}

#[tokio::test]
async fn only_what_is_granted_and_asked_for_leaves() {
    let server = Server::start().await;
    let (client, now) = (&server.client, server.clock.now());
    let upload = server.acme.upload(now);
    let [face, front] = [0, 1].map(|number: usize| upload.parts[number].data.clone());
    server.acme.send(client, upload).await.unwrap();
    let name = Attributes { surname: "SPECIMEN".to_owned(), given_names: "ANNA".to_owned(), ..Attributes::default() };
    let number = Attributes { id_number: "S0000001I".to_owned(), ..Attributes::default() };
    let both = Attributes { id_number: number.id_number.clone(), ..name.clone() };
    let everything = [FaceImage, DocumentFront, DocumentBack, Name, Address, IdNumber, Sex, Mrz];
    let (matching, ocr) = (Purpose::TrainFaceMatch, Purpose::TrainDocumentOcr);
    // What is asked for; what then comes. Faces are granted for matching only, the rest for text recognition only.
    let cases = [
        (matching, &[FaceImage][..], Some((FaceImage, &face)), None),
        (matching, &everything, Some((FaceImage, &face)), None),
        (ocr, &[DocumentFront], Some((DocumentFront, &front)), None),
        (ocr, &[Name], None, Some(name)),
        (ocr, &[IdNumber, Sex], None, Some(number)),
        (ocr, &everything, Some((DocumentFront, &front)), Some(both)),
    ];
    for (purpose, asked, part, attributes) in cases {
        let categories = asked.iter().map(|category| i32::from(*category)).collect();
        let spec = TrainingJobSpec { purpose: purpose.into(), categories, ..server.acme.spec(now) };
        let epoch = Epoch::read(client, whole(&snapshot_of(client, spec).await)).await.unwrap();
        let [position] = epoch.positions.values().collect::<Vec<_>>()[..] else { panic!("one record was eligible") };
        let wanted: BTreeMap<_, _> = part.into_iter().map(|(category, data)| (i32::from(category), data.clone())).collect();
        assert_eq!(position.parts, wanted, "{asked:?}");
        assert!(position.attributes == attributes, "{asked:?}: other attributes than were granted and asked for");
    }
}

#[tokio::test]
async fn a_record_outside_the_job_is_never_in_its_stream() {
    let server = Server::start().await;
    let (client, now) = (&server.client, server.clock.now());
    upload_faces(&server, 1, 100).await;
    let spoiled = [
        ("/grants/0/purpose", json!("TRAIN_LIVENESS")),
        ("/grants/0/regions", json!(["hk-1"])),
        ("/grants/0/recipients", json!(["Another Ltd"])),
        ("/jurisdiction", json!("HK")),
    ];
    for (mark, (pointer, value)) in (1..).zip(spoiled) {
        let mut claims = server.acme.claims(now);
        *claims.pointer_mut(pointer).unwrap() = value;
        let mut upload = server.acme.upload_under(server.acme.sign(&claims), now);
        (upload.parts, upload.attributes) = (vec![crate::world::face(mark, 100)], None);
        server.acme.send(client, upload).await.unwrap();
    }
    // Refused beats given, whichever comes first.
    let mut claims = server.acme.claims(now);
    let mut refusal = grant("TRAIN_FACE_MATCH", &["FACE_IMAGE"]);
    refusal["decision"] = json!("refused");
    claims["grants"] = json!([claims["grants"][0], refusal, grant("EVALUATE_BIAS", &["FACE_IMAGE"])]);
    let mut upload = server.acme.upload_under(server.acme.sign(&claims), now);
    (upload.parts, upload.attributes) = (vec![crate::world::face(9, 100)], None);
    server.acme.send(client, upload).await.unwrap();
    let rival = crate::world::Provider::new("rival");
    rival.create(client).await;
    rival.send(client, rival.upload_face(10, 100, now)).await.unwrap();

    assert_eq!(server.acme.status(client).await.live_record_count, 6);
    let list = snapshot_of(client, server.acme.spec(now)).await;
    assert_eq!(marks(client, whole(&list)).await, BTreeMap::from([(0, 0)]));
    let (from, before) = (Some(stamp(now + TimeDelta::seconds(1))), Some(stamp(now)));
    for spec in [
        TrainingJobSpec { uploaded_from: from, ..server.acme.spec(now) },
        TrainingJobSpec { uploaded_before: before, ..server.acme.spec(now) },
        TrainingJobSpec { region: "tw-1".to_owned(), ..server.acme.spec(now) },
        TrainingJobSpec { tenants: vec!["tenants/nobody".to_owned()], ..server.acme.spec(now) },
    ] {
        assert_eq!(snapshot_of(client, spec).await.position_count, 0);
    }
}

#[tokio::test]
async fn an_empty_epoch_ends_at_once() {
    let server = Server::start().await;
    let list = snapshot_of(&server.client, server.acme.spec(server.clock.now())).await;
    assert_eq!(list.position_count, 0);
    let epoch = Epoch::read(&server.client, whole(&list)).await.unwrap();
    assert!(epoch.released.is_empty());
}

#[tokio::test]
async fn any_number_of_ranks_from_anywhere_sees_the_same_order() {
    const COUNT: u64 = 23;
    let server = Server::start().await;
    let client = &server.client;
    upload_faces(&server, COUNT, 40).await;
    let list = snapshot_of(client, server.acme.spec(server.clock.now())).await;
    assert_eq!(list.position_count, COUNT);
    let mut orders = Vec::new();
    for (seed, epoch) in [(7, 0), (8, 0), (7, 1)] {
        let base = FetchRecordsRequest { seed, epoch, ..whole(&list) };
        let all = marks(client, base.clone()).await;
        let order = Order::new(seed, epoch, COUNT);
        // Records are listed in the order in which they were uploaded.
        assert_eq!(all, (0..COUNT).map(|position| (position, order.index(position).unwrap())).collect());
        for (world_size, start_position) in [(1, 5), (2, 0), (3, 7), (5, 11), (4, COUNT - 1), (2, COUNT), (40, 0)] {
            let mut together = BTreeMap::new();
            for rank in 0..world_size {
                let request = FetchRecordsRequest { rank, world_size, start_position, ..base.clone() };
                together.append(&mut marks(client, request).await);
            }
            assert_eq!(together, all.clone().split_off(&start_position), "{world_size} ranks from {start_position}");
        }
        orders.push(all);
    }
    assert!(orders[0] != orders[1] && orders[0] != orders[2] && orders[1] != orders[2]);
}

#[tokio::test]
async fn a_stream_resumes_where_any_message_ended() {
    let server = Server::start().await;
    let client = &server.client;
    upload_faces(&server, 3, 1_300_000).await;
    let list = snapshot_of(client, server.acme.spec(server.clock.now())).await;
    let all = marks(client, whole(&list)).await;
    let mut stream = Epoch::open(client, whole(&list)).await.unwrap();
    let mut messages = 0;
    while stream.read_one().await.unwrap() {
        messages += 1;
        let start_position = stream.next_position;
        let rest = marks(client, FetchRecordsRequest { start_position, ..whole(&list) }).await;
        assert_eq!(rest, all.clone().split_off(&start_position));
    }
    assert!(messages > 2, "records are split over messages");
}

#[tokio::test]
async fn large_parts_come_in_pieces_and_small_ones_together() {
    let server = Server::start().await;
    let client = &server.client;
    upload_faces(&server, 1, 5 << 19).await;
    let list = snapshot_of(client, server.acme.spec(server.clock.now())).await;
    for max_in_flight_bytes in [0, 1, u64::MAX] {
        let epoch = Epoch::read(client, FetchRecordsRequest { max_in_flight_bytes, ..whole(&list) }).await.unwrap();
        assert_eq!(epoch.faces()[&0], face_bytes(0, 5 << 19));
        assert_eq!(epoch.released.len(), 3);
    }
    let server = Server::start().await;
    upload_faces(&server, 20, 5_000).await;
    let list = snapshot_of(&server.client, server.acme.spec(server.clock.now())).await;
    let epoch = Epoch::read(&server.client, whole(&list)).await.unwrap();
    assert_eq!((epoch.released.len(), epoch.faces().len()), (1, 20));
    // What fits in a message is not split over two.
    let server = Server::start().await;
    upload_faces(&server, 6, 400_000).await;
    let list = snapshot_of(&server.client, server.acme.spec(server.clock.now())).await;
    let mut stream = Epoch::open(&server.client, whole(&list)).await.unwrap();
    let mut ends = Vec::new();
    while stream.read_one().await.unwrap() {
        ends.push(stream.next_position);
    }
    assert_eq!(ends, [3, 6]);
}

#[tokio::test]
async fn a_record_has_one_token_per_job() {
    let server = Server::start().await;
    let client = &server.client;
    upload_faces(&server, 2, 40).await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let job = active_job(client, server.acme.spec(server.clock.now())).await;
        let mut of_job = Vec::new();
        for epoch in [0, 1] {
            let list = snapshot(client, &job).await;
            let epoch = Epoch::read(client, FetchRecordsRequest { epoch, ..whole(&list) }).await.unwrap();
            let by_mark = epoch.positions.values().map(|position| (mark_of(position.face().unwrap()), position.token.clone()));
            of_job.push(by_mark.collect::<BTreeMap<_, _>>());
        }
        assert_eq!(of_job[0], of_job[1]);
        tokens.extend(of_job.swap_remove(0).into_values());
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 4, "a token tells two jobs, or two records, apart");
}

#[tokio::test]
async fn a_damaged_part_is_said_to_be_damaged_and_takes_no_other_along() {
    let server = Server::start().await;
    let client = &server.client;
    upload_faces(&server, 3, 3_000).await;
    let [volume] = &server.volumes()[..] else { panic!("one volume") };
    let file = std::fs::File::options().read(true).write(true).open(volume).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 200).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 200).unwrap();
    let list = snapshot_of(client, server.acme.spec(server.clock.now())).await;
    let epoch = Epoch::read(client, whole(&list)).await.unwrap();
    assert_eq!(epoch.tombstones(Tombstone::Damaged), 1);
    let mut left: Vec<_> = epoch.faces().values().map(|face| mark_of(face)).collect();
    left.sort_unstable();
    assert_eq!(left, [1, 2]);
}

#[tokio::test]
async fn a_snapshot_of_which_less_than_half_is_left_is_depleted() {
    let server = Server::start().await;
    let client = &server.client;
    let mut records = Vec::new();
    for mark in 0..4 {
        let upload = server.acme.upload_face(mark, 40, server.clock.now());
        records.push(server.acme.send(client, upload).await.unwrap());
    }
    let list = snapshot_of(client, server.acme.spec(server.clock.now())).await;
    for record in &records[..2] {
        server.acme.shred(client, record).await.unwrap();
    }
    let epoch = Epoch::read(client, whole(&list)).await.unwrap();
    assert_eq!((epoch.tombstones(Tombstone::Gone), epoch.faces().len()), (2, 2));
    server.acme.shred(client, &records[2]).await.unwrap();
    let answer = client.training(WORKLOAD).fetch_records(whole(&list)).await;
    refused(answer, Code::FailedPrecondition, "SNAPSHOT_DEPLETED");
}

#[tokio::test]
async fn what_cannot_be_fetched_is_refused() {
    let server = Server::start().await;
    let list = snapshot_of(&server.client, server.acme.spec(server.clock.now())).await;
    for (rank, world_size) in [(0, 0), (1, 1), (7, 3)] {
        let request = FetchRecordsRequest { rank, world_size, ..whole(&list) };
        invalid(server.client.training(WORKLOAD).fetch_records(request).await, "rank");
    }
    let (job, _) = list.name.split_once("/snapshots/").unwrap();
    let missing = FetchRecordsRequest { snapshot: format!("{job}/snapshots/{}", Uuid::now_v7()), ..whole(&list) };
    refused(server.client.training(WORKLOAD).fetch_records(missing).await, Code::NotFound, "NOT_FOUND");
    let nameless = FetchRecordsRequest { snapshot: job.to_owned(), ..whole(&list) };
    invalid(server.client.training(WORKLOAD).fetch_records(nameless).await, "snapshot");
}
