//! What clients do: uploads under receipts of their own, and fetches; each client over a connection of its own.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use futures_util::future::try_join_all;
use futures_util::stream;
use serde_json::json;
use tonic::Request;
use tonic::transport::Channel;

use super::pairs::Turn;
use super::refused;
use super::wire::End;
use crate::cli::client::Failure;
use crate::cli::{new_uuid, timestamp, wall};
use crate::clock::{Source, SystemSource};
use crate::crypto::{key_proof, random, receipt};
use crate::domain::tenant::MetadataPolicy;
use crate::proto::fetch_records_response::item::Content;
use crate::proto::record_header::ConsentSource;
use crate::proto::record_service_client::RecordServiceClient;
use crate::proto::training_service_client::TrainingServiceClient;
use crate::proto::upload_record_request::Message;
use crate::proto::{Category, FetchRecordsRequest, PartHeader, RecordHeader, UploadRecordRequest};
use crate::vault::tenants::{Keys, TenantUpdate};

pub(super) const VAULT: &str = "bench";
pub(super) const TENANT: &str = "bench";
pub(super) const DOMAIN: &str = "bench.test";
pub(super) const WORKLOAD: &str = "workload/trainer";
pub(super) const RECIPIENT: &str = "Models Ltd";
pub(super) const REGION: &str = "sg-1";
/// Whose certificates the clients show: the tenant, and the workload.
pub(super) const CALLERS: [&str; 2] = ["tenant=tenant/bench", "trainer=workload/trainer"];
const KEY_ID: &str = "1";
/// How much of a part is sent at once.
const CHUNK_BYTES: usize = 1 << 20;
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// The clients, and what they have to send.
pub(super) struct Load {
    clients: u32,
    sizes: RangeInclusive<u32>,
    picture: Arc<Vec<u8>>,
    key: SigningKey,
    clock: SystemSource,
    now: DateTime<Utc>,
}

/// Uploads to be made, each under a receipt of its own, signed beforehand.
pub(super) type Work = Arc<Vec<Upload>>;

/// A record of one part.
pub(super) struct Upload {
    header: RecordHeader,
    part: PartHeader,
    size: usize,
}

impl Load {
    pub(super) fn new(clients: u32, sizes: RangeInclusive<u32>) -> Result<Self, Failure> {
        let mut picture = vec![0xff, 0xd8, 0xff, 0xe0];
        let mut noise = u64::from_le_bytes(random::array().map_err(refused)?);
        while picture.len() < in_memory(*sizes.end()) {
            picture.extend_from_slice(&mixed(&mut noise).to_le_bytes());
        }
        let key = SigningKey::from_bytes(&random::array().map_err(refused)?);
        let clock = SystemSource::new().map_err(refused)?;
        Ok(Self { clients, sizes, picture: Arc::new(picture), key, clock, now: wall()? })
    }

    /// When the bench began.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// The tenant whose clients these are; files are kept as they are, since taking images apart is no matter of the disk.
    pub(super) fn tenant(&self) -> TenantUpdate {
        use base64ct::{Base64UrlUnpadded, Encoding};
        let x = Base64UrlUnpadded::encode_string(self.key.verifying_key().as_bytes());
        let jwks = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": KEY_ID, "x": x }] }).to_string();
        let proofs = vec![key_proof::sign(VAULT, TENANT, KEY_ID, &self.key)];
        TenantUpdate { keys: Some(Keys { jwks, proofs }), metadata_policy: Some(MetadataPolicy::Keep), ..TenantUpdate::default() }
    }

    /// So many uploads. The sizes are the same each time.
    pub(super) fn work(&self, count: u32) -> Result<Work, Failure> {
        self.work_of(count, self.sizes.clone())
    }

    /// So many uploads of parts of these sizes.
    pub(super) fn work_of(&self, count: u32, sizes: RangeInclusive<u32>) -> Result<Work, Failure> {
        let mut chance = 1_u64;
        let spread = u64::from(sizes.end().saturating_sub(*sizes.start())).saturating_add(1);
        let uploads = (0..count).map(|_| {
            let more = u32::try_from(mixed(&mut chance).checked_rem(spread).unwrap_or(0)).unwrap_or(0);
            self.upload_of(in_memory(sizes.start().saturating_add(more)))
        });
        Ok(Arc::new(uploads.collect::<Result<_, Failure>>()?))
    }

    fn upload_of(&self, size: usize) -> Result<Upload, Failure> {
        let header = RecordHeader {
            parent: format!("tenants/{TENANT}"),
            request_id: new_uuid()?,
            call_id: new_uuid()?,
            collect_time: Some(timestamp(self.now)),
            consent_source: Some(ConsentSource::Receipt(self.receipt()?)),
        };
        let part = PartHeader {
            category: Category::FaceImage.into(),
            media_type: "image/jpeg".to_owned(),
            size_bytes: u64::try_from(size).unwrap_or(u64::MAX),
            crc32c: crc32c::crc32c(self.picture.get(..size).unwrap_or_default()),
        };
        Ok(Upload { header, part, size })
    }

