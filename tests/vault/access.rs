//! Who may call what: everybody else is refused, before anything they say is looked at and whether or not it exists.

use std::collections::{BTreeMap, BTreeSet};

use idvault::proto::{
    ApproveTrainingJobRequest, ApproverRole, CreateSnapshotRequest, CreateTrainingJobRequest, EraseSubjectRequest,
    FetchRecordsRequest, GetConsentRequest, GetRecordRequest, GetRetentionStatusRequest, GetSnapshotRequest, GetTenantRequest,
    GetTrainingJobRequest, ListConsentsRequest, ListRecordsRequest, ListReleasesRequest, ListTenantsRequest,
    ListTrainingJobsRequest, RegisterConsentRequest, RevokeTrainingJobRequest, ShredRecordRequest, SubmitTrainingJobRequest,
    Tenant, UpdateTenantRequest, WithdrawConsentRequest,
};
use prost_types::FieldMask;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::client::{
    Client, MODEL_OWNER, NOBODY, OFFICER, OPERATOR, REQUESTER, STRANGER, WORKLOAD, reason_of, refused, spiffe_id,
};
use crate::server::Server;
use crate::world::{Provider, active_job, messages, snapshot};

/// Names of one thing of each kind.
struct Things {
    tenant: String,
    record: String,
    consent: String,
    job: String,
    snapshot: String,
}

impl Things {
    async fn that_exist(server: &Server) -> Self {
        let now = server.clock.now();
        let record = server.acme.send(&server.client, server.acme.upload(now)).await.unwrap();
        let job = active_job(&server.client, server.acme.spec(now)).await;
        let snapshot = snapshot(&server.client, &job).await;
        Self { tenant: server.acme.name(), record: record.name, consent: record.consent, job: job.name, snapshot: snapshot.name }
    }

    fn that_do_not() -> Self {
        let (id, tenant) = (Uuid::now_v7(), "tenants/nobody");
        Self {
            tenant: tenant.to_owned(),
            record: format!("{tenant}/records/{id}"),
            consent: format!("{tenant}/consents/{id}"),
            job: format!("trainingJobs/{id}"),
            snapshot: format!("trainingJobs/{id}/snapshots/{id}"),
        }
    }

    fn that_cannot() -> Self {
        let [tenant, record, consent, job, snapshot] = std::array::from_fn(|_| "/../\u{fffd}".to_owned());
        Self { tenant, record, consent, job, snapshot }
    }
}

