//! A reader that takes nothing: others go on, and what is withdrawn meanwhile is not in what comes to it later.

use idvault::proto::fetch_records_response::item::Content;
use idvault::proto::fetch_records_response::{Item, Tombstone};
use idvault::proto::{FetchRecordsRequest, FetchRecordsResponse};

use crate::client::WORKLOAD;
use crate::open::Line;
use crate::raw::wire;
use crate::server::Server;
use crate::stream::{Epoch, whole};
use crate::world::{mark_of, messages, snapshot_of};

/// Each is a message of its own.
const RECORDS: usize = 6;
const MIB: usize = 1 << 20;

/// What messages carry at a position.
fn items(messages: &[FetchRecordsResponse], position: u64) -> Vec<&Item> {
    messages.iter().flat_map(|message| &message.items).filter(|item| item.position == position).collect()
}

fn is_gone(items: &[&Item]) -> bool {
    let tombstone = Some(Content::Tombstone(Tombstone::Gone.into()));
    matches!(items, [item] if item.content == tombstone)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_nothing_holds_up_nobody_and_gets_nothing_that_was_withdrawn() {
    let server = Server::start().await;
    let mut records = Vec::new();
    for mark in (0_u64..).take(RECORDS) {
        let upload = server.acme.upload_face(mark, MIB, server.clock.now());
        records.push(server.acme.send(&server.client, upload).await.unwrap());
    }
    let list = snapshot_of(&server.client, server.acme.spec(server.clock.now())).await;
    let epoch = Epoch::read(&server.client, whole(&list)).await.unwrap();
    assert_eq!(epoch.released.len(), RECORDS);
    let record_at = |position: u64| &records[usize::try_from(mark_of(&epoch.faces()[&position])).unwrap()];

    let mut line = Line::connect(server.address()).await;
    let mut slow = line.fetch(WORKLOAD, &whole(&list)).await;
    slow.fill_window().await;
    // Over its own connection and another one.
    let other = line.fetch(WORKLOAD, &FetchRecordsRequest { seed: 8, ..whole(&list) }).await.read_all().await;
    assert_eq!(other.len(), RECORDS);
    let mut upload = line.upload("tenant/acme").await;
    let whole_record = wire(&messages(server.acme.upload(server.clock.now()), MIB)).concat();
    assert!(upload.send(&whole_record, false).await);
    assert_eq!(upload.finish().await, "0");
    server.acme.send(&server.client, server.acme.upload(server.clock.now())).await.unwrap();
    assert_eq!(Epoch::read(&server.client, whole(&list)).await.unwrap().faces().len(), RECORDS);

    // The next message that it would get, and a later one: neither is made yet.
    let withdrawn = server.acme.withdraw(&server.client, record_at(1), &[]).await.unwrap().destruction.unwrap();
    let shredded = server.acme.shred(&server.client, record_at(4)).await.unwrap();
    let come = slow.read_all().await;
    assert!(is_gone(&items(&come, 1)) && is_gone(&items(&come, 4)), "made before it was asked for");
    assert!(come[0].release_sequence <= withdrawn.last_release_sequence);
    assert!(come[1].release_sequence > shredded.last_release_sequence);
    let kept = (0_u64..).take(RECORDS).filter(|position| !is_gone(&items(&come, *position))).count();
    assert_eq!(kept, RECORDS - 2);
}
