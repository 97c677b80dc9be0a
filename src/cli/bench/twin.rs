//! The twin: what a vault would be without its reason. It speaks the same calls over the same transport, and writes to the same
//! volumes with the same syncs; it seals nothing, asks for no consent and keeps no ledger.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use parking_lot::Mutex;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{ClientStreamingService, Grpc, NamedService, ServerStreamingService};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::domain::ids::{Hour, Place, Serial};
use crate::domain::record::Extent;
use crate::proto::fetch_records_response::item::Content;
use crate::proto::fetch_records_response::{Chunk, Item};
use crate::proto::upload_record_request::Message;
use crate::proto::{Category, FetchRecordsRequest, FetchRecordsResponse, Record, UploadRecordRequest, UploadRecordResponse};
use crate::rpc::{Messages, packed};
use crate::store::volume::{Appending, MAX_PAYLOAD, VolumeError, Volumes};

/// A message is closed when it holds this many bytes, as the vault's are.
const MESSAGE_BYTES: u64 = 1 << 20;

/// All services of the twin.
pub(super) fn routes(volumes: Arc<Volumes>) -> Routes {
    let store = Store { volumes, next: Arc::default(), stored: Arc::default() };
    Routes::new(Served(Uploads(store.clone()))).add_service(Served(Fetches(store)))
}

#[derive(Clone)]
struct Store {
    volumes: Arc<Volumes>,
    next: Arc<AtomicU64>,
    stored: Arc<Mutex<Vec<Stored>>>,
}

/// Where the bytes of a record are.
#[derive(Clone)]
struct Stored {
    place: Place,
    extents: Vec<Extent>,
    size: u64,
}

impl Store {
    /// Writes a record and makes it durable.
    fn keep(&self, bytes: &[u8]) -> Result<Record, VolumeError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let gone = VolumeError::Gone;
        let place = Hour::new(1).zip(Serial::new(number)).map(|(hour, serial)| Place { hour, serial }).ok_or(gone)?;
        let mut appending = Appending::new(place);
        let frames: Vec<_> = bytes.chunks(MAX_PAYLOAD).map(|frame| (0, frame.to_vec())).collect();
        self.volumes.append(&mut appending, &frames)?;
        appending.sync()?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.stored.lock().push(Stored { place, extents: appending.extents(0), size });
        Ok(Record { name: format!("records/{number}"), ..Record::default() })
    }

    /// The next message of a rank, and the position after it.
    fn next_message(&self, cursor: Cursor) -> Result<Option<(FetchRecordsResponse, Cursor)>, VolumeError> {
        let Cursor { mut position, step } = cursor;
        let (mut items, mut bytes) = (Vec::new(), 0_u64);
        while bytes < MESSAGE_BYTES {
            let Some(stored) = usize::try_from(position).ok().and_then(|at| self.stored.lock().get(at).cloned()) else { break };
            let data = Bytes::from_owner(self.volumes.read(stored.place, 0, &stored.extents)?);
            bytes = bytes.saturating_add(stored.size);
            items.push(Item {
                position,
                record_token: vec![0; 16],
                content: Some(Content::Chunk(Chunk {
                    part: 0,
                    category: Category::FaceImage.into(),
                    media_type: "image/jpeg".to_owned(),
                    size_bytes: stored.size,
                    offset: 0,
                    data,
                })),
                last: true,
            });
            position = position.saturating_add(step);
        }
        let message = FetchRecordsResponse { release_sequence: 0, next_position: position, items };
        Ok((!message.items.is_empty()).then_some((message, Cursor { position, step })))
    }
}

#[derive(Clone, Copy)]
struct Cursor {
    position: u64,
    step: u64,
}

/// Runs what blocks off the async threads, as the vault does.
async fn off<T: Send + 'static>(work: impl FnOnce() -> Result<T, VolumeError> + Send + 'static) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
    Ok(done.map_err(io::Error::other)?)
}

/// The one call that the twin has of a service.
trait Call: Clone + Send + Sync + 'static {
    const SERVICE: &'static str;

    fn answer(self, request: http::Request<Body>) -> impl Future<Output = http::Response<Body>> + Send;
}

/// A call, as the transport wants it.
#[derive(Clone)]
struct Served<C>(C);

impl<C: Call> NamedService for Served<C> {
    const NAME: &'static str = C::SERVICE;
}

impl<C: Call> Service<http::Request<Body>> for Served<C> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Self(call) = self.clone();
        Box::pin(async move { Ok(call.answer(request).await) })
    }
}

#[derive(Clone)]
struct Uploads(Store);

impl Call for Uploads {
    const SERVICE: &'static str = "idvault.v1.RecordService";

    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        Grpc::new(ProstCodec::default()).client_streaming(self, request).await
    }
}

impl ClientStreamingService<UploadRecordRequest> for Uploads {
    type Response = UploadRecordResponse;
    type Future = BoxFuture<Response<UploadRecordResponse>, Status>;

    fn call(&mut self, request: Request<Streaming<UploadRecordRequest>>) -> Self::Future {
        let store = self.0.clone();
        Box::pin(async move {
            let (mut messages, mut bytes) = (request.into_inner(), Vec::new());
            while let Some(message) = messages.message().await? {
                match message.message {
                    Some(Message::Chunk(chunk)) if bytes.is_empty() => bytes = chunk,
                    Some(Message::Chunk(chunk)) => bytes.extend_from_slice(&chunk),
                    _ => {}
                }
            }
            let record = off(move || store.keep(&bytes)).await?;
            Ok(Response::new(UploadRecordResponse { record: Some(record) }))
        })
    }
}

#[derive(Clone)]
struct Fetches(Store);

impl Call for Fetches {
    const SERVICE: &'static str = "idvault.v1.TrainingService";

    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        Grpc::new(ProstCodec::default()).server_streaming(self, request).await
    }
}

impl ServerStreamingService<FetchRecordsRequest> for Fetches {
    type Response = FetchRecordsResponse;
    type ResponseStream = Messages;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<FetchRecordsRequest>) -> Self::Future {
        let store = self.0.clone();
        let FetchRecordsRequest { rank, world_size, .. } = request.into_inner();
        let begin = Cursor { position: rank.into(), step: world_size.into() };
        let messages = stream::try_unfold((store, begin), |(store, cursor)| async move {
            let reader = store.clone();
            let next = off(move || reader.next_message(cursor)).await?;
            Ok(next.map(|(message, cursor)| (message, (store, cursor))))
        });
        Box::pin(async move { Ok(packed(messages.boxed())) })
    }
}
