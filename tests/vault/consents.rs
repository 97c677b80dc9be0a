//! Consents: registered, looked at, withdrawn; and nothing lives under one that says no.

use chrono::TimeDelta;
use idvault::proto::consent::State;
use idvault::proto::record_header::ConsentSource;
use idvault::proto::{Consent, GetConsentRequest, GetRecordRequest, Purpose, RegisterConsentRequest, WithdrawConsentRequest};
use serde_json::json;
use tonic::{Code, Response, Status};
use uuid::Uuid;

use crate::client::{OFFICER, invalid, reason_of, refused};
use crate::server::{Server, together};
use crate::stream::{Epoch, whole};
use crate::world::{Key, active_job, snapshot, snapshot_of, time};

async fn register(server: &Server, receipt: &str) -> Result<Response<Consent>, Status> {
    let request = RegisterConsentRequest { parent: server.acme.name(), receipt: receipt.to_owned() };
    let answer = server.client.consents("tenant/acme").register_consent(request).await?;
    Ok(answer.map(|answer| answer.consent.unwrap()))
}

async fn get(server: &Server, name: &str) -> Consent {
    let request = GetConsentRequest { name: name.to_owned() };
    server.client.consents(OFFICER).get_consent(request).await.unwrap().into_inner().consent.unwrap()
}

#[tokio::test]
async fn a_registered_consent_serves_uploads_by_its_name() {
    let server = Server::start().await;
    let claims = server.acme.claims(server.clock.now());
    let receipt = server.acme.sign(&claims);
    let consent = register(&server, &receipt).await.unwrap().into_inner();
    assert_eq!(consent.name, format!("tenants/acme/consents/{}", claims["jti"].as_str().unwrap()));
    assert_eq!(consent.state(), State::Active);
    assert_eq!(consent.granted_purposes().collect::<Vec<_>>(), [Purpose::TrainFaceMatch, Purpose::TrainDocumentOcr]);
    assert_eq!(time(consent.expire_time).timestamp(), claims["exp"].as_i64().unwrap());
    assert_eq!(register(&server, &receipt).await.unwrap().into_inner(), consent, "the same receipt, the same answer");
    assert_eq!(get(&server, &consent.name).await, consent);

    let mut upload = server.acme.upload(server.clock.now());
    upload.header.as_mut().unwrap().consent_source = Some(ConsentSource::Consent(consent.name.clone()));
    assert_eq!(server.acme.send(&server.client, upload).await.unwrap().consent, consent.name);
    let upload = server.acme.upload_under(receipt, server.clock.now());
    assert_eq!(server.acme.send(&server.client, upload).await.unwrap().consent, consent.name);
}

#[tokio::test]
async fn a_consent_id_means_one_receipt() {
    let server = Server::start().await;
    let mut claims = server.acme.claims(server.clock.now());
    register(&server, &server.acme.sign(&claims)).await.unwrap();
    claims["subject_ref"] = json!("subject-8");
    let other = server.acme.sign(&claims);
    refused(register(&server, &other).await, Code::AlreadyExists, "CONSENT_ID_REUSED");
    let upload = server.acme.upload_under(other, server.clock.now());
    refused(server.client.records("tenant/acme").create_record(upload).await, Code::AlreadyExists, "CONSENT_ID_REUSED");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = Server::start().await;
    let name = format!("tenants/acme/consents/{}", Uuid::new_v4());
    let mut consents = server.client.consents("tenant/acme");
    refused(consents.get_consent(GetConsentRequest { name: name.clone() }).await, Code::NotFound, "NOT_FOUND");
    let withdraw = WithdrawConsentRequest { name: name.clone(), purposes: Vec::new() };
    refused(consents.withdraw_consent(withdraw).await, Code::NotFound, "NOT_FOUND");
    let mut upload = server.acme.upload(server.clock.now());
    upload.header.as_mut().unwrap().consent_source = Some(ConsentSource::Consent(name));
    refused(server.client.records("tenant/acme").create_record(upload).await, Code::NotFound, "NOT_FOUND");
    let elsewhere = RegisterConsentRequest { parent: "tenants/nobody".to_owned(), receipt: "x".to_owned() };
    refused(server.client.consents(OFFICER).register_consent(elsewhere).await, Code::NotFound, "NOT_FOUND");
    invalid(consents.get_consent(GetConsentRequest { name: "tenants/acme/consents/1".to_owned() }).await, "name");
}