/// What each RPC answers when `who` asks it for these things; what makes less of them comes last.
async fn answers(client: &Client, who: &str, things: &Things) -> BTreeMap<&'static str, Result<(), Status>> {
    let name = |thing: &String| thing.clone();
    let mut upload = Provider::new("acme").upload(chrono::DateTime::UNIX_EPOCH);
    upload.header.as_mut().unwrap().parent = name(&things.tenant);
    let streamed = messages(upload.clone(), 1_000);
    let update = UpdateTenantRequest {
        tenant: Some(Tenant { name: name(&things.tenant), ..Tenant::default() }),
        // Whoever may change a tenant may say this of it.
        update_mask: Some(FieldMask { paths: vec!["key_revocations".to_owned()] }),
    };
    let list_records = ListRecordsRequest { parent: name(&things.tenant), ..ListRecordsRequest::default() };
    let releases = |of: &String| ListReleasesRequest { parent: name(of), ..ListReleasesRequest::default() };
    let register = RegisterConsentRequest { parent: name(&things.tenant), receipt: String::new() };
    let retention = GetRetentionStatusRequest { parent: name(&things.tenant) };
    let approve =
        ApproveTrainingJobRequest { name: name(&things.job), role: ApproverRole::ModelOwner.into(), spec_sha256: vec![0; 32] };
    let fetch = FetchRecordsRequest { snapshot: name(&things.snapshot), world_size: 1, ..FetchRecordsRequest::default() };
    let create_snapshot = CreateSnapshotRequest { parent: name(&things.job), request_id: String::new() };
    let (mut tenants, mut records, mut consents) = (client.tenants(who), client.records(who), client.consents(who));
    let (mut training, mut retentions) = (client.training(who), client.retention(who));
    let get_record = GetRecordRequest { name: name(&things.record) };
    let get_consent = GetConsentRequest { name: name(&things.consent) };
    let get_job = GetTrainingJobRequest { name: name(&things.job) };
    let withdraw = WithdrawConsentRequest { name: name(&things.consent), purposes: vec![99] };
    let list_consents = ListConsentsRequest { parent: name(&things.tenant), ..ListConsentsRequest::default() };
    let erase = EraseSubjectRequest { parent: name(&things.tenant), subject_ref: String::new() };
    let revoke = RevokeTrainingJobRequest { name: name(&things.job), reason: String::new() };
    BTreeMap::from([
        ("CreateTenant", tenants.create_tenant(Provider::new("acme").to_create()).await.map(drop)),
        ("UpdateTenant", tenants.update_tenant(update).await.map(drop)),
        ("GetTenant", tenants.get_tenant(GetTenantRequest { name: name(&things.tenant) }).await.map(drop)),
        ("CreateRecord", records.create_record(upload).await.map(drop)),
        ("UploadRecord", records.upload_record(futures_util::stream::iter(streamed)).await.map(drop)),
        ("ListRecords", records.list_records(list_records).await.map(drop)),
        ("GetRecord", records.get_record(get_record).await.map(drop)),
        ("RegisterConsent", consents.register_consent(register).await.map(drop)),
        ("GetConsent", consents.get_consent(get_consent).await.map(drop)),
        ("WithdrawConsent", consents.withdraw_consent(withdraw).await.map(drop)),
        ("ListTenants", tenants.list_tenants(ListTenantsRequest::default()).await.map(drop)),
        ("ListConsents", consents.list_consents(list_consents).await.map(drop)),
        ("ListTrainingJobs", training.list_training_jobs(ListTrainingJobsRequest::default()).await.map(drop)),
        ("EraseSubject", consents.erase_subject(erase).await.map(drop)),
        ("RevokeTrainingJob", training.revoke_training_job(revoke).await.map(drop)),
        ("CreateTrainingJob", training.create_training_job(CreateTrainingJobRequest::default()).await.map(drop)),
        ("GetTrainingJob", training.get_training_job(get_job).await.map(drop)),
        ("SubmitTrainingJob", training.submit_training_job(SubmitTrainingJobRequest { name: name(&things.job) }).await.map(drop)),
        ("ApproveTrainingJob", training.approve_training_job(approve).await.map(drop)),
        ("CreateSnapshot", training.create_snapshot(create_snapshot).await.map(drop)),
        ("GetSnapshot", training.get_snapshot(GetSnapshotRequest { name: name(&things.snapshot) }).await.map(drop)),
        ("ListReleases of a job", training.list_releases(releases(&things.job)).await.map(drop)),
        ("ListReleases of a record", training.list_releases(releases(&things.record)).await.map(drop)),
        ("FetchRecords", training.fetch_records(fetch).await.map(drop)),
        ("GetRetentionStatus", retentions.get_retention_status(retention).await.map(drop)),
        ("ShredRecord", records.shred_record(ShredRecordRequest { name: name(&things.record) }).await.map(drop)),
    ])
}

#[tokio::test]
async fn everyone_may_call_what_is_theirs_and_nothing_else() {
    let consents = [
        "RegisterConsent",
        "GetConsent",
        "ListConsents",
        "WithdrawConsent",
        "EraseSubject",
        "GetRetentionStatus",
        "ListReleases of a record",
    ];
    let table: [(&str, &[&str]); 6] = [
        (OPERATOR, &["CreateTenant", "UpdateTenant", "GetTenant", "ListTenants", "GetRetentionStatus"]),
        (
            REQUESTER,
            &[
                "CreateTrainingJob",
                "GetTrainingJob",
                "SubmitTrainingJob",
                "RevokeTrainingJob",
                "ListTrainingJobs",
                "CreateSnapshot",
                "GetSnapshot",
                "ListReleases of a job",
            ],
        ),
        (
            OFFICER,
            &[
                "GetTrainingJob",
                "ApproveTrainingJob",
                "RevokeTrainingJob",
                "ListTrainingJobs",
                "CreateSnapshot",
                "GetSnapshot",
                "ListReleases of a job",
            ],
        ),
        (
            MODEL_OWNER,
            &[
                "GetTrainingJob",
                "ApproveTrainingJob",
                "RevokeTrainingJob",
                "ListTrainingJobs",
                "CreateSnapshot",
                "GetSnapshot",
                "ListReleases of a job",
            ],
        ),
        (WORKLOAD, &["GetTrainingJob", "CreateSnapshot", "GetSnapshot", "FetchRecords"]),
        (
            "tenant/acme",
            &["GetTenant", "UpdateTenant", "CreateRecord", "UploadRecord", "ListRecords", "GetRecord", "ShredRecord"],
        ),
    ];
    let server = Server::start().await;
    let things = Things::that_exist(&server).await;
    for (who, own) in table {
        let also: &[&str] = if [REQUESTER, OFFICER, "tenant/acme"].contains(&who) { &consents } else { &[] };
        let mut allowed = BTreeSet::new();
        for (rpc, answer) in answers(&server.client, who, &things).await {
            let reason = answer.err().map(|status| reason_of(&status).1);
            if reason.as_deref() != Some("CALLER_NOT_ALLOWED") {
                allowed.insert(rpc);
            }
        }
        assert_eq!(allowed, own.iter().chain(also).copied().collect(), "{who}");
    }
}

