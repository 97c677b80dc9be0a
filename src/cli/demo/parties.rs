//! The parties of the demo: a vault with its server, and the people and programs that call it over gRPC.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::specimens::Specimen;
use crate::app::{App, RunError, limits};
use crate::audit::note::Verifier;
use crate::clock::FileSource;
use crate::config::{ClockLimits, Config, Log, Roles, RootSettings, Server};
use crate::crypto::{key_proof, random, receipt};
use crate::domain::ids::{Identity, VaultId};
use crate::forensic::Archive;
use crate::proto::{CreateRecordRequest, InlinePart, PartHeader, RecordHeader, record_header::ConsentSource};
use crate::vault::Blueprint;

/// Whatever goes wrong in the demo ends it.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(super) const TENANT: &str = "tenant/kyc-asia";
pub(super) const OPERATOR: &str = "person/olga";
pub(super) const REQUESTER: &str = "person/rita";
pub(super) const PRIVACY_OFFICER: &str = "person/paul";
pub(super) const MODEL_OWNER: &str = "person/mona";
pub(super) const WORKLOAD: &str = "workload/trainer";
pub(super) const LEGAL_ENTITY: &str = "Models Ltd";
pub(super) const REGION: &str = "sg-1";

/// How many bytes the callers let the transport bring ahead of their reading, so that a stream is still open when it is
/// shown to be: an epoch of the demo would fit into the usual windows.
const WINDOW: u32 = 64 << 10;
const DOMAIN: &str = "demo.test";
const VAULT: &str = "demo-vault";
const KEY_ID: &str = "2026-01";

/// A vault in a directory of its own, served on loopback, on a clock that the demo moves; every step of every shred is
/// archived for the attacker.
pub(super) struct Host {
    dir: tempfile::TempDir,
    now: DateTime<Utc>,
    archive: Arc<Mutex<Archive>>,
    address: SocketAddr,
    drain: oneshot::Sender<()>,
    server: JoinHandle<Result<(), RunError>>,
}

impl Host {
    /// Opens the vault and serves it.
    pub(super) async fn start(now: DateTime<Utc>) -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let archive = Arc::new(Mutex::new(Archive::default()));
        write_clock(dir.path(), now)?;
        let clock = Box::new(FileSource::open(&clock_file(dir.path()))?);
        let mut blueprint = Blueprint::new(VAULT.parse()?, data_dir(dir.path()), clock, limits(ClockLimits::default()));
        let (archived, watched) = (Arc::clone(&archive), data_dir(dir.path()));
        blueprint.observer = Box::new(move |_| drop(archived.lock().take(&watched)));
        let app = App::build_on(config(data_dir(dir.path()))?, blueprint).await?;
        let address = app.local_addr()?;
        let (drain, drained) = oneshot::channel();
        let server = tokio::spawn(app.run(async move { drop(drained.await) }));
        Ok(Self { dir, now, archive, address, drain, server })
    }

    /// The time on the clock.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// The address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The vault's id.
    pub(super) fn vault() -> Result<VaultId, Failure> {
        Ok(VAULT.parse()?)
    }

    /// Moves the clock.
    pub(super) fn pass(&mut self, time: TimeDelta) -> Result<(), Failure> {
        self.now = self.now.checked_add_signed(time).ok_or("no such time")?;
        Ok(write_clock(self.dir.path(), self.now)?)
    }

    /// Runs `look` on everything that ever was in the vault's directory, up to now.
    pub(super) fn with_archive<T>(&self, look: impl FnOnce(&Archive) -> T) -> Result<T, Failure> {
        let mut archive = self.archive.lock();
        archive.take(&data_dir(self.dir.path()))?;
        Ok(look(&archive))
    }

    /// The key that the vault's certificates are verified with.
    pub(super) fn verifier(&self) -> Result<Verifier, Failure> {
        Ok(Verifier::parse(&std::fs::read_to_string(data_dir(self.dir.path()).join("signing/vault.vkey"))?)?)
    }

    /// What is in the root cell now.
    pub(super) fn root_cell(&self) -> Result<Vec<u8>, Failure> {
        Ok(std::fs::read(data_dir(self.dir.path()).join("root.cell"))?)
    }

    /// Connects as this caller.
    pub(super) async fn caller(&self, path: &str) -> Result<Caller, Failure> {
        let endpoint = Channel::from_shared(format!("http://{}", self.address))?;
        let channel = endpoint.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW).connect().await?;
        Ok(Caller { channel, identity: format!("spiffe://{DOMAIN}/{path}").parse()? })
    }

    /// Drains the server.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        if self.drain.send(()).is_err() {
            return Err("the server ended by itself".into());
        }
        Ok(self.server.await??)
    }
}

/// Somebody who calls.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The connection.
    pub(super) channel: Channel,
    identity: tonic::metadata::MetadataValue<tonic::metadata::Ascii>,
}

impl Caller {
    /// A request of this caller.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("idvault-caller", self.identity.clone());
        request
    }
}

/// The tenant: it asks people for consent, and signs what they said.
pub(super) struct Provider {
    key: SigningKey,
}

