//! Connections whose streams stay open: uploads that stop halfway, and fetches of which nothing is taken.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::FutureExt;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use idvault::proto::{FetchRecordsRequest, FetchRecordsResponse, UploadRecordRequest};
use prost::Message;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::client::spiffe_id;
use crate::raw::wire;

/// A stream's window, that of clients which say nothing of theirs; a connection's is larger than all of its streams take.
const WINDOW: u32 = 65_535;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// A connection.
pub(crate) struct Line {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

/// A call under way.
pub(crate) struct Call {
    stream: SendStream<Bytes>,
    answer: ResponseFuture,
}

/// A fetch under way.
pub(crate) struct Fetch {
    stream: RecvStream,
    received: Vec<u8>,
}

impl Line {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let mut builder = Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
        let (requests, connection) = builder.handshake(tcp).await.unwrap();
        Self { requests, connection: tokio::spawn(async move { drop(connection.await) }) }
    }

    /// Begins a call as this caller.
    async fn call(&mut self, method: &str, who: &str) -> Call {
        let request = Request::post(format!("http://vault/idvault.v1.{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("idvault-caller", spiffe_id(who));
        self.requests = self.requests.clone().ready().await.unwrap();
        let (answer, stream) = self.requests.send_request(request.body(()).unwrap(), false).unwrap();
        Call { stream, answer }
    }

    /// Begins an upload as this tenant.
    pub(crate) async fn upload(&mut self, who: &str) -> Call {
        self.call("RecordService/UploadRecord", who).await
    }

    /// Opens a fetch.
    pub(crate) async fn fetch(&mut self, who: &str, request: &FetchRecordsRequest) -> Fetch {
        let mut call = self.call("TrainingService/FetchRecords", who).await;
        assert!(call.send(&framed(request), true).await);
        let stream = call.answer.await.unwrap().into_body();
        Fetch { stream, received: Vec::new() }
    }

    /// Drops the connection with all that goes on over it.
    pub(crate) async fn drop(self) {
        self.connection.abort();
        drop(self.connection.await);
    }
}

impl Call {
    /// Sends bytes, the last of them if `is_end`; false when the vault wants no more.
    pub(crate) async fn send(&mut self, mut bytes: &[u8], is_end: bool) -> bool {
        while !bytes.is_empty() {
            self.stream.reserve_capacity(bytes.len());
            let capacity = std::future::poll_fn(|cx| self.stream.poll_capacity(cx)).await;
            let Some(Ok(capacity)) = capacity else { return false };
            let (now, rest) = bytes.split_at(capacity.min(bytes.len()));
            if self.stream.send_data(Bytes::copy_from_slice(now), is_end && rest.is_empty()).is_err() {
                return false;
            }
            bytes = rest;
        }
        true
    }

    /// The status that it was answered with, if it was.
    pub(crate) fn answered(&mut self) -> Option<String> {
        let answer: Response<RecvStream> = (&mut self.answer).now_or_never()?.unwrap();
        Some(status_of(answer.headers()).expect("an answer without a body is a refusal"))
    }

    /// Ends the call, unless the vault has ended it, and waits for its status.
    pub(crate) async fn finish(mut self) -> String {
        drop(self.stream.send_data(Bytes::new(), true));
        let (head, mut body) = self.answer.await.unwrap().into_parts();
        while body.data().await.is_some() {}
        let trailers = body.trailers().await.unwrap();
        status_of(&head.headers).or(trailers.as_ref().and_then(status_of)).unwrap()
    }

    /// Breaks the call off.
    pub(crate) fn reset(mut self) {
        self.stream.send_reset(Reason::CANCEL);
    }
}

impl Fetch {
    /// Waits until as much has come as the window lets through; nothing of it is given back.
    pub(crate) async fn fill_window(&mut self) {
        while self.received.len() < usize::try_from(WINDOW).unwrap() {
            self.received.extend_from_slice(&self.stream.data().await.unwrap().unwrap());
        }
    }

    /// Reads the rest of the stream: its messages.
    pub(crate) async fn read_all(mut self) -> Vec<FetchRecordsResponse> {
        let flow = self.stream.flow_control().clone();
        let give_back = |length| flow.clone().release_capacity(length).unwrap();
        give_back(self.received.len());
        while let Some(data) = self.stream.data().await {
            let data = data.unwrap();
            give_back(data.len());
            self.received.extend_from_slice(&data);
        }
        let (mut rest, mut messages) = (&self.received[..], Vec::new());
        while let Some((head, behind)) = rest.split_first_chunk::<5>() {
            let length = u32::from_be_bytes(*head.last_chunk().unwrap());
            let (message, behind) = behind.split_at(usize::try_from(length).unwrap());
            messages.push(FetchRecordsResponse::decode(message).unwrap());
            rest = behind;
        }
        messages
    }
}

/// The messages of an upload up to the middle of the first chunk.
pub(crate) fn half(messages: &[UploadRecordRequest]) -> Vec<u8> {
    let wire = wire(messages);
    let chunk = &wire[2];
    [&wire[0][..], &wire[1], &chunk[..chunk.len() / 2]].concat()
}

/// A message after its length.
pub(crate) fn framed(message: &impl Message) -> Vec<u8> {
    let length = u32::try_from(message.encoded_len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message.encode_to_vec()].concat()
}

fn status_of(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("grpc-status")?.to_str().unwrap().to_owned())
}
