//! Tenants as they change: keys with proofs, revocations, notices; who may change what, and what it does to consents.

use chrono::{DateTime, TimeDelta, Utc};
use idvault::proto::consent::State;
use idvault::proto::fetch_records_response::Tombstone;
use idvault::proto::{
    CreateRecordRequest, GetConsentRequest, KeyRevocation, MetadataPolicy, Notice, Record, Tenant, UpdateTenantRequest,
};
use prost_types::FieldMask;
use tonic::Code::{FailedPrecondition, NotFound, PermissionDenied};
use tonic::{Response, Status};

use crate::client::{OPERATOR, invalid, refused};
use crate::server::Server;
use crate::stream::{Epoch, whole};
use crate::world::{Key, Provider, messages, snapshot_of, stamp, time};

const DIGEST: [&str; 2] = ["0f", "5a"];

/// Changes these fields of a tenant.
async fn update(
    server: &Server,
    who: &str,
    tenant: Tenant,
    paths: &[&str],
) -> Result<Response<idvault::proto::UpdateTenantResponse>, Status> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let tenant = Some(Tenant { name: server.acme.name(), ..tenant });
    server.client.tenants(who).update_tenant(UpdateTenantRequest { tenant, update_mask: Some(FieldMask { paths }) }).await
}

/// The set of these keys, with the proofs of some.
fn keys(all: &[&Key], proved: &[&Key]) -> Tenant {
    let proofs = proved.iter().map(|key| key.proof("acme"));
    Tenant { jwks: Key::set(all), jwks_proofs: proofs.collect(), ..Tenant::default() }
}

fn revocation(kid: &str, at: DateTime<Utc>) -> Tenant {
    let revocation = KeyRevocation { kid: kid.to_owned(), revoke_time: Some(stamp(at)) };
    Tenant { key_revocations: vec![revocation], ..Tenant::default() }
}

fn notice(id: &str, version: &str, digest: &str, invalidating: bool) -> Notice {
    let sha256 = digest.repeat(32);
    Notice { id: id.to_owned(), version: version.to_owned(), sha256, invalidating, register_time: None }
}

fn notices(notices: Vec<Notice>) -> Tenant {
    Tenant { notices, ..Tenant::default() }
}

async fn state(server: &Server, record: &Record) -> State {
    let get = GetConsentRequest { name: record.consent.clone() };
    let answer = server.client.consents("tenant/acme").get_consent(get).await.unwrap();
    answer.into_inner().consent.unwrap().state()
}

/// How many records a job gets whole, and how many as tombstones.
async fn fetched(server: &Server, snapshot: &idvault::proto::Snapshot) -> (usize, usize) {
    let epoch = Epoch::read(&server.client, whole(snapshot)).await.unwrap();
    (epoch.faces().len(), epoch.tombstones(Tombstone::Gone))
}

async fn send(server: &Server, upload: CreateRecordRequest) -> Result<Record, Status> {
    server.acme.send(&server.client, upload).await
}

#[tokio::test]
async fn a_tenant_replaces_its_keys_itself() {
    let server = Server::start().await;
    let now = server.clock.now();
    let (old, new) = (server.acme.key().clone(), Key::new("receipts-2", 2));
    let under = |key: &Key| server.acme.upload_under(key.sign(&server.acme.claims(now)), now);
    let record = send(&server, under(&old)).await.unwrap();
    refused(server.client.records("tenant/acme").create_record(under(&new)).await, FailedPrecondition, "CONSENT_KEY_UNKNOWN");
    update(&server, "tenant/acme", keys(&[&old, &new], &[&new]), &["jwks"]).await.unwrap();
    send(&server, under(&old)).await.unwrap();
    send(&server, under(&new)).await.unwrap();
    // Said again it changes nothing, with or without proofs.
    let both = update(&server, "tenant/acme", keys(&[&old, &new], &[]), &["jwks"]).await.unwrap().into_inner().tenant.unwrap();
    assert!(both.jwks_proofs.is_empty(), "proofs are not shown");
    update(&server, "tenant/acme", keys(&[&new], &[&new]), &["jwks"]).await.unwrap();
    refused(server.client.records("tenant/acme").create_record(under(&old)).await, FailedPrecondition, "CONSENT_KEY_UNKNOWN");
    // What the old key signed stays good, and it may come back without another proof.
    let server = server.restart().await;
    assert_eq!(state(&server, &record).await, State::Active);
    let snapshot = snapshot_of(&server.client, server.acme.spec(now)).await;
    assert_eq!(fetched(&server, &snapshot).await, (3, 0));
    update(&server, "tenant/acme", keys(&[&old], &[]), &["jwks"]).await.unwrap();
}

