//! What a vault must hold after a crash, and the check that it does: through the API alone, as its callers see it.

use std::collections::BTreeMap;

use idvault::proto::{Attributes, Category, CreateRecordRequest, GetRecordRequest, Record, TrainingJob, TrainingJobSpec};
use serde_json::json;
use tonic::Code;

use crate::client::{Client, refused};
use crate::server::Clock;
use crate::stream::{Epoch, Position, whole};
use crate::world::{Provider, active_job, face, grant, mark_of, snapshot, time};

/// An upload of a face of `size` bytes that tells `mark`, a document's front and attributes, all for one purpose. Its
/// receipt ends at `exp`, if that is given, and its life with it.
pub(crate) fn upload(acme: &Provider, mark: u64, size: usize, clock: &Clock, exp: Option<i64>) -> CreateRecordRequest {
    let mut claims = acme.claims(clock.now());
    claims["grants"] = json!([grant("TRAIN_FACE_MATCH", &["FACE_IMAGE", "DOCUMENT_FRONT", "NAME", "ID_NUMBER"])]);
    if let Some(exp) = exp {
        claims["exp"] = json!(exp);
    }
    let mut upload = acme.upload_under(acme.sign(&claims), clock.now());
    upload.parts[0] = face(mark, size);
    upload
}

/// A job that receives all of it.
pub(crate) async fn job(client: &Client, acme: &Provider, clock: &Clock) -> TrainingJob {
    let categories = [Category::FaceImage, Category::DocumentFront, Category::Name, Category::IdNumber];
    let spec = acme.spec(clock.now());
    let (categories, max_records, max_bytes) = (categories.map(i32::from).to_vec(), u64::MAX, u64::MAX);
    active_job(client, TrainingJobSpec { categories, max_records, max_bytes, ..spec }).await
}

/// Records by the mark of their face.
#[derive(Default, Clone)]
pub(crate) struct Expected {
    /// Acknowledged, and nobody asked for their end.
    pub(crate) alive: BTreeMap<u64, (CreateRecordRequest, Record)>,
    /// Acknowledged as gone, or due.
    pub(crate) gone: BTreeMap<u64, Record>,
    /// Asked for without an answer: there whole, or not at all.
    pub(crate) open: BTreeMap<u64, CreateRecordRequest>,
}

impl Expected {
    /// Makes gone what the clock says is due.
    pub(crate) fn expire(&mut self, clock: &Clock) {
        let due = self.alive.extract_if(.., |_, (_, record)| time(record.expire_time) <= clock.now());
        self.gone.extend(due.map(|(mark, (_, record))| (mark, record)));
    }

    /// Checks a vault that has just begun to serve.
    pub(crate) async fn check(&self, client: &Client, acme: &Provider, job: &TrainingJob) {
        let status = acme.status(client).await;
        assert_eq!(status.backlog_record_count, 0, "it serves before all is destroyed that was to be");
        for (_, record) in self.alive.values() {
            let get = GetRecordRequest { name: record.name.clone() };
            let answer = client.records(&acme.caller()).get_record(get).await.unwrap().into_inner();
            assert_eq!(answer.record.as_ref(), Some(record));
        }
        for record in self.gone.values() {
            let get = GetRecordRequest { name: record.name.clone() };
            refused(client.records(&acme.caller()).get_record(get).await, Code::NotFound, "RECORD_GONE");
        }
        let list = snapshot(client, job).await;
        assert_eq!(list.position_count, status.live_record_count);
        let epoch = Epoch::read(client, whole(&list)).await.unwrap();
        let mut streamed = BTreeMap::new();
        for position in epoch.positions.values() {
            let mark = mark_of(position.face().expect("a record that is listed opens"));
            assert!(streamed.insert(mark, position).is_none(), "record {mark} is there twice");
        }
        for (mark, position) in &streamed {
            let (known, open) = (self.alive.get(mark), self.open.get(mark));
            let upload = known.map(|(upload, _)| upload).or(open);
            assert!(opens_whole(position, upload.unwrap_or_else(|| panic!("record {mark} is gone, and listed"))));
        }
        assert!(self.alive.keys().all(|mark| streamed.contains_key(mark)), "a record that was acknowledged is not listed");
    }
}

/// Whether a position carries all that was uploaded, and the same.
fn opens_whole(position: &Position, upload: &CreateRecordRequest) -> bool {
    let sent = upload.parts.iter().map(|part| (part.header.as_ref().unwrap().category, &part.data));
    let attributes: &Option<Attributes> = &upload.attributes;
    position.parts.iter().map(|(category, data)| (*category, data)).eq(sent) && position.attributes == *attributes
}
