//! A vault in the test's own process, on a clock that the test moves, and the people around it.

#![expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a failure fails the test")]

#[cfg(all(feature = "pkcs11", feature = "transit"))]
pub(crate) mod custodies;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use idvault::clock::{Limits, Reading, Source};
use idvault::crypto::seal::Plaintext;
use idvault::crypto::{key_proof, receipt};
use idvault::domain::attributes::{Attributes, Field};
use idvault::domain::category::Category;
use idvault::domain::ids::{Identity, JobId, SnapshotId, TenantId, VaultId};
use idvault::domain::job::{ApproverRole, JobSpec};
use idvault::domain::media::MediaType;
use idvault::domain::purpose::Purpose;
use idvault::domain::record::Record;
use idvault::domain::tenant::MetadataPolicy;
use idvault::vault::error::Error;
use idvault::vault::ingest::{ConsentSource, PartHeader, Upload, UploadHeader, UploadPart};
use idvault::vault::release::{Content, Iteration, MESSAGE_BYTES};
use idvault::vault::tenants::{Keys, TenantUpdate};
use idvault::vault::{Blueprint, OpenError, Vault};
use parking_lot::Mutex;
use serde_json::json;
use uuid::Uuid;

/// The picture that every upload carries.
pub(crate) const FACE: &[u8] = include_bytes!("../../src/cli/demo/specimens/0002/face.jpg");

/// A clock in the test's hand.
#[derive(Debug, Clone)]
pub(crate) struct Hand(Arc<Mutex<Reading>>);

impl Source for Hand {
    fn read(&self) -> io::Result<Reading> {
        Ok(*self.0.lock())
    }

    fn is_simulated(&self) -> bool {
        true
    }
}

impl Hand {
    pub(crate) fn new() -> Self {
        let wall = DateTime::from_timestamp(1_772_355_600, 0).unwrap();
        Self(Arc::new(Mutex::new(Reading { wall, elapsed: Some(TimeDelta::seconds(1000)), boot: [1; 16] })))
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.0.lock().wall
    }

    /// Time passes.
    pub(crate) fn pass(&self, time: TimeDelta) {
        let mut reading = self.0.lock();
        reading.wall += time;
        reading.elapsed = reading.elapsed.map(|elapsed| elapsed + time);
    }

    /// The machine is off for a while, and boots.
    pub(crate) fn reboot(&self, boot: u8, off: TimeDelta) {
        let mut reading = self.0.lock();
        reading.wall += off;
        (reading.elapsed, reading.boot) = (Some(TimeDelta::seconds(5)), [boot; 16]);
    }

    /// Somebody sets the wall clock.
    pub(crate) fn set_wall(&self, by: TimeDelta) {
        self.0.lock().wall += by;
    }
}

/// A vault in a directory of its own.
pub(crate) struct Scene {
    home: PathBuf,
    /// Removes the home at the end, if it is the scene's own.
    _temporary: Option<tempfile::TempDir>,
    pub(crate) clock: Hand,
    vault: Option<Arc<Vault>>,
}

impl Scene {
    /// A new vault with one tenant.
    pub(crate) fn new() -> Self {
        Self::with(|blueprint| blueprint)
    }