    fn receipt(&self) -> Result<String, Failure> {
        let now = self.now;
        let end = now.checked_add_signed(TimeDelta::days(365)).unwrap_or(now);
        let claims = json!({
            "schema": "idvault.consent/1", "iss": TENANT, "aud": VAULT, "jti": new_uuid()?,
            "iat": now.timestamp(), "nbf": now.timestamp(), "exp": end.timestamp(),
            "subject_ref": new_uuid()?, "subject_class": "adult", "jurisdiction": "SG",
            "notice": { "id": "bench", "version": "1", "sha256": "0".repeat(64), "language": "en" },
            "event": { "time": now.to_rfc3339(), "method": "bench", "actor": "subject" },
            "grants": [{
                "purpose": "TRAIN_FACE_MATCH", "categories": ["FACE_IMAGE"], "decision": "given", "consent_type": "explicit",
                "lawful_basis": "consent", "recipients": [RECIPIENT], "regions": [REGION], "ui_element_id": "bench",
            }],
        });
        Ok(receipt::sign(&claims, KEY_ID, &self.key))
    }

    /// Makes all uploads; each client takes the next when it has made one.
    pub(super) async fn upload(&self, end: &End, work: &Work) -> Result<Turn, Failure> {
        let (channels, next) = (self.connect(end, "tenant").await?, Arc::new(AtomicUsize::new(0)));
        let clients = channels.into_iter().map(|channel| {
            let (work, next, picture) = (Arc::clone(work), Arc::clone(&next), Arc::clone(&self.picture));
            tokio::spawn(async move {
                let mut records = RecordServiceClient::new(channel);
                let mut bytes = 0_u64;
                while let Some(upload) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let messages = stream::iter(messages(upload, &picture));
                    records.upload_record(as_caller(messages, &format!("tenant/{TENANT}"))?).await?;
                    bytes = bytes.saturating_add(upload.part.size_bytes);
                }
                Ok::<_, Failure>(bytes)
            })
        });
        self.timed(clients.collect()).await
    }

    /// Fetches an epoch, each client as one rank of it.
    pub(super) async fn fetch(&self, end: &End, snapshot: &str) -> Result<Turn, Failure> {
        let ranks = self.connect(end, "trainer").await?.into_iter().zip(0_u32..).map(|(channel, rank)| {
            let (snapshot, world_size) = (snapshot.to_owned(), self.clients);
            tokio::spawn(async move {
                let mut training = TrainingServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
                let request = FetchRecordsRequest { snapshot, rank, world_size, ..FetchRecordsRequest::default() };
                let mut messages = training.fetch_records(as_caller(request, WORKLOAD)?).await?.into_inner();
                let mut bytes = 0_u64;
                while let Some(message) = messages.message().await? {
                    for item in message.items {
                        let Some(Content::Chunk(chunk)) = item.content else { return Err(Failure::refused("a record is gone")) };
                        bytes = bytes.saturating_add(u64::try_from(chunk.data.len()).unwrap_or(u64::MAX));
                    }
                }
                Ok(bytes)
            })
        });
        self.timed(ranks.collect()).await
    }

    async fn connect(&self, end: &End, caller: &str) -> Result<Vec<Channel>, Failure> {
        try_join_all((0..self.clients).map(|_| end.connect(caller))).await
    }

    /// The time until the last client is done, and the bytes of all.
    async fn timed(&self, clients: Vec<tokio::task::JoinHandle<Result<u64, Failure>>>) -> Result<Turn, Failure> {
        let (begin, cpu) = (self.elapsed()?, cpu_time());
        let mut bytes = 0_u64;
        for client in clients {
            bytes = bytes.saturating_add(client.await.map_err(refused)??);
        }
        self.turn_since(begin, cpu, bytes)
    }

    /// What so many bytes take that `work` does something with.
    pub(super) fn turn(&self, bytes: u64, work: impl FnOnce() -> Result<(), Failure>) -> Result<Turn, Failure> {
        let (begin, cpu) = (self.elapsed()?, cpu_time());
        work()?;
        self.turn_since(begin, cpu, bytes)
    }

    fn turn_since(&self, begin: Duration, cpu: Duration, bytes: u64) -> Result<Turn, Failure> {
        Ok(Turn { bytes, time: self.elapsed()?.saturating_sub(begin), cpu: cpu_time().saturating_sub(cpu), written: 0 })
    }

    /// The time since the machine was started.
    pub(super) fn elapsed(&self) -> Result<Duration, Failure> {
        let reading = self.clock.read().map_err(refused)?;
        let elapsed = reading.elapsed.and_then(|elapsed| elapsed.to_std().ok());
        elapsed.ok_or_else(|| Failure::refused("this machine does not say how much time has passed"))
    }
}

/// The messages of an upload.
fn messages(upload: &Upload, picture: &[u8]) -> Vec<UploadRecordRequest> {
    let chunks = picture.get(..upload.size).unwrap_or_default().chunks(CHUNK_BYTES);
    let header = [Message::Header(upload.header.clone()), Message::Part(upload.part.clone())];
    let messages = header.into_iter().chain(chunks.map(|chunk| Message::Chunk(chunk.to_vec())));
    messages.map(|message| UploadRecordRequest { message: Some(message) }).collect()
}

fn as_caller<T>(message: T, path: &str) -> Result<Request<T>, Failure> {
    let mut request = Request::new(message);
    let caller = format!("spiffe://{DOMAIN}/{path}").parse();
    request.metadata_mut().insert("idvault-caller", caller.map_err(|_| Failure::refused("no such caller"))?);
    Ok(request)
}

/// The CPU time of this process so far: user and system, the 14th and 15th field of its stat(5), in ticks.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_millis(ticks.saturating_mul(1000).checked_div(per_second).unwrap_or_default())
}

/// The next number of a stream that looks like noise (`SplitMix64`, Steele et al. 2014).
fn mixed(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn in_memory(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
