//! Shredding a tenant: the word of two persons, then nothing is taken in or released, and all of it goes, over restarts too.

use idvault::proto::shred_tenant_response::State;
use idvault::proto::{DestructionTrigger, ListCertificatesRequest, ShredTenantRequest, ShredTenantResponse};
use tonic::{Code, Status};

use crate::client::{Client, MODEL_OWNER, OFFICER, OPERATOR, STRANGER, reason_of};
use crate::server::{Server, eventually};
use crate::stream::{Epoch, whole};
use crate::world::{Provider, snapshot_of};

async fn shred(client: &Client, caller: &str, name: &str) -> Result<ShredTenantResponse, Status> {
    Ok(client.retention(caller).shred_tenant(ShredTenantRequest { name: name.to_owned() }).await?.into_inner())
}

async fn upload(server: &Server, provider: &Provider) -> Result<(), Status> {
    provider.send(&server.client, provider.upload(server.clock.now())).await.map(drop)
}

#[tokio::test]
async fn two_persons_destroy_all_that_a_tenant_has_and_nothing_else() {
    let server = Server::start().await;
    let beta = Provider::new("beta");
    beta.create(&server.client).await;
    for _ in 0..5 {
        upload(&server, &server.acme).await.unwrap();
    }
    upload(&server, &beta).await.unwrap();
    let name = server.acme.name();
    let list = snapshot_of(&server.client, server.acme.spec(server.clock.now())).await;

    for caller in [STRANGER, MODEL_OWNER, "tenant/acme", "workload/trainer"] {
        let refused = shred(&server.client, caller, &name).await.unwrap_err();
        assert_eq!(reason_of(&refused), (Code::PermissionDenied, "CALLER_NOT_ALLOWED".to_owned()), "{caller}");
    }
    let unknown = shred(&server.client, OPERATOR, "tenants/unknown").await.unwrap_err();
    assert_eq!(reason_of(&unknown), (Code::NotFound, "NOT_FOUND".to_owned()));
    for _ in 0..2 {
        let pending = shred(&server.client, OPERATOR, &name).await.unwrap();
        assert_eq!((pending.state(), pending.approvers.len(), pending.remaining_record_count), (State::Pending, 1, 5));
    }
    upload(&server, &server.acme).await.unwrap();

    let decided = shred(&server.client, OFFICER, &name).await.unwrap();
    assert_eq!(decided.approvers.len(), 2);
    assert!(matches!(decided.state(), State::Shredding | State::Shredded));
    let refused = upload(&server, &server.acme).await.unwrap_err();
    assert_eq!(reason_of(&refused), (Code::FailedPrecondition, "TENANT_SHREDDED".to_owned()));
    let released = Epoch::read(&server.client, whole(&list)).await;
    assert!(released.is_err() || released.unwrap().faces().is_empty(), "something of a tenant that is shredded was released");
    eventually(async || shred(&server.client, OPERATOR, &name).await.unwrap().state() == State::Shredded).await;
    let done = shred(&server.client, OPERATOR, &name).await.unwrap();
    assert!(done.remaining_record_count == 0 && done.finish_time.is_some());

    let request = ListCertificatesRequest { parent: name.clone(), ..ListCertificatesRequest::default() };
    let certificates = server.client.retention("tenant/acme").list_certificates(request).await.unwrap().into_inner().certificates;
    assert!(certificates.iter().all(|certificate| certificate.trigger() == DestructionTrigger::TenantShredded));
    assert_eq!(certificates.iter().map(|certificate| certificate.record_count).sum::<u64>(), 6);

    assert_eq!(beta.status(&server.client).await.live_record_count, 1);
    upload(&server, &beta).await.unwrap();
    let server = server.restart().await;
    let refused = upload(&server, &server.acme).await.unwrap_err();
    assert_eq!(reason_of(&refused).1, "TENANT_SHREDDED");
    assert_eq!(beta.status(&server.client).await.live_record_count, 2);
    server.stop().await;
}
