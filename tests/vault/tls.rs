//! A vault under mutual TLS: who is let in, as whom, and what changes while it runs.

use std::net::SocketAddr;
use std::path::PathBuf;

use idvault::app::{App, BuildError, Options, RunError};
use idvault::config::{Config, Tls};
use idvault::proto::{CreateSnapshotRequest, CreateTrainingJobRequest, GetTrainingJobRequest, ListTenantsRequest};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::AlertDescription;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use uuid::Uuid;

use crate::authority::{Authority, Paper, future, greet, past, uri, verdict};
use crate::client::{Client, NOBODY, OPERATOR, REQUESTER, STRANGER, WORKLOAD, refused, spiffe_id};
use crate::server::{Clock, config};
use crate::world::Provider;

/// A `ClientHello` of TLS 1.2: ECDHE with ECDSA over P-256, AES-128-GCM.
const TLS12_HELLO: &[u8] = b"\x16\x03\x01\0\x45\x01\0\0\x41\x03\x03idvault idvault idvault idvault \0\0\x02\xc0\x2b\x01\0\
    \0\x16\0\x0a\0\x04\0\x02\0\x17\0\x0d\0\x04\0\x02\x04\x03\0\x0b\0\x02\x01\0";
/// The fatal alert `protocol_version`.
const PROTOCOL_VERSION: &[u8] = b"\x15\x03\x03\0\x02\x02\x46";

/// A vault that serves, and the authority of its server and its callers.
struct Secure {
    authority: Authority,
    address: SocketAddr,
    clock: Clock,
    home: TempDir,
    _running: JoinHandle<Result<(), RunError>>,
}

