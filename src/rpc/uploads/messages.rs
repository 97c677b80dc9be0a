//! The messages of an upload in their order, read into the domain's words as they come.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::domain::attributes::Attributes;
use crate::proto::upload_record_request::Message;
use crate::proto::{self, RecordHeader, UploadRecordRequest};
use crate::rpc::convert;
use crate::rpc::status::Denied;
use crate::vault::ingest::{PartHeader, Plaintext};

/// The most bytes of a chunk.
const MAX_CHUNK_BYTES: usize = 1 << 20;
/// A batch is closed when it holds this many bytes of chunks.
const BATCH_BYTES: usize = 256 << 10;
/// For how long nothing may come: a client that stalls takes the place of another.
const STALL: Duration = Duration::from_mins(1);

/// A step that a message after the header asks for.
pub(super) enum Step {
    Part(PartHeader),
    Bytes(Plaintext),
    Attributes(Attributes),
}

/// Messages that came together, to be taken in together: each batch costs a change of threads, and more comes meanwhile.
pub(super) struct Batch {
    pub(super) steps: Vec<Step>,
    pub(super) end: End,
}

/// What is behind a batch.
pub(super) enum End {
    /// More is to come.
    Open,
    /// Nothing: that was all of the record.
    Whole,
    /// What must not come.
    Denied(Denied),
}

/// The messages of a stream.
pub(super) struct Messages {
    stream: Streaming<UploadRecordRequest>,
    /// How many parts have begun.
    parts: usize,
    /// Whether the attributes have come, which are last.
    is_over: bool,
}

impl Messages {
    pub(super) fn new(stream: Streaming<UploadRecordRequest>) -> Self {
        Self { stream, parts: 0, is_over: false }
    }

    /// Waits for the header, which is the first.
    pub(super) async fn header(&mut self) -> Result<RecordHeader, Status> {
        match self.wait().await?.map(Piece::of) {
            Some(Ok(Piece::Header(header))) => Ok(header),
            _ => Err(Denied::invalid("message", "must be the header first").into()),
        }
    }

    /// Waits for a message, and takes with it what has come behind it.
    pub(super) async fn next(&mut self) -> Result<Batch, Status> {
        let (mut steps, mut bytes) = (Vec::new(), 0_usize);
        let mut message = Some(self.wait().await?);
        while let Some(come) = message {
            let Some(request) = come else { return Ok(Batch { steps, end: End::Whole }) };
            match Piece::of(request).and_then(|piece| self.step(piece)) {
                Ok(step) => steps.push(step),
                Err(denied) => return Ok(Batch { steps, end: End::Denied(denied) }),
            }
            if let Some(Step::Bytes(chunk)) = steps.last() {
                bytes = bytes.saturating_add(chunk.expose().len());
            }
            let is_full = bytes >= BATCH_BYTES;
            message = if is_full { None } else { self.stream.message().now_or_never().transpose()? };
        }
        Ok(Batch { steps, end: End::Open })
    }

    async fn wait(&mut self) -> Result<Option<UploadRecordRequest>, Status> {
        timeout(STALL, self.stream.message()).await.map_err(|_| Denied::Stalled)?
    }

    fn step(&mut self, piece: Piece) -> Result<Step, Denied> {
        if self.is_over {
            return Err(Denied::invalid("message", "must not come after the attributes"));
        }
        match piece {
            Piece::Header(_) => Err(Denied::invalid("message", "must be the header once only")),
            Piece::Part(header) => {
                let header = convert::part_header(&header, &format!("parts[{}]", self.parts))?;
                self.parts = self.parts.saturating_add(1);
                Ok(Step::Part(header))
            }
            Piece::Chunk(bytes) if (1..=MAX_CHUNK_BYTES).contains(&bytes.expose().len()) => Ok(Step::Bytes(bytes)),
            Piece::Chunk(_) => Err(Denied::invalid("chunk", "must be 1 byte to 1 MiB")),
            Piece::Attributes(attributes) => {
                self.is_over = true;
                convert::attributes(attributes).map(Step::Attributes)
            }
        }
    }
}

/// What is in a message; bytes are in a buffer that is wiped, whatever becomes of them.
enum Piece {
    Header(RecordHeader),
    Part(proto::PartHeader),
    Chunk(Plaintext),
    Attributes(proto::Attributes),
}

impl Piece {
    fn of(request: UploadRecordRequest) -> Result<Self, Denied> {
        match request.message {
            Some(Message::Header(header)) => Ok(Self::Header(header)),
            Some(Message::Part(header)) => Ok(Self::Part(header)),
            Some(Message::Chunk(bytes)) => Ok(Self::Chunk(Plaintext::from(bytes))),
            Some(Message::Attributes(attributes)) => Ok(Self::Attributes(attributes)),
            None => Err(Denied::invalid("message", "must be a header, a part, a chunk or attributes")),
        }
    }
}
