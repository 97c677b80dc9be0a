//! Certificates of destruction over gRPC: one for each commit, tenant and reason, that say what was destroyed and can be verified by
//! anybody who has the vault's key.

use chrono::{DateTime, TimeDelta, Utc};
use idvault::audit::certificate::{field, token};
use idvault::audit::merkle::Proof;
use idvault::audit::note::Verifier;
use idvault::proto::{
    Certificate, DestructionTrigger, EraseSubjectRequest, GetCertificateRequest, GetCertificateResponse, ListCertificatesRequest,
    Record,
};
use tonic::{Code, Status};

use crate::client::{Client, reason_of};
use crate::server::{Server, eventually};
use crate::world::{Provider, time};

async fn list(client: &Client, caller: &str, parent: &str) -> Result<Vec<Certificate>, Status> {
    let request = ListCertificatesRequest { parent: parent.to_owned(), ..ListCertificatesRequest::default() };
    Ok(client.retention(caller).list_certificates(request).await?.into_inner().certificates)
}

async fn get(client: &Client, caller: &str, name: &str, record: &str) -> Result<GetCertificateResponse, Status> {
    let request = GetCertificateRequest { name: name.to_owned(), record: record.to_owned() };
    Ok(client.retention(caller).get_certificate(request).await?.into_inner())
}

fn verifier(server: &Server) -> Verifier {
    Verifier::parse(&std::fs::read_to_string(server.data().join("signing/vault.vkey")).unwrap()).unwrap()
}

/// The one certificate of these names, which must be in the tenant's list, and its text.
async fn the_one(server: &Server, names: &[String]) -> (Certificate, String) {
    let [name] = names else { panic!("{names:?}") };
    let certificate = get(&server.client, "tenant/acme", name, "").await.unwrap().certificate.unwrap();
    assert!(list(&server.client, "tenant/acme", &server.acme.name()).await.unwrap().contains(&certificate));
    let text = verifier(server).open(&certificate.note).unwrap().to_owned();
    assert_eq!(field(&text, "name"), Some(name.as_str()));
    (certificate, text)
}

/// Whether the record is proved to be one of the certificate's.
async fn is_member(server: &Server, certificate: &str, text: &str, record: &Record) -> bool {
    let Some(proof) = get(&server.client, "tenant/acme", certificate, &record.name).await.unwrap().proof else { return false };
    let path = proof.path.iter().map(|hash| hash.as_slice().try_into().unwrap()).collect();
    let id = record.name.rsplit('/').next().unwrap().parse().unwrap();
    assert_eq!(proof.token, token(&"acme".parse().unwrap(), id));
    let root = Proof { index: proof.index, count: proof.count, path }.root(&proof.token).unwrap();
    Some(base16ct::lower::encode_string(&root).as_str()) == field(text, "tokens")
}

async fn records(server: &Server, count: u64) -> Vec<Record> {
    let mut records = Vec::new();
    for _ in 0..count {
        records.push(upload(server, &server.acme).await);
    }
    records
}

async fn upload(server: &Server, provider: &Provider) -> Record {
    provider.send(&server.client, provider.upload(server.clock.now())).await.unwrap()
}

#[tokio::test]
async fn each_reason_has_a_certificate_that_names_its_records() {
    let server = Server::start().await;
    let records = records(&server, 4).await;
    let (shredded, withdrawn, erased, expired) = (&records[0], &records[1], &records[2], &records[3]);

    let destruction = server.acme.shred(&server.client, shredded).await.unwrap();
    let (certificate, text) = the_one(&server, &destruction.certificates).await;
    assert_eq!((certificate.trigger(), certificate.record_count), (DestructionTrigger::RecordShredded, 1));
    assert_eq!(field(&text, "records"), Some("1"));
    assert_eq!(field(&text, "exceptions"), Some("none"));
    assert_eq!(field(&text, "vault"), Some(server.vault().id().as_str()));
    assert_eq!(field(&text, "class"), Some("BEST_EFFORT"));
    assert!(field(&text, "parts").unwrap().contains("FACE_IMAGE 1"), "{text}");
    assert!(is_member(&server, &certificate.name, &text, shredded).await);
    let not = get(&server.client, "tenant/acme", &certificate.name, &withdrawn.name).await.unwrap_err();
    assert_eq!(reason_of(&not), (Code::NotFound, "NOT_FOUND".to_owned()));

    let answer = server.acme.withdraw(&server.client, withdrawn, &[]).await.unwrap();
    let (certificate, text) = the_one(&server, &answer.destruction.unwrap().certificates).await;
    assert_eq!(certificate.trigger(), DestructionTrigger::ConsentWithdrawn);
    assert!(is_member(&server, &certificate.name, &text, withdrawn).await);

    // All that is left is of one person.
    let subject = server.acme.claims(server.clock.now())["subject_ref"].as_str().unwrap().to_owned();
    let erase = EraseSubjectRequest { parent: server.acme.name(), subject_ref: subject };
    let destruction = server.client.consents("tenant/acme").erase_subject(erase).await.unwrap().into_inner().destruction.unwrap();
    let (certificate, text) = the_one(&server, &destruction.certificates).await;
    assert_eq!((certificate.trigger(), certificate.record_count), (DestructionTrigger::SubjectErased, 2));
    assert!(
        is_member(&server, &certificate.name, &text, erased).await && is_member(&server, &certificate.name, &text, expired).await
    );
    assert_eq!(list(&server.client, "tenant/acme", &server.acme.name()).await.unwrap().len(), 3);
    server.stop().await;
}

