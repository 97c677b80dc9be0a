//! Vaults that earlier versions wrote: they open, and all that came since works on what is in them.

use std::path::Path;
use std::sync::Arc;

use chrono::TimeDelta;
use idvault::proto::consent::State;
use idvault::proto::{
    EraseSubjectRequest, GetTenantRequest, ListConsentsRequest, ListRecordsRequest, ListReleasesRequest, ListTrainingJobsRequest,
    MetadataTreatment, Purpose, Snapshot, Tenant, UpdateTenantRequest,
};
use prost_types::FieldMask;
use serde_json::{Value, json};

use crate::client::{OFFICER, OPERATOR, WORKLOAD, refused};
use crate::server::{Clock, Server, copy, eventually};
use crate::stream::{Epoch, whole};
use crate::world::{Key, snapshot};

/// When the first version wrote its vault.
const WRITTEN: &str = "2031-03-03T09:30:00Z";

/// A running copy of the first version's vault, some time after it was written.
async fn first_version(after: TimeDelta) -> Server {
    let home = Arc::new(tempfile::tempdir().unwrap());
    copy(Path::new("tests/fixtures/vault-1"), &home.path().join("data"));
    let mut clock = Clock::new(home.path().join("clock"));
    clock.set(WRITTEN.parse::<chrono::DateTime<chrono::Utc>>().unwrap() + after);
    Server::run_as(home, clock, |blueprint| blueprint.id = "blackbox".parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn what_was_alive_is_released_and_known_by_person_and_job() {
    let server = first_version(TimeDelta::hours(1)).await;
    let client = &server.client;
    let list = |subject_ref: &str| ListRecordsRequest {
        parent: server.acme.name(),
        subject_ref: subject_ref.to_owned(),
        ..ListRecordsRequest::default()
    };
    let of = async |subject: &str| client.records("tenant/acme").list_records(list(subject)).await.unwrap().into_inner().records;
    assert_eq!(of("").await.len(), 2);
    let ([kept], [withdrawn]) =
        (<[_; 1]>::try_from(of("subject-0002").await).unwrap(), <[_; 1]>::try_from(of("subject-0004").await).unwrap());
    assert_eq!(of("subject-0003").await, [], "it was shredded");
    assert!(kept.parts.iter().all(|part| part.metadata_treatment() == MetadataTreatment::Unspecified));
    let consents = ListConsentsRequest { parent: server.acme.name(), ..ListConsentsRequest::default() };
    let consents = client.consents(OFFICER).list_consents(consents).await.unwrap().into_inner().consents;
    let taken_back = consents.iter().find(|consent| consent.name == withdrawn.consent).unwrap();
    assert_eq!((taken_back.state(), taken_back.withdrawn_purposes().next()), (State::Active, Some(Purpose::EvaluateBias)));

    let jobs = client.training(OFFICER).list_training_jobs(ListTrainingJobsRequest::default()).await.unwrap().into_inner();
    let [job] = jobs.training_jobs.try_into().unwrap();
    let fresh: Snapshot = snapshot(client, &job).await;
    let epoch = Epoch::read(client, whole(&fresh)).await.unwrap();
    assert_eq!((fresh.position_count, epoch.faces().len()), (2, 2));
    assert!(epoch.faces().values().any(|face| face.ends_with(&b"subject-0002".repeat(20))));
    for record in [&kept, &withdrawn] {
        let releases = ListReleasesRequest { parent: record.name.clone(), ..ListReleasesRequest::default() };
        let releases = client.training(OFFICER).list_releases(releases).await.unwrap().into_inner().releases;
        assert_eq!(releases[0].training_jobs, [job.name.as_str()]);
    }
}

#[tokio::test]
async fn an_unproved_key_stays_until_it_is_replaced() {
    let server = first_version(TimeDelta::hours(1)).await;
    let get = GetTenantRequest { name: server.acme.name() };
    let tenant = server.client.tenants(OPERATOR).get_tenant(get).await.unwrap().into_inner().tenant.unwrap();
    let (old, new): (Value, Value) =
        (serde_json::from_str(&tenant.jwks).unwrap(), serde_json::from_str(&Key::set(&[&Key::new("receipts-2", 9)])).unwrap());
    let both = json!({ "keys": [old["keys"][0], new["keys"][0]] }).to_string();
    let proof =
        idvault::crypto::key_proof::sign("blackbox", "acme", "receipts-2", &ed25519_dalek::SigningKey::from_bytes(&[9; 32]));
    let update = |jwks: String, jwks_proofs| UpdateTenantRequest {
        tenant: Some(Tenant { name: server.acme.name(), jwks, jwks_proofs, ..Tenant::default() }),
        update_mask: Some(FieldMask { paths: vec!["jwks".to_owned()] }),
    };
    server.client.tenants("tenant/acme").update_tenant(update(both, vec![proof])).await.unwrap();
    server.client.tenants("tenant/acme").update_tenant(update(new.to_string(), Vec::new())).await.unwrap();
    // It was never proved, so it does not come back.
    crate::client::invalid(
        server.client.tenants("tenant/acme").update_tenant(update(tenant.jwks, Vec::new())).await,
        "tenant.jwks_proofs",
    );
}

#[tokio::test]
async fn what_was_taken_in_goes_as_it_was_to() {
    let server = first_version(TimeDelta::hours(1)).await;
    let erase = EraseSubjectRequest { parent: server.acme.name(), subject_ref: "subject-0002".to_owned() };
    let answer = server.client.consents(OFFICER).erase_subject(erase).await.unwrap();
    assert_eq!(
        answer.into_inner().destruction.unwrap().record_count,
        1,
        "found by a person, whom the first version did not index"
    );
    assert_eq!(server.acme.status(&server.client).await.live_record_count, 1);
    let later = first_version(TimeDelta::days(31)).await;
    eventually(async || later.volumes().is_empty()).await;
    assert_eq!(later.acme.status(&later.client).await.live_record_count, 0);
    let jobs = later.client.training(OFFICER).list_training_jobs(ListTrainingJobsRequest::default()).await.unwrap();
    let name = jobs.into_inner().training_jobs[0].name.clone();
    let request = idvault::proto::CreateSnapshotRequest { parent: name, request_id: uuid::Uuid::new_v4().to_string() };
    let answer = later.client.training(WORKLOAD).create_snapshot(request).await;
    refused(answer, tonic::Code::FailedPrecondition, "JOB_NOT_ACTIVE");
}

/// Opens a vault that a later version wrote, and looks at what is alive in it.
async fn opens_with_all_that_it_has(name: &str, alive: usize) {
    let home = Arc::new(tempfile::tempdir().unwrap());
    copy(&Path::new("tests/fixtures").join(name), &home.path().join("data"));
    let mut clock = Clock::new(home.path().join("clock"));
    clock.set("2031-03-01T11:30:00Z".parse().unwrap());
    let server = Server::run(home, clock).await;
    assert!(!server.vault().is_restored());
    assert_eq!(server.acme.status(&server.client).await.live_record_count, u64::try_from(alive).unwrap());
    let jobs = server.client.training(OFFICER).list_training_jobs(ListTrainingJobsRequest::default()).await.unwrap();
    let list = snapshot(&server.client, &jobs.into_inner().training_jobs[0]).await;
    assert_eq!(Epoch::read(&server.client, whole(&list)).await.unwrap().faces().len(), alive);
}

#[tokio::test]
async fn a_vault_whose_head_knows_its_ledger_opens_with_all_that_it_has() {
    opens_with_all_that_it_has("vault-2", 3).await;
}

#[tokio::test]
async fn a_vault_whose_index_is_a_merge_tree_opens_with_all_that_it_has() {
    opens_with_all_that_it_has("vault-3", 3).await;
}

#[tokio::test]
async fn a_vault_whose_head_knows_its_custody_opens_with_all_that_it_has() {
    opens_with_all_that_it_has("vault-4", 3).await;
}

#[tokio::test]
async fn a_vault_whose_page_is_behind_its_head_opens_with_all_that_it_has() {
    opens_with_all_that_it_has("vault-5", 2).await;
}