#[tokio::test]
async fn strangers_learn_nothing() {
    let server = Server::start().await;
    Provider::new("rival").create(&server.client).await;
    let exist = Things::that_exist(&server).await;
    for who in [STRANGER, "tenant/rival", "workload/other"] {
        for things in [&exist, &Things::that_do_not(), &Things::that_cannot()] {
            // Of a name that cannot be read, whose it would be is not known: tenants and workloads are told that it is none.
            if who != STRANGER && things.tenant.starts_with('/') {
                continue;
            }
            for (rpc, answer) in answers(&server.client, who, things).await {
                let status = answer.expect_err(rpc);
                let wanted = (Code::PermissionDenied, "CALLER_NOT_ALLOWED".to_owned());
                assert_eq!(reason_of(&status), wanted, "{who} {rpc}");
                assert_eq!(status.message(), "the caller may not do this");
            }
        }
    }
}

#[tokio::test]
async fn a_caller_without_a_name_of_this_domain_is_unknown() {
    let server = Server::start().await;
    let things = Things::that_exist(&server).await;
    for (rpc, answer) in answers(&server.client, NOBODY, &things).await {
        assert_eq!(reason_of(&answer.expect_err(rpc)), (Code::Unauthenticated, "CALLER_UNKNOWN".to_owned()), "{rpc}");
    }
    for who in ["robot/r2", "tenant/ACME", "person/", "tenant/acme/x", "tenant"] {
        let answer = server.client.records(who).get_record(GetRecordRequest { name: things.record.clone() }).await;
        refused(answer, Code::Unauthenticated, "CALLER_UNKNOWN");
    }
    let mut twice = tonic::Request::new(GetRecordRequest { name: things.record });
    twice.metadata_mut().append("idvault-caller", spiffe_id(STRANGER).parse().unwrap());
    twice.metadata_mut().append("idvault-caller", spiffe_id("tenant/acme").parse().unwrap());
    let answer = server.client.records(NOBODY).get_record(twice).await;
    refused(answer, Code::Unauthenticated, "CALLER_UNKNOWN");
}

#[tokio::test]
async fn a_tenant_is_created_once_and_seen_by_itself() {
    let server = Server::start().await;
    let operator = || server.client.tenants(OPERATOR);
    refused(operator().create_tenant(server.acme.to_create()).await, Code::AlreadyExists, "TENANT_EXISTS");
    let get = GetTenantRequest { name: server.acme.name() };
    let tenant = server.client.tenants("tenant/acme").get_tenant(get.clone()).await.unwrap().into_inner().tenant.unwrap();
    assert_eq!((tenant.name.as_str(), tenant.retention_days), ("tenants/acme", 30));
    assert_eq!(tenant.receipt_audience, crate::world::VAULT_ID);
    assert_eq!(operator().get_tenant(get).await.unwrap().into_inner().tenant, Some(tenant));
    let missing = GetTenantRequest { name: "tenants/nobody".to_owned() };
    refused(operator().get_tenant(missing).await, Code::NotFound, "NOT_FOUND");
    let mut bad = Provider::new("bad").to_create();
    bad.tenant.as_mut().unwrap().retention_days = 31;
    crate::client::invalid(operator().create_tenant(bad.clone()).await, "tenant.retention_days");
    bad.tenant.as_mut().unwrap().retention_days = 30;
    bad.tenant.as_mut().unwrap().jwks = "{}".to_owned();
    crate::client::invalid(operator().create_tenant(bad).await, "tenant.jwks");
}
