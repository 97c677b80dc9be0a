//! A client that speaks HTTP/2 itself: it sends an upload byte by byte and breaks it off wherever it likes.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::Request;
use idvault::proto::UploadRecordRequest;
use prost::Message;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::client::spiffe_id;

/// A connection.
pub(crate) struct Raw {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

/// An upload under way.
pub(crate) struct Upload {
    stream: SendStream<Bytes>,
    answer: ResponseFuture,
}

/// How an upload is broken off.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    /// The client resets the stream.
    Reset(Reason),
    /// The client ends the stream as if that were all.
    End,
    /// The connection is gone.
    Connection,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.unwrap();
        let (requests, connection) = h2::client::handshake(tcp).await.unwrap();
        Self { requests, connection: tokio::spawn(async move { drop(connection.await) }) }
    }

    /// Begins an upload as this caller.
    pub(crate) async fn upload(&mut self, who: &str) -> Upload {
        let request = Request::post("http://vault/idvault.v1.RecordService/UploadRecord")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("idvault-caller", spiffe_id(who));
        self.requests = self.requests.clone().ready().await.unwrap();
        let (answer, stream) = self.requests.send_request(request.body(()).unwrap(), false).unwrap();
        Upload { stream, answer }
    }

    /// Breaks an upload off.
    pub(crate) async fn cut(self, upload: Upload, how: Cut) {
        let Upload { mut stream, answer } = upload;
        match how {
            Cut::Reset(reason) => stream.send_reset(reason),
            Cut::End => stream.send_data(Bytes::new(), true).unwrap_or_default(),
            Cut::Connection => self.connection.abort(),
        }
        // Of an end the vault takes notice by an answer.
        drop(answer.await);
    }
}

impl Upload {
    /// Sends bytes; `false` when the vault wants no more of them.
    pub(crate) async fn send(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            self.stream.reserve_capacity(bytes.len());
            let capacity = std::future::poll_fn(|cx| self.stream.poll_capacity(cx)).await;
            let Some(Ok(capacity)) = capacity else { return false };
            let (now, rest) = bytes.split_at(capacity.min(bytes.len()));
            if self.stream.send_data(Bytes::copy_from_slice(now), false).is_err() {
                return false;
            }
            bytes = rest;
        }
        true
    }
}

/// The messages as they are on the wire, each after its length.
pub(crate) fn wire(messages: &[UploadRecordRequest]) -> Vec<Bytes> {
    let framed = |message: &UploadRecordRequest| {
        let mut bytes = BytesMut::new();
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
        message.encode(&mut bytes).unwrap();
        bytes.freeze()
    };
    messages.iter().map(framed).collect()
}
