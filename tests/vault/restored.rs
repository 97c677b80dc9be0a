//! RESTORED, as callers see it: uploads and withdrawals go on, and every way to a release is refused by name.

use chrono::TimeDelta;
use idvault::keys::Setting;
use idvault::proto::training_job::State;
use idvault::proto::{CreateSnapshotRequest, CreateTrainingJobRequest, GetTrainingJobRequest};
use idvault::vault::restore::{back_up, complete, restore};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use uuid::Uuid;

use crate::client::{REQUESTER, WORKLOAD, refused};
use crate::server::{Server, eventually};
use crate::stream::whole;
use crate::world::{VAULT_ID, active_job, snapshot};

/// What the health service says of `service`; nothing where it does not know it.
pub(crate) async fn health(server: &Server, service: &str) -> Option<ServingStatus> {
    let channel = Endpoint::from_shared(format!("http://{}", server.address())).unwrap().connect().await.unwrap();
    let request = HealthCheckRequest { service: service.to_owned() };
    Some(HealthClient::new(channel).check(request).await.ok()?.into_inner().status())
}

#[tokio::test]
async fn nothing_is_released_until_the_operator_says_so() {
    let server = Server::start().await;
    let upload = server.acme.upload_face(1, 5_000, server.clock.now());
    let kept = server.acme.send(&server.client, upload).await.unwrap();
    let job = active_job(&server.client, server.acme.spec(server.clock.now())).await;
    let list = snapshot(&server.client, &job).await;
    assert_eq!(health(&server, "RESTORED").await, None);
    let backup = tempfile::tempdir().unwrap();
    back_up(&VAULT_ID.parse().unwrap(), &server.data(), backup.path(), server.clock.now(), &mut |_| ()).unwrap();
    let (home, mut clock) = server.stop().await;
    let data = home.path().join("data");
    restore(&VAULT_ID.parse().unwrap(), &data, &Setting::in_directory(&data), backup.path(), &mut |_| ()).unwrap();
    clock.advance(TimeDelta::hours(2));
    let server = Server::run(home, clock).await;
    let client = &server.client;
    eventually(async || health(&server, "RESTORED").await == Some(ServingStatus::Serving)).await;

    let new_job = CreateTrainingJobRequest {
        request_id: Uuid::new_v4().to_string(),
        spec: Some(server.acme.spec(server.clock.now())),
        ..CreateTrainingJobRequest::default()
    };
    let created = client.training(REQUESTER).create_training_job(new_job).await;
    refused(created, Code::FailedPrecondition, "RESTORED");
    let list_again = CreateSnapshotRequest { parent: job.name.clone(), request_id: Uuid::new_v4().to_string() };
    refused(client.training(WORKLOAD).create_snapshot(list_again).await, Code::FailedPrecondition, "RESTORED");
    refused(client.training(WORKLOAD).fetch_records(whole(&list)).await, Code::FailedPrecondition, "RESTORED");
    let shown = client.training(REQUESTER).get_training_job(GetTrainingJobRequest { name: job.name.clone() }).await.unwrap();
    assert_eq!(shown.into_inner().training_job.unwrap().state(), State::Revoked);

    let upload = server.acme.upload_face(2, 5_000, server.clock.now());
    server.acme.send(client, upload).await.unwrap();
    assert_eq!(server.acme.withdraw(client, &kept, &[]).await.unwrap().destruction.unwrap().record_count, 1);

    complete(&data).unwrap();
    eventually(async || health(&server, "RESTORED").await == Some(ServingStatus::NotServing)).await;
    let job = active_job(client, server.acme.spec(server.clock.now())).await;
    assert_eq!(snapshot(client, &job).await.position_count, 1);
}