#[tokio::test]
async fn receipts_out_of_their_time_are_not_registered_and_end_by_themselves() {
    let mut server = Server::start().await;
    let now = server.clock.now();
    for (claim, value, reason) in [("nbf", 301, "CONSENT_NOT_YET_VALID"), ("exp", 0, "CONSENT_EXPIRED")] {
        let mut claims = server.acme.claims(now);
        claims[claim] = json!(now.timestamp() + value);
        refused(register(&server, &server.acme.sign(&claims)).await, Code::FailedPrecondition, reason);
    }
    refused(register(&server, "x").await, Code::InvalidArgument, "CONSENT_MALFORMED");
    refused(register(&server, "").await, Code::InvalidArgument, "CONSENT_RECEIPT_REQUIRED");
    let forged = Key::new("receipts-1", 2).sign(&server.acme.claims(now));
    refused(register(&server, &forged).await, Code::InvalidArgument, "CONSENT_SIGNATURE_INVALID");
    let mut claims = server.acme.claims(now);
    claims["exp"] = json!(now.timestamp() + 10);
    let consent = register(&server, &server.acme.sign(&claims)).await.unwrap().into_inner();
    server.clock.advance(TimeDelta::seconds(9));
    assert_eq!(get(&server, &consent.name).await.state(), State::Active);
    server.clock.advance(TimeDelta::seconds(1));
    assert_eq!(get(&server, &consent.name).await.state(), State::Expired);
}

#[tokio::test]
async fn withdrawing_one_of_two_purposes_stops_that_one_only() {
    let server = Server::start().await;
    let (client, now) = (&server.client, server.clock.now());
    let record = server.acme.send(client, server.acme.upload(now)).await.unwrap();
    let [faces, fronts] = [active_job(client, server.acme.spec(now)).await, active_job(client, server.acme.ocr_spec(now)).await];
    let before = [snapshot(client, &faces).await, snapshot(client, &fronts).await];
    assert_eq!(before.each_ref().map(|snapshot| snapshot.position_count), [1, 1]);

    let answer = server.acme.withdraw(client, &record, &[Purpose::TrainFaceMatch]).await.unwrap();
    let consent = answer.consent.unwrap();
    assert_eq!((consent.state(), answer.destruction.unwrap().record_count), (State::Active, 0));
    assert_eq!(consent.withdrawn_purposes().collect::<Vec<_>>(), [Purpose::TrainFaceMatch]);
    let after = [snapshot(client, &faces).await, snapshot(client, &fronts).await];
    assert_eq!(after.each_ref().map(|snapshot| snapshot.position_count), [0, 1]);
    let stopped = Epoch::read(client, whole(&before[0])).await.unwrap();
    assert_eq!(stopped.tombstones(idvault::proto::fetch_records_response::Tombstone::Gone), 1);
    let goes_on = Epoch::read(client, whole(&before[1])).await.unwrap();
    assert!(goes_on.positions[&0].tombstone.is_none() && goes_on.positions[&0].face().is_none());
    assert_eq!(server.acme.status(client).await.live_record_count, 1);

    let answer = server.acme.withdraw(client, &record, &[Purpose::TrainDocumentOcr]).await.unwrap();
    assert_eq!(answer.consent.unwrap().state(), State::Withdrawn);
    assert_eq!(answer.destruction.unwrap().record_count, 1);
    let gone = client.records("tenant/acme").get_record(GetRecordRequest { name: record.name.clone() }).await;
    refused(gone, Code::NotFound, "RECORD_GONE");
    let again = server.acme.withdraw(client, &record, &[Purpose::TrainDocumentOcr]).await.unwrap();
    assert_eq!((again.consent.unwrap().state(), again.destruction.unwrap().record_count), (State::Withdrawn, 0));
}

