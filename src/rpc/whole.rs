//! Requests that came whole: a stream of messages that was broken off must not look like one that ended.
//!
//! The transport hides the difference: hyper and tonic both end a request's body in silence when the client resets the stream
//! with CANCEL or `NO_ERROR`. An upload cut between two parts would be taken for one with fewer parts. What tells the two apart
//! is the flag `END_STREAM` (RFC 9113, section 8.1), which only a whole request has.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::codegen::http::Request;
use tower::util::MapRequestLayer;

use super::status;

/// Makes every request say whether it came whole.
#[must_use]
pub fn whole_requests() -> MapRequestLayer<fn(Request<Body>) -> Request<Body>> {
    MapRequestLayer::new(|request| request.map(|body| Body::new(Whole(body))))
}

/// A body that fails where it was broken off.
#[derive(Debug)]
struct Whole(Body);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
            None if self.0.is_end_stream() => None,
            None | Some(Err(_)) => Some(Err(status::broken_off())),
            frame => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
