//! Answers in pieces: of a message the transport gets no more at a time than it is about to send.
//!
//! hyper asks for what comes next as soon as it has handed on what came before, whether or not the client takes any. With whole
//! messages a stream that nobody reads would hold two of them, the second decided on long before it is sent. With pieces it
//! holds the rest of one, and the next is made when that has left.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::Response;
use tower::util::MapResponseLayer;

use super::packed::body_of;

/// The longest piece: what is in the transport's hands of a message.
const PIECE: usize = 128 << 10;

/// Makes every answer leave in pieces.
#[must_use]
pub fn paced_answers() -> MapResponseLayer<fn(Response<Body>) -> Response<Body>> {
    MapResponseLayer::new(|response| body_of(response).map(|body| Body::new(Paced { body, rest: Bytes::new() })))
}

/// A body that leaves in pieces.
#[derive(Debug)]
struct Paced {
    body: Body,
    /// What is left of the data that came last.
    rest: Bytes,
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}
