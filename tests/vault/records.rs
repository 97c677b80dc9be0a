//! Records as they are listed and shown: by tenant, call and person; and what is told of the metadata in their files.

use chrono::TimeDelta;
use idvault::proto::MetadataTreatment::{Kept, Stripped, Unspecified, Untouched};
use idvault::proto::{
    CreateRecordRequest, ListRecordsRequest, ListRecordsResponse, MetadataKind, MetadataPolicy, Record, Tenant,
    UpdateTenantRequest,
};
use prost_types::FieldMask;
use serde_json::json;
use tonic::{Code, Response, Status};

use crate::client::{OPERATOR, invalid, refused};
use crate::server::Server;
use crate::world::{Provider, messages, part};

const FRONT_JPEG: &[u8] = include_bytes!("../../src/cli/demo/specimens/0001/front.jpg");
const FRONT_PDF: &[u8] = include_bytes!("../../src/cli/demo/specimens/0005/front.pdf");

async fn list(server: &Server, request: ListRecordsRequest) -> Result<Response<ListRecordsResponse>, Status> {
    server.client.records("tenant/acme").list_records(request).await
}

/// What a list of `size` a page gives, page by page.
async fn pages(server: &Server, size: u32, subject_ref: &str) -> Vec<Record> {
    let (mut records, mut page_token) = (Vec::new(), String::new());
    loop {
        let subject_ref = subject_ref.to_owned();
        let request =
            ListRecordsRequest { parent: server.acme.name(), page_size: size, page_token, subject_ref, call_id: String::new() };
        let page = list(server, request).await.unwrap().into_inner();
        assert!(page.records.len() <= usize::try_from(size).unwrap());
        records.extend(page.records);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return records;
        }
    }
}

/// An upload for a person.
fn upload_of(server: &Server, subject: &str) -> CreateRecordRequest {
    let now = server.clock.now();
    let mut claims = server.acme.claims(now);
    claims["subject_ref"] = json!(subject);
    server.acme.upload_under(server.acme.sign(&claims), now)
}

#[tokio::test]
async fn live_records_are_listed_by_tenant_call_and_person() {
    let mut server = Server::start().await;
    let rival = Provider::new("rival");
    rival.create(&server.client).await;
    rival.send(&server.client, rival.upload(server.clock.now())).await.unwrap();
    let mut records = Vec::new();
    for subject in ["anna", "ben", "anna", "carl", "anna", "ben"] {
        records.push(server.acme.send(&server.client, upload_of(&server, subject)).await.unwrap());
        server.clock.advance(TimeDelta::seconds(1));
    }
    // Two records under one consent.
    let registered = upload_of(&server, "anna");
    for _ in 0..2 {
        let mut upload = server.acme.upload(server.clock.now());
        upload.header.as_mut().unwrap().consent_source = registered.header.as_ref().unwrap().consent_source.clone();
        records.push(server.acme.send(&server.client, upload).await.unwrap());
    }
    let server = server.restart().await;
    for size in 1..10 {
        let mut listed = pages(&server, size, "").await;
        assert_eq!(listed.len(), records.len(), "pages of {size}");
        listed.sort_by_key(|record| records.iter().position(|known| known == record).unwrap());
        assert_eq!(listed, records);
        for (subject, wanted) in [("anna", 5), ("ben", 2), ("carl", 1), ("dora", 0)] {
            let mut listed = pages(&server, size, subject).await;
            assert_eq!(listed.len(), wanted, "{subject} in pages of {size}");
            listed.dedup();
            assert_eq!(listed.len(), wanted);
        }
    }
    let by_call = |call_id: &str| ListRecordsRequest {
        parent: server.acme.name(),
        call_id: call_id.to_owned(),
        ..ListRecordsRequest::default()
    };
    assert_eq!(list(&server, by_call(&records[3].call_id)).await.unwrap().into_inner().records, records[3..4]);
    assert_eq!(list(&server, by_call("another")).await.unwrap().into_inner().records, []);
    server.acme.shred(&server.client, &records[3]).await.unwrap();
    server.acme.withdraw(&server.client, &records[0], &[]).await.unwrap();
    assert_eq!(list(&server, by_call(&records[3].call_id)).await.unwrap().into_inner().records, []);
    assert_eq!(pages(&server, 100, "carl").await, []);
    assert_eq!(pages(&server, 2, "anna").await.len(), 4);
    assert_eq!(pages(&server, 3, "").await.len(), 6);
}