#[tokio::test]
async fn every_key_that_is_not_proved_is_refused() {
    let server = Server::start().await;
    let (old, new, impostor) = (server.acme.key().clone(), Key::new("receipts-2", 2), Key::new("receipts-2", 3));
    let proof = |proof: String| Tenant { jwks_proofs: vec![proof], ..keys(&[&old, &new], &[]) };
    let same_name = Key::new("receipts-1", 4);
    let cases = [
        ("tenant.jwks_proofs", keys(&[&old, &new], &[])),
        ("tenant.jwks_proofs", keys(&[&old, &new], &[&old])),
        ("tenant.jwks_proofs[0]", proof(impostor.proof("acme"))),
        ("tenant.jwks_proofs[0]", proof(new.proof("rival"))),
        ("tenant.jwks_proofs[0]", proof("no proof".to_owned())),
        ("tenant.jwks_proofs[0]", proof(new.sign(&server.acme.claims(server.clock.now())))),
        ("tenant.jwks", keys(&[&same_name], &[&same_name])),
        ("tenant.jwks", Tenant::default()),
    ];
    for (field, tenant) in cases {
        invalid(update(&server, "tenant/acme", tenant, &["jwks"]).await, field);
    }
    let mut unproved = Provider::new("rival").to_create();
    unproved.tenant.as_mut().unwrap().jwks_proofs.clear();
    invalid(server.client.tenants(OPERATOR).create_tenant(unproved).await, "tenant.jwks_proofs");
    // A name stands for one key, also when that one is not in the set any more.
    update(&server, "tenant/acme", keys(&[&new], &[&new]), &["jwks"]).await.unwrap();
    invalid(update(&server, "tenant/acme", keys(&[&new, &same_name], &[&same_name]), &["jwks"]).await, "tenant.jwks");
}

#[tokio::test]
async fn everyone_changes_what_is_theirs() {
    let server = Server::start().await;
    let key = Key::new("receipts-2", 2);
    for (who, paths, reason) in [
        (OPERATOR, &["jwks"][..], "CALLER_NOT_ALLOWED"),
        (OPERATOR, &["notices", "jwks"], "CALLER_NOT_ALLOWED"),
        ("tenant/acme", &["notices"], "CALLER_NOT_ALLOWED"),
        ("tenant/acme", &["metadata_policy"], "CALLER_NOT_ALLOWED"),
        ("tenant/acme", &["jwks", "retention_days"], "CALLER_NOT_ALLOWED"),
    ] {
        refused(update(&server, who, keys(&[&key], &[&key]), paths).await, PermissionDenied, reason);
    }
    for paths in [&[][..], &["name"], &["jwks_proofs"], &["*"], &["jwks", "jwks.keys"]] {
        invalid(update(&server, "tenant/acme", keys(&[&key], &[&key]), paths).await, "update_mask");
    }
    let request = UpdateTenantRequest {
        tenant: Some(Tenant { name: "tenants/nobody".to_owned(), ..Tenant::default() }),
        update_mask: Some(FieldMask { paths: vec!["retention_days".to_owned()] }),
    };
    refused(server.client.tenants(OPERATOR).update_tenant(request).await, NotFound, "NOT_FOUND");
    let changed = Tenant { metadata_policy: MetadataPolicy::Strip.into(), retention_days: 2, ..Tenant::default() };
    let paths = ["metadata_policy", "retention_days"];
    let tenant = update(&server, OPERATOR, changed, &paths).await.unwrap().into_inner().tenant.unwrap();
    assert_eq!((tenant.metadata_policy(), tenant.retention_days), (MetadataPolicy::Strip, 2));
    assert_eq!(tenant.jwks, Key::set(&[server.acme.key()]), "what is not named stays");
    let upload = CreateRecordRequest { parts: Vec::new(), ..server.acme.upload(server.clock.now()) };
    let record = send(&server, upload).await.unwrap();
    assert!(time(record.expire_time) <= server.clock.now() + TimeDelta::days(2));
    let retention = |days| Tenant { retention_days: days, ..Tenant::default() };
    invalid(update(&server, OPERATOR, retention(31), &["retention_days"]).await, "tenant.retention_days");
}

