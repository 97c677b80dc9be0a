//! `UploadRecord`: a record taken in as a stream, its messages in their order, within bounds of memory and time.
//!
//! One message is in memory at a time, sealed before the next one is asked for. Only images whose metadata is to be removed
//! are held back whole; of those all uploads together hold so many bytes, and further ones wait. A stream that ends early,
//! in whatever way, drops what it has begun.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tonic::{Request, Status, Streaming};

use super::convert;
use super::status::Denied;
use super::{Api, caller::Caller};
use crate::domain::attributes::Attributes;
use crate::domain::ids::Identity;
use crate::domain::record::Record;
use crate::proto::upload_record_request::Message;
use crate::proto::{PartHeader, RecordHeader, UploadRecordRequest};
use crate::vault::Vault;
use crate::vault::error::Error;
use crate::vault::ingest::{Intake, Plaintext};

/// The most bytes of a chunk.
const MAX_CHUNK_BYTES: usize = 1 << 20;
/// How many uploads are under way at once; each holds two messages or so.
const MAX_AT_ONCE: usize = 64;
/// How many bytes of images are held back at once, over all uploads: three of the largest, or hundreds of the usual.
const MAX_HELD_BACK: u64 = 64 << 20;
/// For how long nothing may come: a client that stalls takes the place of another.
const STALL: Duration = Duration::from_mins(1);
/// How long an upload may take: at the least 110 KB/s for the largest record.
const LONGEST: Duration = Duration::from_mins(10);

/// What uploads share.
#[derive(Debug, Clone)]
pub(super) struct Uploads {
    places: Arc<Semaphore>,
    /// A permit for each KiB.
    held_back: Arc<Semaphore>,
}

impl Uploads {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_AT_ONCE)), held_back: Arc::new(Semaphore::new(kib(MAX_HELD_BACK))) }
    }

    /// Waits until so many bytes may be held back.
    async fn hold_back(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let permits = u32::try_from(kib(bytes.min(MAX_HELD_BACK))).ok()?;
        self.held_back.acquire_many(permits).await.ok()
    }
}

fn kib(bytes: u64) -> usize {
    usize::try_from(bytes.div_ceil(1 << 10)).unwrap_or(usize::MAX)
}

impl Api {
    /// Receives a record.
    pub(super) async fn receive(&self, request: Request<Streaming<UploadRecordRequest>>) -> Result<Record, Status> {
        let caller = self.callers.identify(&request)?;
        // Who can own no record waits for no place.
        if !matches!(caller.identity, Identity::Tenant(_)) {
            return Err(Denied::NotAllowed.into());
        }
        let messages = Messages(request.into_inner());
        timeout(LONGEST, self.receive_all(&caller, messages)).await.map_err(|_| Denied::Stalled)?
    }

    async fn receive_all(&self, caller: &Caller, mut messages: Messages) -> Result<Record, Status> {
        let _place = self.uploads.places.acquire().await;
        let Some(Message::Header(header)) = messages.next().await? else {
            return Err(Denied::invalid("message", "must be the header first").into());
        };
        let (mut intake, mut held_back) = (self.begin(caller, header).await?, None);
        let mut number = 0_usize;
        loop {
            match messages.next().await? {
                Some(Message::Part(header)) => {
                    (intake, held_back) = self.begin_part(intake, held_back, &header, number).await?;
                    number = number.saturating_add(1);
                }
                Some(Message::Chunk(bytes)) => intake = self.add_chunk(intake, Plaintext::from(bytes)).await?,
                Some(Message::Attributes(wire)) => {
                    let attributes = convert::attributes(wire)?;
                    return match messages.next().await? {
                        None => self.finish(intake, attributes).await,
                        Some(_) => Err(Denied::invalid("message", "must not come after the attributes").into()),
                    };
                }
                Some(Message::Header(_)) => return Err(Denied::invalid("message", "must be the header once only").into()),
                None => return self.finish(intake, Attributes::default()).await,
            }
        }
    }

    async fn begin(&self, caller: &Caller, header: RecordHeader) -> Result<Intake, Status> {
        caller.must_be_tenant_of(&header.parent, "header.parent", &[])?;
        let header = convert::upload_header(header)?;
        self.run(move |vault| vault.begin_upload(header)).await
    }

    /// Ends a part and begins the next, once there is room for what it holds back.
    async fn begin_part<'a>(
        &'a self,
        intake: Intake,
        held_back: Option<SemaphorePermit<'a>>,
        header: &PartHeader,
        number: usize,
    ) -> Result<(Intake, Option<SemaphorePermit<'a>>), Status> {
        let header = convert::part_header(header, &format!("parts[{number}]"))?;
        let mut intake = self.change(intake, Vault::end_part).await?;
        // Let go of before more is asked for: who waits holds nothing that another waits for.
        drop(held_back);
        let held_back = match intake.held_back(&header) {
            0 => None,
            bytes => self.uploads.hold_back(bytes).await,
        };
        intake = self.change(intake, move |vault, intake| vault.begin_part(intake, header)).await?;
        Ok((intake, held_back))
    }

    async fn add_chunk(&self, intake: Intake, bytes: Plaintext) -> Result<Intake, Status> {
        if !(1..=MAX_CHUNK_BYTES).contains(&bytes.expose().len()) {
            return Err(Denied::invalid("chunk", "must be 1 byte to 1 MiB").into());
        }
        self.change(intake, move |vault, intake| vault.add_bytes(intake, bytes.expose())).await
    }

    async fn finish(&self, intake: Intake, attributes: Attributes) -> Result<Record, Status> {
        self.run(move |vault| vault.finish_upload(intake, &attributes)).await
    }

    /// Takes the next step with a record that is arriving.
    async fn change(
        &self,
        mut intake: Intake,
        step: impl FnOnce(&Vault, &mut Intake) -> Result<(), Error> + Send + 'static,
    ) -> Result<Intake, Status> {
        self.run(move |vault| step(vault, &mut intake).map(|()| intake)).await
    }
}

/// The messages of a stream.
struct Messages(Streaming<UploadRecordRequest>);

impl Messages {
    /// The next one, if it comes in time; nothing at the end.
    async fn next(&mut self) -> Result<Option<Message>, Status> {
        let Some(request) = timeout(STALL, self.0.message()).await.map_err(|_| Denied::Stalled)?? else { return Ok(None) };
        Ok(Some(request.message.ok_or_else(|| Denied::invalid("message", "must be a header, a part, a chunk or attributes"))?))
    }
}