impl Secure {
    async fn start() -> Self {
        let (home, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let clock = Clock::new(home.path().join("clock"));
        let tls = authority.server().write(&authority, home.path());
        let config = Config { tls: Some(tls), ..config(home.path()) };
        let options = Options { clock_file: Some(home.path().join("clock")), ..Options::default() };
        let app = App::build(config, &options).await.unwrap();
        let address = app.local_addr().unwrap();
        let running = tokio::spawn(app.run(std::future::pending()));
        Self { authority, address, clock, home, _running: running }
    }

    /// Somebody of the trust domain.
    async fn caller(&self, path: &str) -> Client {
        self.with(&self.authority.caller(path)).await
    }

    /// Somebody with this paper.
    async fn with(&self, paper: &Paper) -> Client {
        self.authority.client(self.address, paper).await.unwrap()
    }

    /// What the vault says to somebody with this paper, or none.
    async fn verdict(&self, paper: Option<&Paper>) -> Result<u8, AlertDescription> {
        verdict(self.address, self.authority.trusted_by(paper)).await
    }

    /// The certificate that the vault shows to a new connection.
    async fn shown(&self) -> Vec<u8> {
        let client = self.authority.trusted_by(Some(&self.authority.caller(OPERATOR)));
        let stream = greet(self.address, client).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap().first().unwrap().to_vec()
    }
}

#[tokio::test]
async fn a_caller_is_whom_its_certificate_names() {
    let vault = Secure::start().await;
    let acme = Provider::new("acme");
    vault.caller(OPERATOR).await.tenants(NOBODY).create_tenant(acme.to_create()).await.unwrap();
    let tenant = vault.caller(&acme.caller()).await;
    tenant.records(NOBODY).create_record(acme.upload(vault.clock.now())).await.unwrap();
    refused(tenant.tenants(NOBODY).create_tenant(acme.to_create()).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
}

#[tokio::test]
async fn nobody_is_whom_the_metadata_names() {
    let vault = Secure::start().await;
    let list = ListTenantsRequest::default;
    let sam = vault.caller(STRANGER).await;
    refused(sam.tenants(OPERATOR).list_tenants(list()).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    let nameless = vault.with(&vault.authority.sign(&[], |_| ())).await;
    refused(nameless.tenants(OPERATOR).list_tenants(list()).await, Code::Unauthenticated, "CALLER_UNKNOWN");
    vault.caller(OPERATOR).await.tenants(STRANGER).list_tenants(list()).await.unwrap();
}

#[tokio::test]
async fn certificates_that_name_nobody_are_good_for_no_call() {
    let vault = Secure::start().await;
    let olga = uri(&spiffe_id(OPERATOR));
    for names in [
        vec![],
        vec![olga.clone(), uri(&spiffe_id(STRANGER))],
        vec![olga.clone(), olga],
        vec![uri("spiffe://other.test/person/olga")],
        vec![uri("https://example.test/person/olga")],
    ] {
        let client = vault.with(&vault.authority.sign(&names, |_| ())).await;
        let answer = client.tenants(NOBODY).list_tenants(ListTenantsRequest::default()).await;
        refused(answer, Code::Unauthenticated, "CALLER_UNKNOWN");
        let answer = client.records(NOBODY).create_record(Provider::new("acme").upload(vault.clock.now())).await;
        refused(answer, Code::Unauthenticated, "CALLER_UNKNOWN");
        let mut health = HealthClient::new(client.channel());
        health.check(HealthCheckRequest::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_workload_is_let_to_its_own_jobs_only() {
    let vault = Secure::start().await;
    let acme = Provider::new("acme");
    vault.caller(OPERATOR).await.tenants(NOBODY).create_tenant(acme.to_create()).await.unwrap();
    let spec = Some(acme.spec(vault.clock.now()));
    let create = CreateTrainingJobRequest { request_id: Uuid::new_v4().to_string(), spec, validate_only: false };
    let requester = vault.caller(REQUESTER).await;
    let job = requester.training(NOBODY).create_training_job(create).await.unwrap().into_inner().training_job.unwrap();
    let get = GetTrainingJobRequest { name: job.name.clone() };
    let snapshot = CreateSnapshotRequest { parent: job.name, request_id: Uuid::new_v4().to_string() };
    let own = vault.caller(WORKLOAD).await;
    own.training(NOBODY).get_training_job(get.clone()).await.unwrap();
    refused(own.training(NOBODY).create_snapshot(snapshot.clone()).await, Code::FailedPrecondition, "JOB_NOT_ACTIVE");
    let other = vault.caller("workload/other").await;
    refused(other.training(WORKLOAD).get_training_job(get).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    refused(other.training(WORKLOAD).create_snapshot(snapshot).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
}

#[tokio::test]
async fn only_certificates_of_the_authority_that_are_in_force_are_let_in() {
    let vault = Secure::start().await;
    let names = [uri(&spiffe_id(OPERATOR))];
    let usage = |usage| vault.authority.sign(&names, |params| params.extended_key_usages = vec![usage]);
    for (paper, wanted) in [
        (Some(usage(ExtendedKeyUsagePurpose::ClientAuth)), None),
        (None, Some(AlertDescription::CertificateRequired)),
        (Some(Authority::new().caller(OPERATOR)), Some(AlertDescription::DecryptError)),
        (Some(vault.authority.sign(&names, past)), Some(AlertDescription::CertificateExpired)),
        (Some(vault.authority.sign(&names, future)), Some(AlertDescription::CertificateExpired)),
        (Some(usage(ExtendedKeyUsagePurpose::ServerAuth)), Some(AlertDescription::UnsupportedCertificate)),
    ] {
        assert_eq!(vault.verdict(paper.as_ref()).await.err(), wanted);
    }
}

#[tokio::test]
async fn other_protocols_are_refused() {
    let vault = Secure::start().await;
    let mut old = TcpStream::connect(vault.address).await.unwrap();
    old.write_all(TLS12_HELLO).await.unwrap();
    let mut answer = Vec::new();
    old.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, PROTOCOL_VERSION);

    let plain = Client::connect(vault.address).await.unwrap();
    let answer = plain.tenants(OPERATOR).list_tenants(ListTenantsRequest::default()).await;
    assert!(answer.unwrap_err().message().contains("transport error"));

    let mut http1 = vault.authority.trusted_by(Some(&vault.authority.caller(OPERATOR)));
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert_eq!(verdict(vault.address, http1.clone()).await, Err(AlertDescription::NoApplicationProtocol));
    http1.alpn_protocols.clear();
    let mut stream = greet(vault.address, http1).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap_or_default(), 0, "who does not ask for HTTP/2 gets nothing");
}

#[tokio::test]
async fn what_is_recorded_stays_closed() {
    let vault = Secure::start().await;
    let client = vault.authority.trusted_by(Some(&vault.authority.caller(OPERATOR)));
    let stream = greet(vault.address, client).await.unwrap();
    let session = stream.get_ref().1;
    assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let group = session.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name);
    assert_eq!(group, Some(rustls::NamedGroup::X25519MLKEM768), "an attacker with a quantum computer reads the rest");
}

#[tokio::test]
async fn sessions_are_not_resumed() {
    let vault = Secure::start().await;
    let client = vault.authority.trusted_by(Some(&vault.authority.caller(OPERATOR)));
    for _ in 0..3 {
        let mut stream = greet(vault.address, client.clone()).await.unwrap();
        stream.read_u8().await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test]
async fn stalled_handshakes_hold_up_nobody() {
    let vault = Secure::start().await;
    let mut stalled = Vec::new();
    for said in [&b""[..], &TLS12_HELLO[..20]].repeat(20) {
        let mut tcp = TcpStream::connect(vault.address).await.unwrap();
        tcp.write_all(said).await.unwrap();
        stalled.push(tcp);
    }
    vault.caller(OPERATOR).await.tenants(NOBODY).list_tenants(ListTenantsRequest::default()).await.unwrap();
    drop(stalled);
}

#[tokio::test]
async fn changed_certificates_are_for_new_connections() {
    let vault = Secure::start().await;
    let (old, olga) = (vault.shown().await, vault.authority.caller(OPERATOR));
    let open = vault.with(&olga).await;
    let new = vault.authority.server();
    new.write(&vault.authority, vault.home.path());
    assert_ne!(vault.shown().await, old);
    assert_eq!(vault.shown().await, new.certificate.to_vec());
    open.tenants(NOBODY).list_tenants(ListTenantsRequest::default()).await.unwrap();

    // Another authority of the callers: those of the first are let in no more, unless they are in.
    let other = Authority::new();
    std::fs::write(vault.home.path().join("ca.pem"), other.pem()).unwrap();
    assert_eq!(vault.verdict(Some(&olga)).await, Err(AlertDescription::DecryptError));
    vault.verdict(Some(&other.caller(OPERATOR))).await.unwrap();
    open.tenants(NOBODY).list_tenants(ListTenantsRequest::default()).await.unwrap();
}

#[tokio::test]
async fn certificates_that_cannot_be_used_change_nothing() {
    let vault = Secure::start().await;
    let (shown, file) = (vault.shown().await, |name| vault.home.path().join(name));
    let (certificate, key) = (std::fs::read(file("server.pem")).unwrap(), std::fs::read(file("server.key")).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let new = vault.authority.server();
    let written = new.write(&vault.authority, folder.path());
    let new_key = std::fs::read(written.key).unwrap();
    for (name, bytes) in [
        ("server.pem", &b""[..]),
        ("server.pem", &certificate[..certificate.len() / 2]),
        ("server.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("server.pem", &certificate),
        ("server.key", b"no key"),
        // The key of the next certificate, which is not there yet.
        ("server.key", &new_key),
        ("server.key", &key),
        ("ca.pem", b""),
        ("ca.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    ] {
        std::fs::write(file(name), bytes).unwrap();
        assert_eq!(vault.shown().await, shown, "{name}");
        vault.verdict(Some(&vault.authority.caller(OPERATOR))).await.unwrap();
    }
    std::fs::remove_file(file("ca.pem")).unwrap();
    assert_eq!(vault.shown().await, shown);
    new.write(&vault.authority, vault.home.path());
    assert_eq!(vault.shown().await, new.certificate.to_vec());
}

#[tokio::test]
async fn what_must_not_be_served_is_refused_before_anything_is_touched() {
    let home = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let tls = authority.server().write(&authority, home.path());
    Clock::new(home.path().join("clock"));
    let clock_file = Some(home.path().join("clock"));
    let other = tempfile::tempdir().unwrap();
    let foreign = authority.server().write(&authority, other.path()).key;
    let anywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let nowhere = PathBuf::from("nowhere");
    let missing = |tls: &Tls| Tls { key: nowhere.clone(), ..tls.clone() };
    for (tls, listen, insecure_loopback, clock_file, says) in [
        (Some(tls.clone()), here, true, None, "--insecure-loopback is for a vault without TLS"),
        (Some(tls.clone()), anywhere, true, None, "--insecure-loopback is for a vault without TLS"),
        (None, here, false, None, "there is no section [tls]"),
        (None, anywhere, false, None, "there is no section [tls]"),
        (None, anywhere, true, None, "server.listen is no loopback address"),
        (Some(tls.clone()), anywhere, false, clock_file, "--clock-file is for trials"),
        (Some(missing(&tls)), here, false, None, "[tls]: nowhere: "),
        (Some(Tls { cert: tls.key.clone(), ..tls.clone() }), here, false, None, "there is no certificate in it"),
        (Some(Tls { client_ca: tls.key.clone(), ..tls.clone() }), here, false, None, "there is no certificate in it"),
        (Some(Tls { key: tls.cert.clone(), ..tls.clone() }), here, false, None, "[tls]: "),
        (Some(Tls { key: foreign.clone(), ..tls.clone() }), here, false, None, "[tls]: "),
    ] {
        let mut config = Config { tls, ..config(home.path()) };
        config.server.listen = listen;
        let refused = App::build(config, &Options { insecure_loopback, clock_file }).await.err().unwrap();
        assert!(matches!(refused, BuildError::Refused(_) | BuildError::Tls(_)), "{refused}");
        assert!(refused.to_string().contains(says), "{refused}; wanted {says}");
        assert!(!home.path().join("data").exists(), "{says}");
    }
}

#[tokio::test]
async fn reflection_is_for_this_machine_and_health_for_all() {
    for (listen, reflected) in [("127.0.0.1:0", true), ("0.0.0.0:0", false)] {
        let (home, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let tls = authority.server().write(&authority, home.path());
        let mut config = Config { tls: Some(tls), ..config(home.path()) };
        config.server.listen = listen.parse().unwrap();
        let app = App::build(config, &Options::default()).await.unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], app.local_addr().unwrap().port()));
        let _running = tokio::spawn(app.run(std::future::pending()));
        let client = authority.client(address, &authority.caller(OPERATOR)).await.unwrap();
        HealthClient::new(client.channel()).check(HealthCheckRequest::default()).await.unwrap();
        let asked = futures_util::stream::empty::<ServerReflectionRequest>();
        let answer = ServerReflectionClient::new(client.channel()).server_reflection_info(asked).await;
        assert_eq!(answer.err().map(|status| status.code()), (!reflected).then_some(Code::Unimplemented));
    }
}