#[tokio::test]
async fn a_revoked_key_loses_what_it_signed_since() {
    let mut server = Server::start().await;
    let begin = server.clock.now();
    let before = send(&server, server.acme.upload(begin)).await.unwrap();
    server.clock.advance(TimeDelta::hours(2));
    let after = send(&server, server.acme.upload(server.clock.now())).await.unwrap();
    let snapshot = snapshot_of(&server.client, server.acme.spec(server.clock.now())).await;
    assert_eq!(fetched(&server, &snapshot).await, (2, 0));
    let at = |hours| revocation("receipts-1", begin + TimeDelta::hours(hours));
    update(&server, "tenant/acme", at(1), &["key_revocations"]).await.unwrap();
    assert_eq!((state(&server, &before).await, state(&server, &after).await), (State::Active, State::Invalidated));
    assert_eq!(fetched(&server, &snapshot).await, (1, 1));
    let answer = server.client.records("tenant/acme").create_record(server.acme.upload(server.clock.now())).await;
    refused(answer, FailedPrecondition, "CONSENT_KEY_UNKNOWN");
    // The operator may revoke as well; nobody takes it back.
    update(&server, OPERATOR, at(1), &["key_revocations"]).await.unwrap();
    invalid(update(&server, OPERATOR, at(3), &["key_revocations"]).await, "tenant.key_revocations");
    update(&server, OPERATOR, Tenant::default(), &["key_revocations"]).await.unwrap();
    let twice = Tenant { key_revocations: [at(0), at(-1)].into_iter().flat_map(|it| it.key_revocations).collect(), ..at(0) };
    invalid(update(&server, OPERATOR, twice, &["key_revocations"]).await, "tenant.key_revocations");
    let stranger = revocation("receipts-9", begin);
    invalid(update(&server, OPERATOR, stranger, &["key_revocations"]).await, "tenant.key_revocations");
    let server = server.restart().await;
    assert_eq!(state(&server, &after).await, State::Invalidated);
    let earlier = update(&server, "tenant/acme", at(-1), &["key_revocations"]).await.unwrap().into_inner().tenant.unwrap();
    assert_eq!(earlier.key_revocations, at(-1).key_revocations);
    assert_eq!(state(&server, &before).await, State::Invalidated);
}

#[tokio::test]
async fn a_revoked_key_does_not_come_back_under_another_name() {
    let server = Server::start().await;
    let (first, second) = (server.acme.key().clone(), Key::new("receipts-2", 2));
    update(&server, "tenant/acme", keys(&[&first, &second], &[&second]), &["jwks"]).await.unwrap();
    update(&server, OPERATOR, revocation("receipts-2", server.clock.now()), &["key_revocations"]).await.unwrap();
    update(&server, "tenant/acme", keys(&[&first], &[]), &["jwks"]).await.unwrap();
    let renamed = Key::new("receipts-3", 2);
    for back in [&second, &renamed] {
        invalid(update(&server, "tenant/acme", keys(&[&first, back], &[back]), &["jwks"]).await, "tenant.jwks");
    }
}

#[tokio::test]
async fn a_key_that_leaves_meanwhile_registers_no_receipt() {
    let server = Server::start().await;
    let (old, new) = (server.acme.key().clone(), Key::new("receipts-2", 2));
    let upload = server.acme.upload(server.clock.now());
    let record = send(&server, upload.clone()).await.unwrap();
    let mut begun = messages(server.acme.upload(server.clock.now()), 1_000);
    let last = begun.pop().unwrap();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    for message in begun {
        sender.send(message).unwrap();
    }
    let (mut client, stream) =
        (server.client.records("tenant/acme"), futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx)));
    let sending = tokio::spawn(async move { client.upload_record(stream).await });
    for _ in 0..200 {
        server.acme.status(&server.client).await;
    }
    update(&server, "tenant/acme", keys(&[&new], &[&new]), &["jwks"]).await.unwrap();
    sender.send(last).unwrap();
    drop(sender);
    refused(sending.await.unwrap(), FailedPrecondition, "CONSENT_KEY_UNKNOWN");
    // What it signed before stays good: for a retry, and for another record under the same receipt.
    assert_eq!(send(&server, upload.clone()).await.unwrap(), record);
    let mut another = server.acme.upload(server.clock.now());
    another.header.as_mut().unwrap().consent_source = upload.header.unwrap().consent_source;
    send(&server, another).await.unwrap();
    update(&server, "tenant/acme", keys(&[&old], &[]), &["jwks"]).await.unwrap();
}

