//! What callers say: a provider's tenant, receipts and uploads, and a training team's jobs and snapshots.

use base64ct::{Base64UrlUnpadded, Encoding};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use idvault::crypto::{key_proof, receipt};
use idvault::proto::record_header::ConsentSource;
use idvault::proto::upload_record_request::Message;
use idvault::proto::{
    ApproveTrainingJobRequest, ApproverRole, Attributes, Category, CreateRecordRequest, CreateSnapshotRequest,
    CreateTenantRequest, CreateTrainingJobRequest, Destruction, GetRetentionStatusRequest, GetRetentionStatusResponse,
    InlinePart, MetadataPolicy, PartHeader, Purpose, Record, RecordHeader, ShredRecordRequest, Snapshot,
    SubmitTrainingJobRequest, Tenant, TrainingJob, TrainingJobSpec, UploadRecordRequest, WithdrawConsentRequest,
    WithdrawConsentResponse,
};
use prost_types::Timestamp;
use serde_json::{Value, json};
use tonic::{Response, Status};
use uuid::Uuid;

use crate::client::{Client, MODEL_OWNER, OFFICER, OPERATOR, REQUESTER, WORKLOAD, spiffe_id};

pub(crate) const VAULT_ID: &str = "vault-1";
pub(crate) const LEGAL_ENTITY: &str = "Example Vision Ltd";
pub(crate) const REGION: &str = "sg-1";
const KID: &str = "receipts-1";
const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A receipt key and its name.
#[derive(Clone)]
pub(crate) struct Key {
    kid: String,
    key: SigningKey,
}

impl Key {
    /// The key of this seed.
    pub(crate) fn new(kid: &str, seed: u8) -> Self {
        Self { kid: kid.to_owned(), key: SigningKey::from_bytes(&[seed; 32]) }
    }

    /// The set of these keys.
    pub(crate) fn set(keys: &[&Self]) -> String {
        let jwk = |key: &&Self| {
            let x = Base64UrlUnpadded::encode_string(key.key.verifying_key().as_bytes());
            json!({ "kty": "OKP", "crv": "Ed25519", "kid": key.kid, "x": x })
        };
        json!({ "keys": keys.iter().map(jwk).collect::<Vec<_>>() }).to_string()
    }

    /// That this tenant holds it.
    pub(crate) fn proof(&self, tenant: &str) -> String {
        key_proof::sign(VAULT_ID, tenant, &self.kid, &self.key)
    }

    /// The receipt that says this.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        receipt::sign(claims, &self.kid, &self.key)
    }
}

/// An eKYC provider: its tenant and its receipt key.
#[derive(Clone)]
pub(crate) struct Provider {
    /// Its id.
    pub(crate) id: String,
    key: Key,
}

impl Provider {
    /// The provider of this id. The same id is the same provider again.
    pub(crate) fn new(id: &str) -> Self {
        let seed = id.bytes().fold(7, |seed: u8, byte| seed.wrapping_mul(31).wrapping_add(byte));
        Self { id: id.to_owned(), key: Key::new(KID, seed) }
    }

    /// Its first receipt key.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The name of its tenant.
    pub(crate) fn name(&self) -> String {
        format!("tenants/{}", self.id)
    }

    /// The identity under which it calls.
    pub(crate) fn caller(&self) -> String {
        format!("tenant/{}", self.id)
    }

    /// What the operator says to make it a tenant.
    pub(crate) fn to_create(&self) -> CreateTenantRequest {
        let (jwks, jwks_proofs) = (Key::set(&[&self.key]), vec![self.key.proof(&self.id)]);
        let tenant = Tenant { jwks, jwks_proofs, metadata_policy: MetadataPolicy::Keep.into(), ..Tenant::default() };
        CreateTenantRequest { tenant_id: self.id.clone(), tenant: Some(tenant) }
    }

    /// Makes it a tenant.
    pub(crate) async fn create(&self, client: &Client) {
        client.tenants(OPERATOR).create_tenant(self.to_create()).await.unwrap();
    }

    /// The claims of a receipt given a minute before `now` and good for a year: faces for face matching, the document's
    /// front, name and number for text recognition.
    pub(crate) fn claims(&self, now: DateTime<Utc>) -> Value {
        let given = now - TimeDelta::minutes(1);
        json!({
            "schema": "idvault.consent/1", "iss": self.id, "aud": VAULT_ID, "jti": Uuid::new_v4().to_string(),
            "iat": given.timestamp(), "nbf": given.timestamp(), "exp": (given + TimeDelta::days(365)).timestamp(),
            "subject_ref": "subject-7", "subject_class": "adult", "jurisdiction": "SG",
            "notice": { "id": "training", "version": "1", "sha256": "0f".repeat(32), "language": "en" },
            "event": { "time": given.to_rfc3339_opts(SecondsFormat::Secs, true), "method": "in_app", "actor": "subject" },
            "grants": [
                grant("TRAIN_FACE_MATCH", &["FACE_IMAGE"]),
                grant("TRAIN_DOCUMENT_OCR", &["DOCUMENT_FRONT", "NAME", "ID_NUMBER"]),
            ],
        })
    }

