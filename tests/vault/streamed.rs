//! Uploads as streams: the same records as in one message, larger ones too, and nothing of those that are not finished.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::{StreamExt, stream};
use idvault::proto::upload_record_request::Message;
use idvault::proto::{
    Attributes, Category, ListRecordsRequest, MetadataPolicy, Record, Tenant, UpdateTenantRequest, UploadRecordRequest,
};
use tonic::{Code, Request};

use crate::client::{Client, reason_of, refused};
use crate::server::Server;
use crate::world::{message, messages, part};

/// The head of an MP4 file.
const MP4: &[u8] = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom";
const MIB: usize = 1 << 20;

/// A video of so many bytes.
pub(crate) fn video(size: usize) -> idvault::proto::InlinePart {
    let noise = (0_u8..251).cycle().take(size - MP4.len());
    part(Category::FaceImage, "video/mp4", MP4.iter().copied().chain(noise).collect())
}

/// All records of the tenant.
pub(crate) async fn records(server: &Server, client: &Client) -> Vec<Record> {
    let request = ListRecordsRequest { parent: server.acme.name(), ..ListRecordsRequest::default() };
    client.records(&server.acme.caller()).list_records(request).await.unwrap().into_inner().records
}

#[tokio::test]
async fn a_streamed_record_is_the_one_that_was_sent() {
    let server = Server::start().await;
    for chunk in [1_000, 3_001, MIB] {
        let upload = server.acme.upload(server.clock.now());
        let record = server.acme.stream(&server.client, messages(upload.clone(), chunk)).await.unwrap();
        assert_eq!(record.call_id, upload.header.as_ref().unwrap().call_id);
        let sizes: Vec<_> = record.parts.iter().map(|part| part.size_bytes).collect();
        let sent: Vec<_> = upload.parts.iter().map(|part| part.header.as_ref().unwrap().size_bytes).collect();
        assert_eq!(sizes[..2], sent);
        // A retry is the same record, whichever way it comes and however it is cut.
        assert_eq!(server.acme.stream(&server.client, messages(upload.clone(), 77)).await.unwrap(), record);
        assert_eq!(server.acme.send(&server.client, upload.clone()).await.unwrap(), record);
        let mut other = upload;
        other.attributes.as_mut().unwrap().surname.push('X');
        let answer = server.client.records("tenant/acme").upload_record(stream::iter(messages(other, chunk))).await;
        refused(answer, Code::AlreadyExists, "REQUEST_ID_REUSED");
    }
    let attributes = Some(Attributes { surname: "SPECIMEN".to_owned(), ..Attributes::default() });
    let bare = idvault::proto::CreateRecordRequest { parts: Vec::new(), attributes, ..server.acme.upload(server.clock.now()) };
    assert_eq!(server.acme.stream(&server.client, messages(bare, MIB)).await.unwrap().parts.len(), 1);
    assert_eq!(records(&server, &server.client).await.len(), 4);
}

#[tokio::test]
async fn a_record_of_64_mib_is_taken_in_and_not_a_byte_more() {
    let server = Server::start().await;
    let mut upload = server.acme.upload_face(1, 10 * MIB, server.clock.now());
    upload.parts.push(video(50 * MIB));
    upload.parts.push(part(Category::FaceImage, "image/png", [&b"\x89PNG\r\n\x1a\n"[..], &vec![7; 4 * MIB - 8]].concat()));
    let record = server.acme.stream(&server.client, messages(upload.clone(), MIB)).await.unwrap();
    assert_eq!(record.parts.iter().map(|part| part.size_bytes).sum::<u64>(), 64 << 20);
    upload = idvault::proto::CreateRecordRequest { parts: upload.parts, ..server.acme.upload_face(1, 10, server.clock.now()) };
    upload.parts[2] = part(Category::FaceImage, "image/png", [&b"\x89PNG\r\n\x1a\n"[..], &vec![7; 4 * MIB - 7]].concat());
    let answer = server.client.records("tenant/acme").upload_record(stream::iter(messages(upload, MIB))).await;
    refused(answer, Code::InvalidArgument, "PART_TOO_LARGE");
}

