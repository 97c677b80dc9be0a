//! Time: expiry to the second, clocks that lie, and restarts that lose nothing.

use chrono::{DateTime, TimeDelta, Utc};
use idvault::proto::{GetConsentRequest, GetRecordRequest, GetSnapshotRequest, GetTenantRequest, GetTrainingJobRequest, Record};
use tonic::{Code, Response, Status};

use crate::client::{OPERATOR, REQUESTER, WORKLOAD, reason_of, refused};
use crate::server::{Server, eventually};
use crate::stream::{Epoch, whole};
use crate::world::{active_job, face_bytes, snapshot, snapshot_of, time};

async fn get(server: &Server, record: &Record) -> Result<Response<Record>, Status> {
    let request = GetRecordRequest { name: record.name.clone() };
    let answer = server.client.records("tenant/acme").get_record(request).await?;
    Ok(answer.map(|answer| answer.record.unwrap()))
}

/// Whether nothing is left of the tenant's records.
pub(crate) async fn is_destroyed(server: &Server) -> bool {
    let status = server.acme.status(&server.client).await;
    let left = status.live_record_count + status.backlog_record_count;
    left == 0 && status.hours.is_empty() && status.next_shred_time.is_none() && server.volumes().is_empty()
}

#[tokio::test]
async fn a_record_is_served_until_its_expiry_and_not_at_it() {
    let mut server = Server::start().await;
    let now = server.clock.now();
    let record = server.acme.send(&server.client, server.acme.upload_face(1, 900, now)).await.unwrap();
    server.clock.advance(TimeDelta::days(10));
    let later = server.clock.now();
    let outlives = server.acme.send(&server.client, server.acme.upload_face(2, 900, later)).await.unwrap();
    let list = snapshot_of(&server.client, server.acme.spec(later)).await;
    assert_eq!(list.expire_time, outlives.expire_time);
    let expiry = time(record.expire_time);

    server.clock.set(expiry - TimeDelta::milliseconds(1));
    assert_eq!(get(&server, &record).await.unwrap().into_inner(), record);
    assert_eq!(Epoch::read(&server.client, whole(&list)).await.unwrap().faces().len(), 2);
    let generation = server.acme.status(&server.client).await.keyring_generation;

    server.clock.set(expiry);
    refused(get(&server, &record).await, Code::NotFound, "RECORD_GONE");
    let faces = Epoch::read(&server.client, whole(&list)).await.unwrap().faces();
    assert_eq!(faces.into_values().collect::<Vec<_>>(), [face_bytes(2, 900)]);
    // Whoever ticks first does it; the other does not wait.
    eventually(async || server.acme.status(&server.client).await.backlog_record_count == 0 && server.volumes().len() == 1).await;
    let status = server.acme.status(&server.client).await;
    assert_eq!(status.live_record_count, 1);
    assert!(status.keyring_generation > generation);

    server.clock.set(time(outlives.expire_time));
    eventually(async || is_destroyed(&server).await).await;
    let answer = server.client.training(WORKLOAD).fetch_records(whole(&list)).await;
    refused(answer, Code::FailedPrecondition, "SNAPSHOT_DEPLETED");
    server.clock.set(now);
    refused(get(&server, &record).await, Code::NotFound, "RECORD_GONE");
}

#[tokio::test]
async fn what_falls_due_while_nothing_runs_is_destroyed_before_anything_is_served() {
    let server = Server::start().await;
    let record = server.acme.send(&server.client, server.acme.upload(server.clock.now())).await.unwrap();
    let (home, mut clock) = server.stop().await;
    clock.set(time(record.expire_time));
    let server = Server::run(home, clock).await;
    assert!(is_destroyed(&server).await);
    refused(get(&server, &record).await, Code::NotFound, "RECORD_GONE");
}