    /// The same, planned by the test.
    pub(crate) fn with(plan: impl FnOnce(Blueprint) -> Blueprint) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let scene = Self::at(temporary.path(), Hand::new(), plan);
        scene.vault().create_tenant(&tenant(), new_tenant()).unwrap();
        Self { _temporary: Some(temporary), ..scene }
    }

    /// The vault in a home that outlives the scene, made if it is not there.
    pub(crate) fn at(home: &Path, clock: Hand, plan: impl FnOnce(Blueprint) -> Blueprint) -> Self {
        Self::try_at(home, clock, plan).unwrap()
    }

    /// The same, if it opens.
    pub(crate) fn try_at(home: &Path, clock: Hand, plan: impl FnOnce(Blueprint) -> Blueprint) -> Result<Self, OpenError> {
        let vault = plan(blueprint(&home.join("data"), &clock)).open()?;
        Ok(Self { home: home.to_owned(), _temporary: None, clock, vault: Some(Arc::new(vault)) })
    }

    pub(crate) fn vault(&self) -> &Arc<Vault> {
        self.vault.as_ref().unwrap()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Drops the vault and, once `meanwhile` is done to its directory, opens it again.
    pub(crate) fn reopen(&mut self, meanwhile: impl FnOnce(&Path)) -> Result<(), OpenError> {
        self.vault = None;
        meanwhile(&self.data());
        self.vault = Some(Arc::new(blueprint(&self.data(), &self.clock).open()?));
        Ok(())
    }

    /// An upload under a receipt of its own that grants face match and bias.
    pub(crate) fn upload(&self) -> Upload {
        self.upload_under(self.receipt())
    }

    /// An upload under this receipt.
    pub(crate) fn upload_under(&self, receipt: String) -> Upload {
        let size = FACE.len().try_into().unwrap();
        let media_type = MediaType::from_name("image/jpeg").unwrap();
        let data = Plaintext::from(FACE.to_vec());
        Upload {
            header: UploadHeader {
                tenant: tenant(),
                request: Uuid::new_v4().to_string().parse().unwrap(),
                call_id: Uuid::new_v4().to_string().parse().unwrap(),
                collect_time: self.clock.now(),
                consent: ConsentSource::Receipt(receipt),
            },
            parts: vec![UploadPart {
                header: PartHeader { category: Category::FaceImage, media_type, size, crc32c: crc32c::crc32c(FACE) },
                data,
            }],
            attributes: Attributes::new([(Field::Surname, "SPECIMEN".to_owned())]).unwrap(),
        }
    }

    /// A record of such an upload.
    pub(crate) fn record(&self) -> Record {
        self.vault().create_record(self.upload()).unwrap()
    }

    /// A receipt for ten years.
    pub(crate) fn receipt(&self) -> String {
        self.receipt_of("subject")
    }

    /// A receipt of this person.
    pub(crate) fn receipt_of(&self, subject: &str) -> String {
        self.receipt_until(subject, self.clock.now() + TimeDelta::days(3650))
    }

    /// The same, until then.
    pub(crate) fn receipt_until(&self, subject: &str, end: DateTime<Utc>) -> String {
        let now = self.clock.now();
        let grant = |purpose: &str| {
            json!({
                "purpose": purpose, "categories": ["FACE_IMAGE", "NAME"], "decision": "given", "consent_type": "explicit",
                "lawful_basis": "consent", "recipients": ["Models Ltd"], "regions": ["sg-1"], "ui_element_id": "tick",
            })
        };
        let claims = json!({
            "schema": "idvault.consent/1", "iss": "acme", "aud": "scene", "jti": Uuid::new_v4().to_string(),
            "iat": now.timestamp(), "nbf": now.timestamp(), "exp": end.timestamp(),
            "subject_ref": subject, "subject_class": "adult", "jurisdiction": "SG",
            "notice": { "id": "training", "version": "1", "sha256": "5a".repeat(32), "language": "en" },
            "event": { "time": now.to_rfc3339(), "method": "tick-box", "actor": "subject" },
            "grants": [grant("TRAIN_FACE_MATCH"), grant("EVALUATE_BIAS")],
        });
        receipt::sign(&claims, "1", &key())
    }

    /// An approved job for face match, and a snapshot of it.
    pub(crate) fn job(&self) -> (JobId, SnapshotId) {
        self.try_job().unwrap()
    }

    /// The same, if the vault makes one.
    pub(crate) fn try_job(&self) -> Result<(JobId, SnapshotId), Error> {
        let person = |name: &str| Identity::Person(name.to_owned());
        let spec = JobSpec {
            purpose: Purpose::TrainFaceMatch,
            categories: vec![Category::FaceImage],
            tenants: vec![tenant()],
            jurisdictions: vec!["SG".parse().unwrap()],
            workloads: vec![Identity::Workload("trainer".to_owned())],
            max_records: 10_000,
            max_bytes: 1 << 40,
            expire_time: self.clock.now() + TimeDelta::days(30),
            legal_entity: "Models Ltd".to_owned(),
            region: "sg-1".to_owned(),
            model_family: String::new(),
            assessment_ref: String::new(),
            uploaded_from: None,
            uploaded_before: None,
        };
        let vault = self.vault();
        let request = || Uuid::new_v4().to_string().parse().unwrap();
        let job = vault.create_job(person("rita"), request(), spec, [1; 32])?.id;
        vault.submit_job(job, &person("rita")).unwrap();
        vault.approve_job(job, person("paul"), ApproverRole::PrivacyOfficer, [1; 32]).unwrap();
        vault.approve_job(job, person("mona"), ApproverRole::ModelOwner, [1; 32]).unwrap();
        Ok((job, self.snapshot(job)?))
    }

    /// A fresh snapshot of a job.
    pub(crate) fn snapshot(&self, job: JobId) -> Result<SnapshotId, Error> {
        let request = Uuid::new_v4().to_string().parse().unwrap();
        Ok(self.vault().create_snapshot(job, &Identity::Workload("trainer".to_owned()), request)?.id)
    }

    /// What a fetch brings.
    pub(crate) fn fetch(&self, (job, snapshot): (JobId, SnapshotId)) -> Result<Fetched, Error> {
        let iteration = Iteration { job, snapshot, seed: 1, epoch: 0, rank: 0, world_size: 1, start_position: 0 };
        let vault = self.vault();
        let mut release = vault.release(&iteration)?;
        let mut fetched = Fetched::default();
        while let Some(message) = vault.next_message(&mut release, MESSAGE_BYTES)? {
            for item in &message.items {
                match item.content {
                    Content::Chunk { .. } | Content::Attributes(_) => fetched.served += usize::from(item.last),
                    Content::Gone => fetched.gone += 1,
                    Content::Damaged => fetched.damaged += 1,
                }
            }
            assert!(vault.hand_over(&mut release, message, |_, _| ()));
        }
        Ok(fetched)
    }
}

/// How many records came whole, and how many as a tombstone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) served: usize,
    pub(crate) gone: usize,
    pub(crate) damaged: usize,
}

pub(crate) fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

pub(crate) fn vault_id() -> VaultId {
    "scene".parse().unwrap()
}

pub(crate) fn blueprint(data: &Path, clock: &Hand) -> Blueprint {
    let limits = Limits { max_jump: TimeDelta::hours(1), max_gap: TimeDelta::days(7), grace: TimeDelta::days(1) };
    let blueprint = Blueprint::new(vault_id(), data.to_owned(), Box::new(clock.clone()), limits);
    #[cfg(all(feature = "pkcs11", feature = "transit"))]
    let blueprint = match custodies::Kind::chosen() {
        Some(kind) => kind.under(blueprint),
        None => blueprint,
    };
    blueprint
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub(crate) fn new_tenant() -> TenantUpdate {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let x = Base64UrlUnpadded::encode_string(key().verifying_key().as_bytes());
    let jwks = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "1", "x": x }] }).to_string();
    let proofs = vec![key_proof::sign(vault_id().as_str(), tenant().as_str(), "1", &key())];
    TenantUpdate { keys: Some(Keys { jwks, proofs }), metadata_policy: Some(MetadataPolicy::Keep), ..TenantUpdate::default() }
}
