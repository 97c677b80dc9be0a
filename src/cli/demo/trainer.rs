//! The training job of the demo: asked for, approved, and streaming epochs.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use tonic::{Status, Streaming};

use super::parties::{Caller, Failure, LEGAL_ENTITY, REGION, new_uuid, proto_time, reason};
use super::specimens::{self, Specimen};
use crate::domain::order::Order;
use crate::proto::fetch_records_response::item::Content;
use crate::proto::training_service_client::TrainingServiceClient;
use crate::proto::{
    ApproveTrainingJobRequest, ApproverRole, Attributes, Category, CreateSnapshotRequest, CreateTrainingJobRequest,
    FetchRecordsRequest, FetchRecordsResponse, Purpose, SubmitTrainingJobRequest, TrainingJobSpec,
};

const SEED: u64 = 20_260_301;

/// Creates a job and submits it. Its name, and the digest of its spec.
pub(super) async fn ask(requester: &Caller, now: DateTime<Utc>) -> Result<(String, Vec<u8>), Failure> {
    let mut jurisdictions: Vec<_> = specimens::all().iter().map(Specimen::jurisdiction).collect();
    jurisdictions.sort();
    jurisdictions.dedup();
    let categories =
        [Category::FaceImage, Category::DocumentFront, Category::DocumentBack, Category::Name, Category::DateOfBirth]
            .map(i32::from);
    let spec = TrainingJobSpec {
        purpose: Purpose::TrainFaceMatch.into(),
        categories: categories.to_vec(),
        tenants: vec!["tenants/kyc-asia".to_owned()],
        jurisdictions,
        workloads: vec!["spiffe://demo.test/workload/trainer".to_owned()],
        max_records: 100,
        max_bytes: 1 << 30,
        expire_time: now.checked_add_signed(TimeDelta::days(30)).map(proto_time),
        legal_entity: LEGAL_ENTITY.to_owned(),
        region: REGION.to_owned(),
        model_family: "face-match".to_owned(),
        assessment_ref: "DPIA-7".to_owned(),
        ..TrainingJobSpec::default()
    };
    let mut jobs = TrainingServiceClient::new(requester.channel.clone());
    let create = CreateTrainingJobRequest { request_id: new_uuid()?, spec: Some(spec), validate_only: false };
    let job =
        jobs.create_training_job(requester.request(create)).await?.into_inner().training_job.ok_or("no job in the answer")?;
    jobs.submit_training_job(requester.request(SubmitTrainingJobRequest { name: job.name.clone() })).await?;
    Ok((job.name, job.spec_sha256))
}

/// Approves a job as privacy officer, or tells the reason why not.
pub(super) async fn approve_as_officer(caller: &Caller, job: &str, digest: &[u8]) -> Result<Result<(), String>, Failure> {
    approve(caller, job, digest, ApproverRole::PrivacyOfficer).await
}

/// Approves a job as model owner, or tells the reason why not.
pub(super) async fn approve_as_owner(caller: &Caller, job: &str, digest: &[u8]) -> Result<Result<(), String>, Failure> {
    approve(caller, job, digest, ApproverRole::ModelOwner).await
}

async fn approve(caller: &Caller, job: &str, digest: &[u8], role: ApproverRole) -> Result<Result<(), String>, Failure> {
    let approve = ApproveTrainingJobRequest { name: job.to_owned(), spec_sha256: digest.to_vec(), role: role.into() };
    let answer = TrainingServiceClient::new(caller.channel.clone()).approve_training_job(caller.request(approve)).await;
    Ok(answer.map(drop).map_err(|status| reason(&status)))
}

/// Makes a snapshot of a job, or tells the reason why not.
pub(super) async fn snapshot(workload: &Caller, job: &str) -> Result<Result<String, String>, Failure> {
    let create = CreateSnapshotRequest { parent: job.to_owned(), request_id: new_uuid()? };
    let answer = TrainingServiceClient::new(workload.channel.clone()).create_snapshot(workload.request(create)).await;
    match answer {
        Ok(response) => Ok(Ok(response.into_inner().snapshot.ok_or("no snapshot in the answer")?.name)),
        Err(status) => Ok(Err(reason(&status))),
    }
}