#[tokio::test]
async fn every_stream_out_of_order_is_refused() {
    let server = Server::start().await;
    let whole = || messages(server.acme.upload(server.clock.now()), 1_000);
    let attributes = || message(Message::Attributes(Attributes::default()));
    let without = |at: usize| {
        let mut messages = whole();
        messages.remove(at);
        messages
    };
    let with = |at: usize, extra: UploadRecordRequest| {
        let mut messages = whole();
        messages.insert(at, extra);
        messages
    };
    let last = whole().len();
    let cases = [
        ("INVALID_FIELD", Vec::new()),
        ("INVALID_FIELD", without(0)),
        ("INVALID_FIELD", vec![UploadRecordRequest { message: None }]),
        ("INVALID_FIELD", vec![whole()[0].clone()]),
        ("INVALID_FIELD", without(1)),
        ("INVALID_FIELD", with(1, whole()[0].clone())),
        ("INVALID_FIELD", with(last, attributes())),
        ("INVALID_FIELD", with(last, whole()[1].clone())),
        ("INVALID_FIELD", with(2, message(Message::Chunk(Vec::new())))),
        ("INVALID_FIELD", with(2, message(Message::Chunk(vec![0; MIB + 1])))),
        ("PART_SIZE_MISMATCH", without(2)),
        ("PART_SIZE_MISMATCH", with(2, message(Message::Chunk(vec![0])))),
        ("PART_SIZE_MISMATCH", whole()[..3].to_vec()),
        ("PART_CHECKSUM_MISMATCH", {
            let mut messages = whole();
            messages.swap(3, 4);
            if let Some(Message::Chunk(bytes)) = &mut messages[4].message {
                bytes[500] ^= 1;
            }
            messages
        }),
    ];
    for (number, (reason, messages)) in cases.into_iter().enumerate() {
        let answer = server.client.records("tenant/acme").upload_record(stream::iter(messages)).await;
        assert_eq!(reason_of(&answer.expect_err(reason)), (Code::InvalidArgument, reason.to_owned()), "{number}");
    }
    assert_eq!(records(&server, &server.client).await, []);
    assert!(server.volumes().is_empty(), "something was stored");
}

#[tokio::test]
async fn a_refusal_does_not_wait_for_the_rest() {
    let server = Server::start().await;
    let mut upload = server.acme.upload(server.clock.now());
    upload.header.as_mut().unwrap().consent_source = None;
    // Nothing else ever comes.
    let stalled = stream::iter(messages(upload, 1_000).into_iter().take(1)).chain(stream::pending());
    let answer = server.client.records("tenant/acme").upload_record(stalled).await;
    refused(answer, Code::InvalidArgument, "CONSENT_RECEIPT_REQUIRED");
    for caller in ["person/olga", "workload/trainer"] {
        let answer = server.client.records(caller).upload_record(stream::pending()).await;
        refused(answer, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_stalls_ends() {
    let server = Server::start().await;
    let begun = messages(server.acme.upload(server.clock.now()), 1_000).into_iter().take(3);
    let mut request = Request::new(stream::iter(begun).chain(stream::pending()));
    request.set_timeout(Duration::from_hours(1));
    let mut client = idvault::proto::record_service_client::RecordServiceClient::new(server.client.channel());
    request.metadata_mut().insert("idvault-caller", crate::client::spiffe_id("tenant/acme").parse().unwrap());
    refused(client.upload_record(request).await, Code::DeadlineExceeded, "UPLOAD_STALLED");
}

#[tokio::test]
async fn what_a_large_upload_left_goes_with_its_hour() {
    let mut server = Server::start().await;
    let upload = server.acme.upload_face(1, 3 * MIB, server.clock.now());
    let mut cut = messages(upload, MIB);
    cut.pop();
    let answer = server.client.records("tenant/acme").upload_record(stream::iter(cut)).await;
    refused(answer, Code::InvalidArgument, "PART_SIZE_MISMATCH");
    assert!(!server.volumes().is_empty(), "it is written as it comes");
    server.clock.advance(TimeDelta::days(31));
    crate::server::eventually(async || server.volumes().is_empty()).await;
}

/// A PNG of so many bytes, whole and without metadata.
fn png(size: usize) -> idvault::proto::InlinePart {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let crc = crc32fast::hash(&[kind, data].concat());
        [&u32::try_from(data.len()).unwrap().to_be_bytes()[..], kind, data, &crc.to_be_bytes()].concat()
    };
    let (head, end) = (chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]), chunk(b"IEND", &[]));
    let pixels = chunk(b"IDAT", &vec![7; size - 8 - 25 - 12 - 12]);
    part(Category::FaceImage, "image/png", [&b"\x89PNG\r\n\x1a\n"[..], &head, &pixels, &end].concat())
}

