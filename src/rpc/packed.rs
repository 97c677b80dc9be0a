//! Messages with files in them, given to the transport without another copy.
//!
//! prost writes a message into one buffer, its files too. Here only what stands around the files is written; the files go to the
//! transport where they are. The bytes are those of gRPC over HTTP/2 (`Length-Prefixed-Message`, `Trailers`); the order of the fields
//! in a message is not prost's, which Protocol Buffers leave open.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use http_body::Frame;
use parking_lot::Mutex;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use tonic::body::Body;
use tonic::codegen::http;
use tonic::{Response, Status};

use super::status::at_the_end;
use crate::proto::FetchRecordsResponse;
use crate::proto::fetch_records_response::Item;
use crate::proto::fetch_records_response::item::Content;

/// Numbers of fields in `training_service.proto`: the items of a message, the chunk of an item, the data of a chunk.
const ITEMS: u32 = 3;
const CHUNK: u32 = 3;
const DATA: u32 = 6;

/// The messages of an answer.
pub type Messages = BoxStream<'static, Result<FetchRecordsResponse, Status>>;

/// Carries the messages of an answer past the codec.
#[derive(Clone)]
struct Carried(Arc<Mutex<Option<Messages>>>);

/// The answer with these messages, for the transport to unpack.
#[must_use]
pub fn packed(messages: Messages) -> Response<Messages> {
    let mut response = Response::new(stream::empty().boxed());
    response.extensions_mut().insert(Carried(Arc::new(Mutex::new(Some(messages)))));
    response
}

/// The body of an answer: the messages that it carries, or what the codec made.
pub(super) fn body_of(mut response: http::Response<Body>) -> http::Response<Body> {
    let carried = response.extensions_mut().remove::<Carried>();
    match carried.and_then(|Carried(messages)| messages.lock().take()) {
        Some(messages) => response.map(|_| Body::new(Packed { messages: Some(messages), pieces: VecDeque::new() })),
        None => response,
    }
}

/// A body of messages.
struct Packed {
    /// None once they have ended.
    messages: Option<Messages>,
    /// What is left of the message that came last.
    pieces: VecDeque<Bytes>,
}

impl http_body::Body for Packed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let Some(messages) = &mut self.messages else { return Poll::Ready(None) };
            let status = match ready!(Pin::new(messages).poll_next(cx)) {
                Some(Ok(message)) => {
                    self.pieces = pack(message);
                    continue;
                }
                Some(Err(status)) => status,
                None => at_the_end(),
            };
            self.messages = None;
            let mut trailers = http::HeaderMap::new();
            return Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.messages.is_none() && self.pieces.is_empty()
    }
}

/// The bytes of a message, its files where they are.
fn pack(mut message: FetchRecordsResponse) -> VecDeque<Bytes> {
    let (mut pieces, mut around) = (VecDeque::new(), BytesMut::new());
    let length = message.encoded_len();
    // Not compressed, and how long it is.
    around.put_u8(0);
    around.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    let items = std::mem::take(&mut message.items);
    message.encode_raw(&mut around);
    for item in items {
        encode_head(ITEMS, item.encoded_len(), &mut around);
        match item {
            Item { content: Some(Content::Chunk(mut chunk)), position, record_token, last } => {
                Item { content: None, position, record_token, last }.encode_raw(&mut around);
                encode_head(CHUNK, chunk.encoded_len(), &mut around);
                let data = std::mem::take(&mut chunk.data);
                chunk.encode_raw(&mut around);
                if !data.is_empty() {
                    encode_head(DATA, data.len(), &mut around);
                    pieces.extend([around.split().freeze(), data]);
                }
            }
            other => other.encode_raw(&mut around),
        }
    }
    pieces.extend((!around.is_empty()).then(|| around.freeze()));
    pieces
}

/// What stands before a field of this length.
fn encode_head(field: u32, length: usize, out: &mut BytesMut) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(u64::try_from(length).unwrap_or(u64::MAX), out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::fetch_records_response::{Chunk, Tombstone};
    use crate::proto::{Attributes, Category};

    fn content() -> impl Strategy<Value = Option<Content>> {
        let chunk = (any::<u32>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(part, offset, data)| {
            let (category, media_type) = (Category::FaceImage.into(), "image/jpeg".to_owned());
            Content::Chunk(Chunk { part, category, media_type, size_bytes: 7, offset, data: data.into() })
        });
        let attributes = ".*".prop_map(|surname| Content::Attributes(Attributes { surname, ..Attributes::default() }));
        let gone = Just(Content::Tombstone(Tombstone::Gone.into()));
        prop::option::of(prop_oneof![4 => chunk, 1 => attributes, 1 => gone])
    }

    prop_compose! {
        fn item()(position: u64, token: Vec<u8>, content in content(), last: bool) -> Item {
            Item { position, record_token: token, content, last }
        }
    }

    proptest! {
        #[test]
        fn a_packed_message_is_the_message(release_sequence: u64, next_position: u64, items in prop::collection::vec(item(), 0..5)) {
            let message = FetchRecordsResponse { release_sequence, next_position, items };
            let files: Vec<_> = message.items.iter().filter_map(|item| match &item.content {
                Some(Content::Chunk(chunk)) if !chunk.data.is_empty() => Some(chunk.data.as_ptr()),
                _ => None,
            }).collect();
            let pieces = pack(message.clone());
            let places: Vec<_> = pieces.iter().map(|piece| piece.as_ptr()).collect();
            prop_assert!(files.iter().all(|file| places.contains(file)), "no file is copied");
            let bytes = pieces.into_iter().flatten().collect::<Vec<_>>();
            let (prefix, rest) = bytes.split_at(5);
            prop_assert_eq!(prefix, [&[0], &u32::try_from(rest.len()).unwrap().to_be_bytes()[..]].concat());
            prop_assert_eq!(FetchRecordsResponse::decode(rest).unwrap(), message);
        }
    }
}