/// What came for one position.
#[derive(Default)]
pub(super) struct Sample {
    /// The record's name within the job.
    pub(super) token: Vec<u8>,
    /// Whether a tombstone came.
    pub(super) is_gone: bool,
    files: BTreeMap<i32, Vec<u8>>,
    attributes: Attributes,
}

impl Sample {
    /// Whether it is what was uploaded of this check, and of its attributes those that the job asked for.
    pub(super) fn is(&self, specimen: &Specimen) -> bool {
        let all = specimen.attributes();
        let asked = Attributes {
            surname: all.surname,
            given_names: all.given_names,
            native_name: all.native_name,
            date_of_birth: all.date_of_birth,
            ..Attributes::default()
        };
        let files = specimen.files.iter().map(|file| (i32::from(file.category), file.bytes));
        self.attributes == asked && files.eq(self.files.iter().map(|(category, bytes)| (*category, bytes.as_slice())))
    }
}

/// What a message was: its sequence, and the records in it.
pub(super) struct Seen {
    /// Its release sequence.
    pub(super) sequence: u64,
    /// The tokens of its records.
    pub(super) tokens: Vec<Vec<u8>>,
}

/// An epoch being streamed.
pub(super) struct Epoch {
    number: u32,
    count: u64,
    stream: Streaming<FetchRecordsResponse>,
    samples: BTreeMap<u64, Sample>,
    seen: Vec<Seen>,
}

impl Epoch {
    /// Opens a stream over all positions, with the least possible under way.
    pub(super) async fn open(workload: &Caller, snapshot: &str, epoch: u32) -> Result<Self, Failure> {
        use crate::proto::GetSnapshotRequest;
        let mut jobs = TrainingServiceClient::new(workload.channel.clone());
        let got = jobs.get_snapshot(workload.request(GetSnapshotRequest { name: snapshot.to_owned() })).await?.into_inner();
        let count = got.snapshot.ok_or("no snapshot in the answer")?.position_count;
        let fetch = FetchRecordsRequest {
            snapshot: snapshot.to_owned(),
            seed: SEED,
            epoch,
            world_size: 1,
            max_in_flight_bytes: 1,
            ..FetchRecordsRequest::default()
        };
        let stream = jobs.fetch_records(workload.request(fetch)).await?.into_inner();
        Ok(Self { number: epoch, count, stream, samples: BTreeMap::new(), seen: Vec::new() })
    }

    /// How many positions there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The messages read so far.
    pub(super) fn messages(&self) -> &[Seen] {
        &self.seen
    }

    /// The position in this epoch of the record that stands at `position` in the other.
    pub(super) fn position_in(&self, other: &Self, position: u64) -> Option<u64> {
        let index = Order::new(SEED, other.number, other.count).index(position)?;
        let order = Order::new(SEED, self.number, self.count);
        (0..self.count).find(|position| order.index(*position) == Some(index))
    }

    /// Reads one message. Whether there was one.
    pub(super) async fn read_message(&mut self) -> Result<bool, Status> {
        let Some(message) = self.stream.message().await? else { return Ok(false) };
        let mut seen = Seen { sequence: message.release_sequence, tokens: Vec::new() };
        for item in message.items {
            let sample = self.samples.entry(item.position).or_default();
            seen.tokens.push(item.record_token.clone());
            sample.token = item.record_token;
            match item.content {
                Some(Content::Chunk(chunk)) => sample.files.entry(chunk.category).or_default().extend_from_slice(&chunk.data),
                Some(Content::Attributes(attributes)) => sample.attributes = attributes,
                Some(Content::Tombstone(_)) | None => *sample = Sample { is_gone: true, ..Sample::default() },
            }
        }
        self.seen.push(seen);
        Ok(true)
    }

    /// Reads to the end. Everything that came, by position.
    pub(super) async fn read_all(&mut self) -> Result<BTreeMap<u64, Sample>, Status> {
        while self.read_message().await? {}
        Ok(std::mem::take(&mut self.samples))
    }
}