#[tokio::test]
async fn an_expiry_has_one_certificate_for_each_tenant() {
    let mut server = Server::start().await;
    let beta = Provider::new("beta");
    beta.create(&server.client).await;
    let of_acme = records(&server, 3).await;
    upload(&server, &beta).await;
    let due: DateTime<Utc> = time(of_acme[0].expire_time);
    server.clock.set(due);
    let parent = server.acme.name();
    eventually(async || !list(&server.client, "tenant/acme", &parent).await.unwrap().is_empty()).await;
    let listed = list(&server.client, "tenant/acme", &server.acme.name()).await.unwrap();
    assert_eq!(listed.len(), 1);
    let text = verifier(&server).open(&listed[0].note).unwrap().to_owned();
    assert_eq!((listed[0].trigger(), listed[0].record_count), (DestructionTrigger::RetentionExpired, 3));
    assert!(field(&text, "level").unwrap().starts_with("HOUR"), "{text}");
    let said = |key: &str| field(&text, key).unwrap().parse::<DateTime<Utc>>().unwrap();
    assert_eq!((said("due"), said("disabled")), (due, due));
    assert!(said("destroyed") >= due && said("created") <= due - TimeDelta::days(29));
    for record in &of_acme {
        assert!(is_member(&server, &listed[0].name, &text, record).await);
    }
    let of_beta = list(&server.client, "tenant/beta", "tenants/beta").await.unwrap();
    assert_eq!((of_beta.len(), of_beta[0].record_count), (1, 1));

    // They outlive the vault's start, and go after two years.
    let mut server = server.restart().await;
    assert_eq!(list(&server.client, "tenant/acme", &server.acme.name()).await.unwrap(), listed);
    for _ in 0..27 {
        let later = server.clock.now() + TimeDelta::days(31);
        server.clock.set(later);
        server.vault().tick().unwrap();
    }
    assert_eq!(list(&server.client, "tenant/acme", &server.acme.name()).await.unwrap(), []);
    let gone = get(&server.client, "tenant/acme", &listed[0].name, "").await.unwrap_err();
    assert_eq!(reason_of(&gone), (Code::NotFound, "NOT_FOUND".to_owned()));
    server.stop().await;
}

#[tokio::test]
async fn who_may_see_certificates() {
    let server = Server::start().await;
    let record = upload(&server, &server.acme).await;
    let name = server.acme.shred(&server.client, &record).await.unwrap().certificates.remove(0);
    for caller in ["tenant/acme", "person/olga", "person/paul"] {
        assert_eq!(list(&server.client, caller, "tenants/acme").await.unwrap().len(), 1, "{caller}");
        get(&server.client, caller, &name, "").await.unwrap();
    }
    for caller in ["tenant/beta", "person/sam", "person/mona", "workload/trainer"] {
        let not_allowed = (Code::PermissionDenied, "CALLER_NOT_ALLOWED".to_owned());
        assert_eq!(reason_of(&list(&server.client, caller, "tenants/acme").await.unwrap_err()), not_allowed, "{caller}");
        assert_eq!(reason_of(&get(&server.client, caller, &name, "").await.unwrap_err()), not_allowed, "{caller}");
    }
    let other = get(&server.client, "tenant/acme", &name, "tenants/beta/records/1").await.unwrap_err();
    assert_eq!(reason_of(&other).1, "INVALID_FIELD");
    server.stop().await;
}