    /// The receipt that says this.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.key.sign(claims)
    }

    /// A receipt signed under another key name.
    pub(crate) fn sign_as(&self, claims: &Value, kid: &str) -> String {
        Key { kid: kid.to_owned(), ..self.key.clone() }.sign(claims)
    }

    /// An upload under this receipt, as yet unsent: a face, a document's front, a name and a number.
    pub(crate) fn upload_under(&self, receipt: String, now: DateTime<Utc>) -> CreateRecordRequest {
        let header = RecordHeader {
            parent: self.name(),
            request_id: Uuid::new_v4().to_string(),
            call_id: format!("call-{}", Uuid::new_v4()),
            collect_time: Some(stamp(now)),
            consent_source: Some(ConsentSource::Receipt(receipt)),
        };
        let attributes = Attributes {
            surname: "SPECIMEN".to_owned(),
            given_names: "ANNA".to_owned(),
            id_number: "S0000001I".to_owned(),
            ..Attributes::default()
        };
        let parts = vec![face(1, 3_000), part(Category::DocumentFront, "image/png", [PNG, &[2; 2_000]].concat())];
        CreateRecordRequest { header: Some(header), parts, attributes: Some(attributes) }
    }

    /// An upload under a receipt of its own, as yet unsent.
    pub(crate) fn upload(&self, now: DateTime<Utc>) -> CreateRecordRequest {
        self.upload_under(self.sign(&self.claims(now)), now)
    }

    /// An upload of nothing but a face of `size` bytes that tells `mark`.
    pub(crate) fn upload_face(&self, mark: u64, size: usize, now: DateTime<Utc>) -> CreateRecordRequest {
        CreateRecordRequest { parts: vec![face(mark, size)], attributes: None, ..self.upload(now) }
    }

    /// Sends an upload.
    pub(crate) async fn send(&self, client: &Client, upload: CreateRecordRequest) -> Result<Record, Status> {
        let answer = client.records(&self.caller()).create_record(upload).await?;
        Ok(answer.into_inner().record.unwrap())
    }

    /// Sends an upload as a stream.
    pub(crate) async fn stream(&self, client: &Client, messages: Vec<UploadRecordRequest>) -> Result<Record, Status> {
        let answer = client.records(&self.caller()).upload_record(futures_util::stream::iter(messages)).await?;
        Ok(answer.into_inner().record.unwrap())
    }

    /// Shreds a record.
    pub(crate) async fn shred(&self, client: &Client, record: &Record) -> Result<Destruction, Status> {
        let answer = client.records(&self.caller()).shred_record(ShredRecordRequest { name: record.name.clone() }).await?;
        Ok(answer.into_inner().destruction.unwrap())
    }

    /// Withdraws purposes of a record's consent, or all of it.
    pub(crate) async fn withdraw(
        &self,
        client: &Client,
        record: &Record,
        purposes: &[Purpose],
    ) -> Result<WithdrawConsentResponse, Status> {
        let purposes = purposes.iter().map(|purpose| i32::from(*purpose)).collect();
        let request = WithdrawConsentRequest { name: record.consent.clone(), purposes };
        client.consents(&self.caller()).withdraw_consent(request).await.map(Response::into_inner)
    }

    /// What is alive of it.
    pub(crate) async fn status(&self, client: &Client) -> GetRetentionStatusResponse {
        let request = GetRetentionStatusRequest { parent: self.name() };
        client.retention(&self.caller()).get_retention_status(request).await.unwrap().into_inner()
    }

    /// What a job asks for that is after faces.
    pub(crate) fn spec(&self, now: DateTime<Utc>) -> TrainingJobSpec {
        TrainingJobSpec {
            purpose: Purpose::TrainFaceMatch.into(),
            categories: vec![Category::FaceImage.into()],
            tenants: vec![self.name()],
            jurisdictions: vec!["SG".to_owned()],
            workloads: vec![spiffe_id(WORKLOAD)],
            max_records: 1_000,
            max_bytes: 1 << 32,
            expire_time: Some(stamp(now + TimeDelta::days(30))),
            legal_entity: LEGAL_ENTITY.to_owned(),
            region: REGION.to_owned(),
            model_family: "matcher".to_owned(),
            assessment_ref: "assessment-7".to_owned(),
            uploaded_from: None,
            uploaded_before: None,
        }
    }

    /// What a job asks for that is after documents: their fronts and the name on them.
    pub(crate) fn ocr_spec(&self, now: DateTime<Utc>) -> TrainingJobSpec {
        TrainingJobSpec {
            purpose: Purpose::TrainDocumentOcr.into(),
            categories: vec![Category::DocumentFront.into(), Category::Name.into()],
            ..self.spec(now)
        }
    }
}