#[tokio::test]
async fn what_is_said_of_a_tenant_has_bounds() {
    let server = Server::start().await;
    let key = Key::new("receipts-2", 2);
    let proofs = vec![key.proof("acme"); 3];
    let many = Tenant { jwks_proofs: proofs, ..keys(&[server.acme.key(), &key], &[]) };
    invalid(update(&server, "tenant/acme", many, &["jwks"]).await, "tenant.jwks_proofs");
    let long = (0..90).map(|number| notice(&"\u{6f22}".repeat(128), &format!("{number}"), DIGEST[0], false)).collect();
    invalid(update(&server, OPERATOR, notices(long), &["notices"]).await, "tenant");
    update(&server, OPERATOR, notices(vec![notice("training", "1", DIGEST[0], false)]), &["notices"]).await.unwrap();
}

#[tokio::test]
async fn only_registered_notices_count_and_a_new_one_may_void_the_old() {
    let server = Server::start().await;
    let now = server.clock.now();
    let under = |version: &str, digest: &str| {
        let mut claims = server.acme.claims(now);
        claims["notice"]["version"] = version.into();
        claims["notice"]["sha256"] = digest.repeat(32).into();
        server.acme.upload_under(server.acme.sign(&claims), now)
    };
    let [first, other] =
        [send(&server, under("1", DIGEST[0])).await.unwrap(), send(&server, under("7", DIGEST[1])).await.unwrap()];
    let snapshot = snapshot_of(&server.client, server.acme.spec(now)).await;
    assert_eq!(fetched(&server, &snapshot).await, (2, 0), "before any is registered, any will do");
    let tenant = update(&server, OPERATOR, notices(vec![notice("training", "1", DIGEST[0], false)]), &["notices"]).await;
    assert_eq!(time(tenant.unwrap().into_inner().tenant.unwrap().notices[0].register_time), now);
    assert_eq!((state(&server, &first).await, state(&server, &other).await), (State::Active, State::Invalidated));
    assert_eq!(fetched(&server, &snapshot).await, (1, 1));
    for (version, digest) in [("7", DIGEST[1]), ("1", DIGEST[1]), ("2", DIGEST[0])] {
        let answer = server.client.records("tenant/acme").create_record(under(version, digest)).await;
        refused(answer, FailedPrecondition, "NOTICE_UNKNOWN");
    }
    // Registered at last, it counts; a version that voids the ones before takes both.
    let seventh = notice("training", "7", DIGEST[1], false);
    update(&server, OPERATOR, notices(vec![notice("training", "1", DIGEST[0], false), seventh]), &["notices"]).await.unwrap();
    assert_eq!(fetched(&server, &snapshot).await, (2, 0));
    let voiding = notices(vec![notice("other", "1", DIGEST[0], true), notice("training", "8", DIGEST[0], true)]);
    update(&server, OPERATOR, voiding, &["notices"]).await.unwrap();
    assert_eq!((state(&server, &first).await, state(&server, &other).await), (State::Invalidated, State::Invalidated));
    let answer = server.client.records("tenant/acme").create_record(under("1", DIGEST[0])).await;
    refused(answer, FailedPrecondition, "NOTICE_UNKNOWN");
    send(&server, under("8", DIGEST[0])).await.unwrap();
    for bad in [notice("training", "1", DIGEST[1], false), notice("training", "1", DIGEST[0], true)] {
        invalid(update(&server, OPERATOR, notices(vec![bad]), &["notices"]).await, "tenant.notices");
    }
    for (field, bad) in [
        ("tenant.notices.id", notice("", "1", DIGEST[0], false)),
        ("tenant.notices.version", notice("training", &"9".repeat(129), DIGEST[0], false)),
        ("tenant.notices.sha256", notice("training", "9", "0", false)),
    ] {
        invalid(update(&server, OPERATOR, notices(vec![bad]), &["notices"]).await, field);
    }
    let many = (0..98).map(|number| notice("training", &format!("a{number}"), DIGEST[0], false)).collect();
    invalid(update(&server, OPERATOR, notices(many), &["notices"]).await, "tenant.notices");
}