impl Provider {
    /// A provider with a fresh receipt key.
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self { key: SigningKey::from_bytes(&random::array()?) })
    }

    /// Its receipt keys, as a tenant registers them.
    pub(super) fn jwks(&self) -> String {
        use base64ct::{Base64UrlUnpadded, Encoding};
        let x = Base64UrlUnpadded::encode_string(self.key.verifying_key().as_bytes());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": KEY_ID, "use": "sig", "x": x }] }).to_string()
    }

    /// The proof that it holds the key.
    pub(super) fn proof(&self) -> String {
        key_proof::sign(VAULT, "kyc-asia", KEY_ID, &self.key)
    }

    /// What a person said: yes to these purposes, and to everything on the document.
    pub(super) fn receipt(&self, specimen: &Specimen, purposes: &[&str], now: DateTime<Utc>) -> Result<String, Failure> {
        const CATEGORIES: [&str; 10] = [
            "FACE_IMAGE",
            "DOCUMENT_FRONT",
            "DOCUMENT_BACK",
            "NAME",
            "ADDRESS",
            "ID_NUMBER",
            "COUNTRY",
            "DATE_OF_BIRTH",
            "SEX",
            "MRZ",
        ];
        let grant = |purpose: &&str| {
            json!({
                "purpose": purpose, "categories": CATEGORIES, "decision": "given", "consent_type": "explicit",
                "lawful_basis": "consent", "recipients": [LEGAL_ENTITY], "regions": [REGION], "ui_element_id": "consent-training",
            })
        };
        let end = now.checked_add_signed(TimeDelta::days(365)).ok_or("no such time")?;
        let claims = json!({
            "schema": "idvault.consent/1", "iss": "kyc-asia", "aud": VAULT, "jti": new_uuid()?,
            "iat": now.timestamp(), "nbf": now.timestamp(), "exp": end.timestamp(),
            "subject_ref": specimen.subject(), "subject_class": "adult", "jurisdiction": specimen.jurisdiction(),
            "notice": { "id": "training", "version": "3", "sha256": "5a".repeat(32), "language": "en" },
            "event": { "time": now.to_rfc3339(), "method": "tick-box", "actor": "subject" },
            "grants": purposes.iter().map(grant).collect::<Vec<Value>>(),
        });
        Ok(receipt::sign(&claims, KEY_ID, &self.key))
    }

    /// The upload of a check under a receipt.
    pub(super) fn upload(
        specimen: &Specimen,
        call_id: &str,
        receipt: String,
        now: DateTime<Utc>,
    ) -> Result<CreateRecordRequest, Failure> {
        let part = |file: &super::specimens::File| InlinePart {
            header: Some(PartHeader {
                category: file.category.into(),
                media_type: file.media_type.to_owned(),
                size_bytes: u64::try_from(file.bytes.len()).unwrap_or(u64::MAX),
                crc32c: crc32c::crc32c(file.bytes),
            }),
            data: file.bytes.to_vec(),
        };
        Ok(CreateRecordRequest {
            header: Some(RecordHeader {
                parent: "tenants/kyc-asia".to_owned(),
                request_id: new_uuid()?,
                call_id: call_id.to_owned(),
                collect_time: Some(proto_time(now)),
                consent_source: Some(ConsentSource::Receipt(receipt)),
            }),
            parts: specimen.files.iter().map(part).collect(),
            attributes: Some(specimen.attributes()),
        })
    }
}

/// A time on the wire.
pub(super) fn proto_time(time: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.timestamp(), nanos: 0 }
}

/// A fresh request id.
pub(super) fn new_uuid() -> Result<String, Failure> {
    Ok(uuid::Builder::from_random_bytes(random::array()?).into_uuid().to_string())
}

/// The reason that a refusal carries for programs.
pub(super) fn reason(status: &Status) -> String {
    use tonic_types::StatusExt;
    status.get_details_error_info().map_or_else(|| status.to_string(), |info| info.reason)
}

fn config(data_dir: PathBuf) -> Result<Config, Failure> {
    let person = |path: &str| path.parse::<Identity>().map(|identity| vec![identity]);
    Ok(Config {
        vault: VAULT.parse()?,
        server: Server { listen: SocketAddr::from(([127, 0, 0, 1], 0)), data_dir, drain: TimeDelta::seconds(5) },
        tls: None,
        trust_domain: DOMAIN.parse()?,
        roles: Roles {
            operator: person(OPERATOR)?,
            requester: person(REQUESTER)?,
            privacy_officer: person(PRIVACY_OFFICER)?,
            model_owner: person(MODEL_OWNER)?,
            auditor: Vec::new(),
        },
        root: RootSettings::default(),
        mirrors: Vec::new(),
        clock: ClockLimits::default(),
        log: Log::default(),
    })
}

fn data_dir(dir: &Path) -> PathBuf {
    dir.join("data")
}

fn clock_file(dir: &Path) -> PathBuf {
    dir.join("clock")
}

fn write_clock(dir: &Path, now: DateTime<Utc>) -> std::io::Result<()> {
    crate::files::replace(&clock_file(dir), now.to_rfc3339().as_bytes())
}
