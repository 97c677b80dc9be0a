//! A disk that is full and a row that is damaged: what callers are told, and that the rest goes on.

use idvault::proto::{GetRecordRequest, WithdrawConsentRequest};
use idvault::store::ledger::journaled::JournaledLedger;
use idvault::store::ledger::{Ledger, Transaction};
use tonic::Code::{DataLoss, NotFound, ResourceExhausted};

use crate::client::refused;
use crate::server::Server;
use crate::streamed::records;
use crate::world::messages;

#[tokio::test]
async fn a_full_disk_refuses_uploads_and_nothing_else() {
    let server = Server::start().await;
    let upload = server.acme.upload(server.clock.now());
    let record = server.acme.send(&server.client, upload.clone()).await.unwrap();
    let (home, clock) = server.stop().await;
    // More is to be left free than any disk has.
    let server = Server::run_as(home, clock, |blueprint| blueprint.reserve = u64::MAX).await.unwrap();
    for size in [1_000, 3 << 20] {
        let other = server.acme.upload_face(1, size, server.clock.now());
        let mut client = server.client.records("tenant/acme");
        refused(client.create_record(other.clone()).await, ResourceExhausted, "STORAGE_FULL");
        let streamed = futures_util::stream::iter(messages(other, 1 << 20));
        refused(client.upload_record(streamed).await, ResourceExhausted, "STORAGE_FULL");
    }
    assert_eq!(records(&server, &server.client).await, std::slice::from_ref(&record));
    assert_eq!(server.acme.send(&server.client, upload).await.unwrap(), record, "a retry needs no room");
    assert_eq!(server.acme.shred(&server.client, &record).await.unwrap().record_count, 1);
    let server = server.restart().await;
    server.acme.send(&server.client, server.acme.upload(server.clock.now())).await.unwrap();
}

#[tokio::test]
async fn a_damaged_row_is_named_and_the_rest_is_served() {
    let server = Server::start().await;
    let mut pair = Vec::new();
    for _ in 0..2 {
        pair.push(server.acme.send(&server.client, server.acme.upload(server.clock.now())).await.unwrap());
    }
    let (home, clock) = server.stop().await;
    let ledger = JournaledLedger::open(&home.path().join("data/ledger")).unwrap();
    let row = ledger.scan(b"R").next().unwrap().unwrap();
    let mut value = row.value;
    *value.last_mut().unwrap() ^= 1;
    let mut transaction = Transaction::default();
    transaction.put(row.key, value);
    ledger.sync(ledger.apply(transaction).unwrap()).unwrap();
    drop(ledger);
    let server = Server::run(home, clock).await;
    let listed = records(&server, &server.client).await;
    let [whole] = listed.try_into().unwrap();
    let damaged = pair.into_iter().find(|record| *record != whole).unwrap();
    let get = GetRecordRequest { name: damaged.name.clone() };
    refused(server.client.records("tenant/acme").get_record(get.clone()).await, DataLoss, "RECORD_DAMAGED");
    // What cannot be read cannot be vouched for: the consent is withdrawn, and that the record is gone is not said.
    let withdraw = WithdrawConsentRequest { name: damaged.consent.clone(), purposes: Vec::new() };
    refused(server.client.consents("tenant/acme").withdraw_consent(withdraw).await, DataLoss, "RECORD_DAMAGED");
    server.acme.shred(&server.client, &whole).await.unwrap();
    refused(server.acme.shred(&server.client, &whole).await.map(tonic::Response::new), NotFound, "RECORD_GONE");
}