/// A vault whose wall and elapsed time are apart, with one record.
async fn two_clocks() -> (Server, Record) {
    let server = Server::start_elapsed(Some(TimeDelta::zero())).await;
    server.acme.create(&server.client).await;
    let record = server.acme.send(&server.client, server.acme.upload(server.clock.now())).await.unwrap();
    (server, record)
}

fn ahead(server: &Server, by: TimeDelta) -> DateTime<Utc> {
    server.clock.now() + by
}

#[tokio::test]
async fn a_wall_set_forward_serves_nothing_and_destroys_nothing() {
    let (mut server, record) = two_clocks().await;
    let start = server.clock.now();
    let list = snapshot_of(&server.client, server.acme.spec(start)).await;
    for forward in [TimeDelta::hours(2), TimeDelta::days(40)] {
        server.clock.set_both(start + forward, TimeDelta::zero());
        let fetch = server.client.training(WORKLOAD).fetch_records(whole(&list)).await;
        refused(fetch, Code::Unavailable, "CLOCK_UNTRUSTED");
        let upload = server.acme.upload(ahead(&server, TimeDelta::zero()));
        let status = server.acme.send(&server.client, upload).await.unwrap_err();
        assert_eq!(reason_of(&status), (Code::Unavailable, "CLOCK_UNTRUSTED".to_owned()));
        server.vault().tick().unwrap();
    }
    server.clock.set_both(start, TimeDelta::zero());
    assert_eq!(get(&server, &record).await.unwrap().into_inner(), record);
    assert_eq!(Epoch::read(&server.client, whole(&list)).await.unwrap().faces().len(), 1);
}

#[tokio::test]
async fn a_wall_set_back_lengthens_nothing() {
    let (mut server, record) = two_clocks().await;
    let wall = ahead(&server, TimeDelta::days(-20));
    let life = time(record.expire_time) - server.clock.now();
    server.clock.set_both(wall, life - TimeDelta::seconds(1));
    assert_eq!(get(&server, &record).await.unwrap().into_inner(), record);
    server.clock.set_both(wall, life);
    refused(get(&server, &record).await, Code::NotFound, "RECORD_GONE");
    eventually(async || is_destroyed(&server).await).await;
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let server = Server::start().await;
    let now = server.clock.now();
    let record = server.acme.send(&server.client, server.acme.upload(now)).await.unwrap();
    let face = server.acme.upload(now).parts.swap_remove(0).data;
    let job = active_job(&server.client, server.acme.spec(now)).await;
    let list = snapshot(&server.client, &job).await;
    let before = Epoch::read(&server.client, whole(&list)).await.unwrap();
    let (tenant_name, consent_name) = (server.acme.name(), record.consent.clone());
    let all = async |server: &Server| {
        let (client, name) = (&server.client, |name: &String| name.clone());
        let tenant = client.tenants(OPERATOR).get_tenant(GetTenantRequest { name: name(&tenant_name) }).await.unwrap();
        let consent = client.consents("tenant/acme").get_consent(GetConsentRequest { name: name(&consent_name) }).await.unwrap();
        let job = client.training(REQUESTER).get_training_job(GetTrainingJobRequest { name: name(&job.name) }).await.unwrap();
        let list = client.training(WORKLOAD).get_snapshot(GetSnapshotRequest { name: name(&list.name) }).await.unwrap();
        let hours = server.acme.status(client).await.hours;
        (tenant.into_inner().tenant, consent.into_inner(), job.into_inner(), list.into_inner(), hours)
    };
    let first = all(&server).await;
    let server = server.restart().await;
    assert!(all(&server).await == first, "a restart changed what is there");
    assert_eq!(get(&server, &record).await.unwrap().into_inner(), record);
    let after = Epoch::read(&server.client, whole(&list)).await.unwrap();
    assert_eq!(after.faces()[&0], face);
    assert_eq!(after.positions[&0].token, before.positions[&0].token);
    assert!(after.released[0].0 > before.released.last().unwrap().0, "release sequences rise across restarts");
}