/// More large images at once, over one connection, than are held back: none waits for what another's bytes keep from coming, and
/// whoever is refused gets in later. Others on the connection are answered meanwhile.
#[tokio::test]
async fn large_images_at_once_over_one_connection_do_not_choke_it() {
    let server = Server::start().await;
    let strip = UpdateTenantRequest {
        tenant: Some(Tenant { name: server.acme.name(), metadata_policy: MetadataPolicy::Strip.into(), ..Tenant::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["metadata_policy".to_owned()] }),
    };
    server.client.tenants(crate::client::OPERATOR).update_tenant(strip).await.unwrap();
    let image = png(10 * MIB);
    let uploads: Vec<_> = (0..8)
        .map(|_| idvault::proto::CreateRecordRequest {
            parts: vec![image.clone()],
            ..server.acme.upload_face(1, 20, server.clock.now())
        })
        .collect();
    let send = |upload: &idvault::proto::CreateRecordRequest| {
        let (client, acme, messages) = (server.client.clone(), server.acme.clone(), messages(upload.clone(), MIB));
        async move { acme.stream(&client, messages).await }
    };
    let mut waiting = uploads;
    while !waiting.is_empty() {
        let mut senders = Vec::new();
        for upload in &waiting {
            senders.push(tokio::spawn(send(upload)));
        }
        server.acme.status(&server.client).await;
        let mut again = Vec::new();
        for (upload, sender) in waiting.into_iter().zip(senders) {
            if let Err(status) = sender.await.unwrap() {
                assert_eq!(reason_of(&status), (Code::ResourceExhausted, "TOO_MANY_UPLOADS".to_owned()));
                again.push(upload);
            }
        }
        waiting = again;
    }
    assert_eq!(records(&server, &server.client).await.len(), 8);
}

/// Headers without bytes, by the thousand: the key tree does not grow by what was never written.
#[tokio::test]
async fn uploads_that_bring_nothing_leave_the_keyring_as_it_was() {
    let mut server = Server::start().await;
    let keyring = |server: &Server| -> u64 {
        let files = std::fs::read_dir(server.data().join("keyring")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let before = keyring(&server);
    for _ in 0..300 {
        let begun = messages(server.acme.upload(server.clock.now()), 1_000)[..3].to_vec();
        let answer = server.client.records("tenant/acme").upload_record(stream::iter(begun)).await;
        refused(answer, Code::InvalidArgument, "PART_SIZE_MISMATCH");
    }
    server.clock.advance(TimeDelta::hours(2));
    let generation = server.acme.status(&server.client).await.keyring_generation;
    crate::server::eventually(async || server.acme.status(&server.client).await.keyring_generation > generation).await;
    assert_eq!(keyring(&server), before);
    server.acme.send(&server.client, server.acme.upload(server.clock.now())).await.unwrap();
}