/// An explicit grant of `purpose` for `categories`.
pub(crate) fn grant(purpose: &str, categories: &[&str]) -> Value {
    json!({
        "purpose": purpose, "categories": categories, "decision": "given", "consent_type": "explicit",
        "lawful_basis": "consent", "recipients": [LEGAL_ENTITY], "regions": [REGION], "ui_element_id": "toggle-1",
    })
}

/// The messages of an upload as a stream, its files in chunks of so many bytes.
pub(crate) fn messages(upload: CreateRecordRequest, chunk: usize) -> Vec<UploadRecordRequest> {
    let mut messages = vec![Message::Header(upload.header.unwrap())];
    for part in upload.parts {
        messages.push(Message::Part(part.header.unwrap()));
        messages.extend(part.data.chunks(chunk).map(|bytes| Message::Chunk(bytes.to_vec())));
    }
    messages.extend(upload.attributes.map(Message::Attributes));
    messages.into_iter().map(message).collect()
}

/// One message of such a stream.
pub(crate) fn message(message: Message) -> UploadRecordRequest {
    UploadRecordRequest { message: Some(message) }
}

/// A part with the size and checksum that it has.
pub(crate) fn part(category: Category, media_type: &str, data: Vec<u8>) -> InlinePart {
    let header = PartHeader {
        category: category.into(),
        media_type: media_type.to_owned(),
        size_bytes: u64::try_from(data.len()).unwrap(),
        crc32c: crc32c::crc32c(&data),
    };
    InlinePart { header: Some(header), data }
}

/// A picture of `size` bytes that tells `mark`.
pub(crate) fn face(mark: u64, size: usize) -> InlinePart {
    part(Category::FaceImage, "image/jpeg", face_bytes(mark, size))
}

/// The bytes of [`face`].
pub(crate) fn face_bytes(mark: u64, size: usize) -> Vec<u8> {
    let fill = mark.to_be_bytes().into_iter().cycle();
    JPEG.iter().copied().chain(mark.to_be_bytes()).chain(fill).take(size).collect()
}

/// What a picture tells.
pub(crate) fn mark_of(face: &[u8]) -> u64 {
    u64::from_be_bytes(*face[JPEG.len()..].first_chunk().unwrap())
}

/// Creates a job and submits it.
pub(crate) async fn pending_job(client: &Client, spec: TrainingJobSpec) -> TrainingJob {
    let request = CreateTrainingJobRequest { request_id: Uuid::new_v4().to_string(), spec: Some(spec), validate_only: false };
    let job = client.training(REQUESTER).create_training_job(request).await.unwrap().into_inner().training_job.unwrap();
    let submitted = client.training(REQUESTER).submit_training_job(SubmitTrainingJobRequest { name: job.name }).await;
    submitted.unwrap().into_inner().training_job.unwrap()
}

/// Approves a job as it stands.
pub(crate) async fn approve(client: &Client, job: &TrainingJob, who: &str, role: ApproverRole) -> Result<TrainingJob, Status> {
    let request = ApproveTrainingJobRequest { name: job.name.clone(), spec_sha256: job.spec_sha256.clone(), role: role.into() };
    Ok(client.training(who).approve_training_job(request).await?.into_inner().training_job.unwrap())
}

/// A job that both have approved.
pub(crate) async fn active_job(client: &Client, spec: TrainingJobSpec) -> TrainingJob {
    let job = pending_job(client, spec).await;
    approve(client, &job, OFFICER, ApproverRole::PrivacyOfficer).await.unwrap();
    approve(client, &job, MODEL_OWNER, ApproverRole::ModelOwner).await.unwrap()
}

/// A snapshot of a job.
pub(crate) async fn snapshot(client: &Client, job: &TrainingJob) -> Snapshot {
    let request = CreateSnapshotRequest { parent: job.name.clone(), request_id: Uuid::new_v4().to_string() };
    client.training(WORKLOAD).create_snapshot(request).await.unwrap().into_inner().snapshot.unwrap()
}

/// A snapshot of a job that asks for this, approved.
pub(crate) async fn snapshot_of(client: &Client, spec: TrainingJobSpec) -> Snapshot {
    snapshot(client, &active_job(client, spec).await).await
}

/// A time on the wire.
pub(crate) fn stamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: time.timestamp(), nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap() }
}

/// A time from the wire.
pub(crate) fn time(stamp: Option<Timestamp>) -> DateTime<Utc> {
    let stamp = stamp.unwrap();
    DateTime::from_timestamp(stamp.seconds, u32::try_from(stamp.nanos).unwrap()).unwrap()
}