#[tokio::test]
async fn a_list_is_asked_for_in_one_way_and_its_tokens_are_its_own() {
    let server = Server::start().await;
    for _ in 0..3 {
        server.acme.send(&server.client, upload_of(&server, "anna")).await.unwrap();
    }
    let ask = |subject_ref: &str, page_token: String| ListRecordsRequest {
        parent: server.acme.name(),
        page_size: 1,
        page_token,
        subject_ref: subject_ref.to_owned(),
        call_id: String::new(),
    };
    let both = ListRecordsRequest { call_id: "call".to_owned(), ..ask("anna", String::new()) };
    invalid(list(&server, both).await, "subject_ref");
    invalid(list(&server, ListRecordsRequest { call_id: "a b".to_owned(), ..ask("", String::new()) }).await, "call_id");
    invalid(list(&server, ask(&"x".repeat(129), String::new())).await, "subject_ref");
    let token = list(&server, ask("anna", String::new())).await.unwrap().into_inner().next_page_token;
    for other in ["", "ben"] {
        invalid(list(&server, ask(other, token.clone())).await, "page_token");
    }
    let nobody = ListRecordsRequest { parent: "tenants/nobody".to_owned(), ..ask("", String::new()) };
    refused(server.client.records("tenant/nobody").list_records(nobody).await, Code::NotFound, "NOT_FOUND");
}

/// A JPEG segment.
fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
    [&[0xff, marker], &length[..], content].concat()
}

#[tokio::test]
async fn an_answer_says_what_became_of_metadata() {
    let server = Server::start().await;
    // A directory with nothing but where the place of capture is.
    let exif = [&b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x88\x25\0\x04\0\0\0\x01\0\0\0\x1a\0\0\0\0"[..], b"1.3521 N 103.8198 E"].concat();
    let metadata = [segment(0xe1, &exif), segment(0xfe, b"a comment")].concat();
    let tagged = [&FRONT_JPEG[..2], &metadata, &FRONT_JPEG[2..], b"more"].concat();
    let upload = || CreateRecordRequest {
        parts: vec![
            part(idvault::proto::Category::DocumentFront, "image/jpeg", tagged.clone()),
            part(idvault::proto::Category::DocumentFront, "image/jpeg", FRONT_JPEG.to_vec()),
            part(idvault::proto::Category::DocumentFront, "application/pdf", FRONT_PDF.to_vec()),
        ],
        ..server.acme.upload(server.clock.now())
    };
    let told = |record: &Record| -> Vec<_> {
        let removed = |part: &idvault::proto::Part| part.metadata_removed().collect::<Vec<_>>();
        record.parts.iter().map(|part| (part.metadata_treatment(), removed(part), part.size_bytes)).collect()
    };
    let size = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap();
    let kept = server.acme.send(&server.client, upload()).await.unwrap();
    assert_eq!(
        told(&kept)[..3],
        [(Kept, vec![], size(&tagged)), (Kept, vec![], size(FRONT_JPEG)), (Kept, vec![], size(FRONT_PDF))]
    );
    let update = UpdateTenantRequest {
        tenant: Some(Tenant { name: server.acme.name(), metadata_policy: MetadataPolicy::Strip.into(), ..Tenant::default() }),
        update_mask: Some(FieldMask { paths: vec!["metadata_policy".to_owned()] }),
    };
    server.client.tenants(OPERATOR).update_tenant(update).await.unwrap();
    let removed = vec![MetadataKind::Location, MetadataKind::Exif, MetadataKind::Text, MetadataKind::Trailer];
    for record in [
        server.acme.send(&server.client, upload()).await.unwrap(),
        server.acme.stream(&server.client, messages(upload(), 10_000)).await.unwrap(),
    ] {
        let wanted = [
            (Stripped, removed.clone(), size(FRONT_JPEG)),
            (Stripped, vec![], size(FRONT_JPEG)),
            (Untouched, vec![], size(FRONT_PDF)),
        ];
        assert_eq!(told(&record)[..3], wanted);
        assert_eq!(told(&record)[3].0, Unspecified, "the attributes");
        let listed =
            ListRecordsRequest { parent: server.acme.name(), call_id: record.call_id.clone(), ..ListRecordsRequest::default() };
        assert_eq!(list(&server, listed).await.unwrap().into_inner().records, [record]);
    }
    let malformed = part(idvault::proto::Category::DocumentFront, "image/jpeg", FRONT_JPEG[..5_000].to_vec());
    let broken = CreateRecordRequest { parts: vec![malformed], ..upload() };
    refused(server.client.records("tenant/acme").create_record(broken).await, Code::InvalidArgument, "PART_TYPE_MISMATCH");
}