#[tokio::test]
async fn withdrawing_what_was_not_granted_changes_nothing_that_lives() {
    let server = Server::start().await;
    let record = server.acme.send(&server.client, server.acme.upload(server.clock.now())).await.unwrap();
    let others = [Purpose::EvaluateBias, Purpose::VerifyIdentity];
    let answer = server.acme.withdraw(&server.client, &record, &others).await.unwrap();
    assert_eq!((answer.consent.unwrap().state(), answer.destruction.unwrap().record_count), (State::Active, 0));
    assert_eq!(snapshot_of(&server.client, server.acme.spec(server.clock.now())).await.position_count, 1);
    let name = record.consent;
    let unknown = WithdrawConsentRequest { name, purposes: vec![99] };
    invalid(server.client.consents("tenant/acme").withdraw_consent(unknown).await, "purposes");
}

#[tokio::test]
async fn a_withdrawn_consent_shreds_all_its_records_and_takes_in_no_more() {
    let server = Server::start().await;
    let now = server.clock.now();
    let receipt = server.acme.sign(&server.acme.claims(now));
    let mut records = Vec::new();
    for _ in 0..3 {
        records.push(server.acme.send(&server.client, server.acme.upload_under(receipt.clone(), now)).await.unwrap());
    }
    let other = server.acme.send(&server.client, server.acme.upload(now)).await.unwrap();
    let request = WithdrawConsentRequest { name: records[0].consent.clone(), purposes: Vec::new() };
    let answer = server.client.consents(OFFICER).withdraw_consent(request).await.unwrap().into_inner();
    assert_eq!((answer.consent.unwrap().state(), answer.destruction.unwrap().record_count), (State::Withdrawn, 3));
    let upload = server.acme.upload_under(receipt, now);
    let answer = server.client.records("tenant/acme").create_record(upload).await;
    refused(answer, Code::FailedPrecondition, "CONSENT_WITHDRAWN");
    let get = GetRecordRequest { name: other.name.clone() };
    assert_eq!(server.client.records("tenant/acme").get_record(get).await.unwrap().into_inner().record, Some(other));
    let status = server.acme.status(&server.client).await;
    assert_eq!((status.live_record_count, status.backlog_record_count), (1, 0));
}

#[tokio::test]
async fn uploads_that_race_with_the_withdrawal_do_not_outlive_it() {
    let server = Server::start().await;
    let now = server.clock.now();
    for _ in 0..6 {
        let receipt = server.acme.sign(&server.acme.claims(now));
        let first = server.acme.send(&server.client, server.acme.upload_under(receipt.clone(), now)).await.unwrap();
        let uploads = (0..6).map(|_| {
            let (client, acme, upload) =
                (server.client.clone(), server.acme.clone(), server.acme.upload_under(receipt.clone(), now));
            tokio::spawn(async move { acme.send(&client, upload).await })
        });
        let uploads: Vec<_> = uploads.collect();
        let withdrawn = server.acme.withdraw(&server.client, &first, &[]).await.unwrap();
        let taken_in = 1 + together(uploads)
            .await
            .into_iter()
            .filter(|outcome| match outcome.as_ref().unwrap() {
                Ok(_) => true,
                Err(status) => {
                    assert_eq!(reason_of(status), (Code::FailedPrecondition, "CONSENT_WITHDRAWN".to_owned()));
                    false
                }
            })
            .count();
        assert_eq!(withdrawn.destruction.unwrap().record_count, u64::try_from(taken_in).unwrap());
        let status = server.acme.status(&server.client).await;
        assert_eq!((status.live_record_count, status.backlog_record_count), (0, 0));
    }
}
