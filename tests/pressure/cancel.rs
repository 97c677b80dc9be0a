//! Streams that are cancelled: their places, and what is held back for them, are there for others at once.

use bytes::Bytes;
use idvault::proto::{
    Category, CreateRecordRequest, FetchRecordsRequest, InlinePart, MetadataPolicy, Tenant, UpdateTenantRequest,
};

use crate::client::{OPERATOR, WORKLOAD};
use crate::open::{Call, Fetch, Line};
use crate::raw::wire;
use crate::server::{Server, eventually};
use crate::stream::{Epoch, whole};
use crate::world::{messages, part, snapshot_of};

/// How many places a tenant has when nobody else has one.
const PLACES: usize = 32;
/// An image such that all of them together just fit into what is held back for a tenant: 64 MiB, each twice.
const IMAGE: usize = 1_000 << 10;
/// How many streams are opened at once: twice as many as may have messages of 1 MiB.
const STREAMS: u64 = 96;
/// How often refused uploads are tried again.
const TRIES: usize = 5;
const MIB: usize = 1 << 20;

/// How streams are cancelled.
#[derive(Debug, Clone, Copy)]
enum How {
    Reset,
    Connection,
}

/// How far uploads have come.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Begun,
    Header,
    PartHeader,
    HalfOfImage,
    AllButEnd,
}

const PHASES: [Phase; 5] = [Phase::Begun, Phase::Header, Phase::PartHeader, Phase::HalfOfImage, Phase::AllButEnd];

impl Phase {
    /// What has been sent by then.
    fn of(self, wire: &[Bytes]) -> Vec<u8> {
        match self {
            Self::Begun => Vec::new(),
            Self::Header => wire[0].to_vec(),
            Self::PartHeader => wire[..2].concat(),
            Self::HalfOfImage => [&wire[..4].concat()[..], &wire[4][..1000]].concat(),
            Self::AllButEnd => wire.concat(),
        }
    }
}

/// Has the tenant's images stripped.
pub(crate) async fn strip(server: &Server) {
    let strip = UpdateTenantRequest {
        tenant: Some(Tenant { name: server.acme.name(), metadata_policy: MetadataPolicy::Strip.into(), ..Tenant::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["metadata_policy".to_owned()] }),
    };
    server.client.tenants(OPERATOR).update_tenant(strip).await.unwrap();
}

/// A PNG of so many bytes, with a text in it.
pub(crate) fn png(size: usize) -> InlinePart {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let crc = crc32fast::hash(&[kind, data].concat());
        [&u32::try_from(data.len()).unwrap().to_be_bytes()[..], kind, data, &crc.to_be_bytes()].concat()
    };
    let head = [chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]), chunk(b"tEXt", b"Comment\0taken here")].concat();
    let end = chunk(b"IEND", &[]);
    let pixels = chunk(b"IDAT", &vec![7; size - 8 - head.len() - 12 - end.len()]);
    part(Category::FaceImage, "image/png", [&b"\x89PNG\r\n\x1a\n"[..], &head, &pixels, &end].concat())
}

/// The messages on the wire of an upload of its own.
fn upload(server: &Server, image: &InlinePart) -> Vec<Bytes> {
    let upload = CreateRecordRequest { parts: vec![image.clone()], ..server.acme.upload_face(1, 20, server.clock.now()) };
    wire(&messages(upload, 256 << 10))
}

/// One upload more than there are places, each as far as `phase` says: one is refused, all others are under way.
async fn fill(server: &Server, line: &mut Line, image: &InlinePart, phase: Phase) -> Vec<Call> {
    let mut calls = Vec::new();
    for _ in 0..=PLACES {
        let mut call = line.upload("tenant/acme").await;
        call.send(&phase.of(&upload(server, image)), false).await;
        calls.push(call);
    }
    eventually(async || {
        server.acme.status(&server.client).await;
        calls.retain_mut(|call| call.answered().is_none_or(|status| status != "8"));
        calls.len() <= PLACES
    })
    .await;
    assert_eq!(calls.len(), PLACES);
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_uploads_make_room_at_once_in_whatever_phase() {
    let server = Server::start().await;
    strip(&server).await;
    let image = png(IMAGE);
    for (number, phase) in PHASES.into_iter().enumerate() {
        let how = if number % 2 == 0 { How::Reset } else { How::Connection };
        let mut line = Line::connect(server.address()).await;
        let calls = fill(&server, &mut line, &image, phase).await;
        match how {
            How::Reset => calls.into_iter().for_each(Call::reset),
            How::Connection => {
                line.drop().await;
                line = Line::connect(server.address()).await;
            }
        }
        // As many as there are places, and each holds its image back. A step that was under way ends first: who comes before that is
        // refused, and comes again.
        let mut left = PLACES;
        let mut tries = 0;
        while left > 0 {
            let mut senders = Vec::new();
            for _ in 0..left {
                let (mut call, bytes) = (line.upload("tenant/acme").await, upload(&server, &image).concat());
                senders.push(tokio::spawn(async move {
                    call.send(&bytes, false).await;
                    call.finish().await
                }));
            }
            for sender in senders {
                match sender.await.unwrap().as_str() {
                    "0" => left -= 1,
                    "8" => {}
                    status => panic!("{status} after {phase:?} and {how:?}"),
                }
            }
            tries += 1;
            assert!(tries < TRIES, "no room after {phase:?} and {how:?}");
        }
    }
}

/// Streams that are open and not read.
async fn unread_fetches(line: &mut Line, request: &FetchRecordsRequest) -> Vec<Fetch> {
    let mut fetches = Vec::new();
    for seed in 0..STREAMS {
        let mut fetch = line.fetch(WORKLOAD, &FetchRecordsRequest { seed, ..request.clone() }).await;
        fetch.fill_window().await;
        fetches.push(fetch);
    }
    fetches
}

/// With many streams open messages are small; with the streams that are cancelled that ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_fetches_make_room_at_once() {
    let server = Server::start().await;
    for mark in 0..2 {
        server.acme.send(&server.client, server.acme.upload_face(mark, MIB, server.clock.now())).await.unwrap();
    }
    let list = snapshot_of(&server.client, server.acme.spec(server.clock.now())).await;
    let messages = async || Epoch::read(&server.client, whole(&list)).await.unwrap().released.len();
    assert_eq!(messages().await, 2);
    for drops_connection in [false, true] {
        let mut line = Line::connect(server.address()).await;
        let fetches = unread_fetches(&mut line, &whole(&list)).await;
        assert!(messages().await > 3, "others get their messages, and smaller ones");
        if drops_connection {
            line.drop().await;
            drop(fetches);
            eventually(async || messages().await == 2).await;
        } else {
            drop(fetches);
            eventually(async || messages().await == 2).await;
            // Those who do not read in time lose nothing by it.
            let mut late = unread_fetches(&mut line, &whole(&list)).await;
            let messages = late.swap_remove(0).read_all().await;
            assert_eq!(messages.last().unwrap().next_position, 2);
        }
    }
}
