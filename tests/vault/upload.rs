//! Uploads: all or nothing, under a consent that allows their use, once whatever is retried.

use chrono::{SecondsFormat, TimeDelta};
use idvault::proto::record_header::ConsentSource;
use idvault::proto::{Category, CreateRecordRequest, GetRecordRequest, RecordHeader};
use serde_json::json;
use tonic::Code::{FailedPrecondition, InvalidArgument, NotFound};
use uuid::Uuid;

use crate::client::{invalid, reason_of, refused};
use crate::server::Server;
use crate::world::{Provider, face, grant, stamp, time};

/// What is wrong, and how an upload comes to it.
struct Case(&'static str, fn(&mut CreateRecordRequest));

fn header(upload: &mut CreateRecordRequest) -> &mut RecordHeader {
    upload.header.as_mut().unwrap()
}

#[tokio::test]
async fn a_record_is_what_was_sent() {
    let server = Server::start().await;
    let now = server.clock.now();
    let upload = server.acme.upload(now);
    let record = server.acme.send(&server.client, upload.clone()).await.unwrap();
    assert_eq!(record.call_id, upload.header.unwrap().call_id);
    assert_eq!(time(record.upload_time), now);
    let end = now + TimeDelta::days(30) - TimeDelta::minutes(5);
    assert_eq!(time(record.expire_time).timestamp(), end.timestamp() / 3600 * 3600);
    let parts: Vec<_> = record.parts.iter().map(|part| (part.name.rsplit_once("/parts/").unwrap().1, part.category())).collect();
    assert_eq!(parts, [("0", Category::FaceImage), ("1", Category::DocumentFront), ("2", Category::Attributes)]);
    assert_eq!(record.parts[0].size_bytes, 3_000);
    let get = GetRecordRequest { name: record.name.clone() };
    let answer = server.client.records("tenant/acme").get_record(get).await.unwrap();
    assert_eq!(answer.into_inner().record.as_ref(), Some(&record));
    let status = server.acme.status(&server.client).await;
    assert_eq!((status.live_record_count, status.backlog_record_count, status.hours.len()), (1, 0, 1));
    assert_eq!((status.hours[0].record_count, status.hours[0].expire_time), (1, record.expire_time));
    assert_eq!((status.next_shred_time, time(status.trusted_time)), (record.expire_time, now));
    assert!(status.hours[0].sealed_bytes > record.parts.iter().map(|part| part.size_bytes).sum());
}

#[tokio::test]
async fn a_record_that_never_was_is_gone() {
    let server = Server::start().await;
    let name = format!("tenants/acme/records/{}", Uuid::now_v7());
    refused(server.client.records("tenant/acme").get_record(GetRecordRequest { name }).await, NotFound, "RECORD_GONE");
}

#[tokio::test]
async fn every_consent_that_does_not_hold_is_refused_and_nothing_kept() {
    let server = Server::start().await;
    let now = server.clock.now();
    let later = |seconds: i64| json!(now.timestamp() + seconds);
    let a_second_late = json!((now + TimeDelta::seconds(1)).to_rfc3339_opts(SecondsFormat::Secs, true));
    let verify = grant("VERIFY_IDENTITY", &["FACE_IMAGE", "DOCUMENT_FRONT", "NAME", "ID_NUMBER"]);
    let cases = [
        ("/schema", json!("idvault.consent/2"), "CONSENT_MALFORMED"),
        ("/iss", json!("rival"), "CONSENT_MALFORMED"),
        ("/aud", json!("vault-2"), "CONSENT_MALFORMED"),
        ("/nbf", later(301), "CONSENT_NOT_YET_VALID"),
        ("/iat", later(301), "CONSENT_NOT_YET_VALID"),
        ("/exp", later(0), "CONSENT_EXPIRED"),
        ("/exp", later(3_599), "RETENTION_TOO_SHORT"),
        ("/event/time", a_second_late, "CONSENT_AFTER_COLLECTION"),
        ("/binding", json!({ "call_id": "another" }), "CONSENT_BINDING_MISMATCH"),
        ("/subject_class", json!("minor"), "GUARDIAN_REQUIRED"),
        ("/grants", json!([]), "CONSENT_PURPOSE_NOT_GRANTED"),
        ("/grants", json!([verify]), "CONSENT_PURPOSE_NOT_GRANTED"),
        ("/grants/0/decision", json!("refused"), "CONSENT_CATEGORY_NOT_COVERED"),
        ("/grants/1/categories", json!(["DOCUMENT_FRONT"]), "CONSENT_CATEGORY_NOT_COVERED"),
        ("/grants/0/recipients", json!([]), "CONSENT_CATEGORY_NOT_COVERED"),
        ("/grants/0/consent_type", json!("expressed"), "CONSENT_EXPLICIT_REQUIRED"),
    ];
    for (pointer, value, reason) in cases {
        let mut claims = server.acme.claims(now);
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        claims.pointer_mut(parent).unwrap()[name] = value;
        let upload = server.acme.upload_under(server.acme.sign(&claims), now);
        let code = if reason == "CONSENT_MALFORMED" { InvalidArgument } else { FailedPrecondition };
        let status = server.acme.send(&server.client, upload).await.expect_err(reason);
        assert_eq!(reason_of(&status), (code, reason.to_owned()), "{claims}");
    }
    let claims = server.acme.claims(now);
    for (receipt, code, reason) in [
        (server.acme.sign_as(&claims, "receipts-2"), FailedPrecondition, "CONSENT_KEY_UNKNOWN"),
        (Provider::new("rival").sign(&claims), InvalidArgument, "CONSENT_SIGNATURE_INVALID"),
        ("no receipt".to_owned(), InvalidArgument, "CONSENT_MALFORMED"),
    ] {
        let status = server.acme.send(&server.client, server.acme.upload_under(receipt, now)).await.expect_err(reason);
        assert_eq!(reason_of(&status), (code, reason.to_owned()));
    }
    assert_eq!(server.acme.status(&server.client).await.live_record_count, 0);
    assert!(server.volumes().is_empty(), "something was stored");
}

#[tokio::test]
async fn consents_that_just_hold_are_accepted() {
    let server = Server::start().await;
    let now = server.clock.now();
    let mut claims = server.acme.claims(now);
    claims["nbf"] = json!(now.timestamp() + 300);
    claims["iat"] = json!(now.timestamp() + 300);
    claims["exp"] = json!((now.timestamp() + 2 * 3600) / 3600 * 3600);
    claims["subject_class"] = json!("minor");
    claims["guardian_ref"] = json!("guardian-1");
    claims["binding"] = json!({ "call_id": "call-1" });
    let mut upload = server.acme.upload_under(server.acme.sign(&claims), now);
    header(&mut upload).call_id = "call-1".to_owned();
    let record = server.acme.send(&server.client, upload).await.unwrap();
    assert_eq!(time(record.expire_time).timestamp(), claims["exp"].as_i64().unwrap(), "consent never extends life");
}

#[tokio::test]
async fn every_part_that_is_not_what_it_says_is_refused() {
    let cases = [
        Case("PART_CHECKSUM_MISMATCH", |upload| upload.parts[0].header.as_mut().unwrap().crc32c ^= 1),
        Case("PART_SIZE_MISMATCH", |upload| upload.parts[1].header.as_mut().unwrap().size_bytes += 1),
        Case("PART_SIZE_MISMATCH", |upload| upload.parts[1].data.clear()),
        Case("PART_TYPE_MISMATCH", |upload| upload.parts[0].header.as_mut().unwrap().media_type = "image/png".to_owned()),
        Case("PART_TOO_LARGE", |upload| upload.parts[0].header.as_mut().unwrap().size_bytes = (10 << 20) + 1),
    ];
    let server = Server::start().await;
    for Case(reason, spoil) in cases {
        let mut upload = server.acme.upload(server.clock.now());
        spoil(&mut upload);
        refused(server.client.records("tenant/acme").create_record(upload).await, InvalidArgument, reason);
    }
    assert!(server.volumes().is_empty(), "something was stored");
}

#[tokio::test]
async fn every_field_that_is_not_valid_is_named() {
    let cases = [
        Case("header.parent", |upload| upload.header = None),
        Case("header.parent", |upload| header(upload).parent.push_str("/records")),
        Case("header.request_id", |upload| header(upload).request_id = Uuid::now_v7().to_string()),
        Case("header.call_id", |upload| header(upload).call_id = "a b".to_owned()),
        Case("header.collect_time", |upload| header(upload).collect_time = None),
        Case("header.consent", |upload| {
            let consent = format!("tenants/rival/consents/{}", Uuid::new_v4());
            header(upload).consent_source = Some(ConsentSource::Consent(consent));
        }),
        Case("parts[1].header.category", |upload| upload.parts[1].header.as_mut().unwrap().category = 15),
        Case("parts[0].header.category", |upload| upload.parts[0].header.as_mut().unwrap().category = 99),
        Case("parts[0].header.media_type", |upload| upload.parts[0].header.as_mut().unwrap().media_type = "image/gif".to_owned()),
        Case("attributes.date_of_birth", |upload| upload.attributes.as_mut().unwrap().date_of_birth = "yesterday".to_owned()),
        Case("parts", |upload| (upload.parts, upload.attributes) = (Vec::new(), None)),
        Case("parts", |upload| upload.parts = vec![face(1, 20); 16]),
    ];
    let server = Server::start().await;
    for Case(field, spoil) in cases {
        let mut upload = server.acme.upload(server.clock.now());
        spoil(&mut upload);
        invalid(server.client.records("tenant/acme").create_record(upload).await, field);
    }
    let mut upload = server.acme.upload(server.clock.now());
    header(&mut upload).collect_time = Some(stamp(server.clock.now() + TimeDelta::seconds(301)));
    invalid(server.client.records("tenant/acme").create_record(upload.clone()).await, "header.collect_time");
    header(&mut upload).consent_source = None;
    let answer = server.client.records("tenant/acme").create_record(upload).await;
    refused(answer, InvalidArgument, "CONSENT_RECEIPT_REQUIRED");
}

#[tokio::test]
async fn sixteen_parts_and_four_mebibytes_are_taken_in() {
    let server = Server::start().await;
    let now = server.clock.now();
    let sizes = (0..15).map(|at| face(at, 270_000));
    let upload = CreateRecordRequest { parts: sizes.collect(), ..server.acme.upload(now) };
    assert_eq!(server.acme.send(&server.client, upload).await.unwrap().parts.len(), 16);
    let large = server.acme.upload_face(1, 4 << 20, now);
    assert_eq!(server.acme.send(&server.client, large).await.unwrap().parts[0].size_bytes, 4 << 20);
}
