//! A record on its way to the vault, piece by piece: one thread reads, and stays a few chunks ahead of the connection.

use std::future;
use std::iter;

use futures_util::stream::{self, Stream};
use indicatif::ProgressBar;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::file::PartFile;
use crate::cli::client::{Client, Failure};
use crate::cli::progress;
use crate::proto::record_service_client::RecordServiceClient;
use crate::proto::upload_record_request::Message;
use crate::proto::{Attributes, Record, RecordHeader, UploadRecordRequest};

/// How many pieces are read ahead: what keeps the connection busy, 1 MiB at the most.
const AHEAD: usize = 4;

/// A record to upload.
pub(super) struct Upload {
    pub(super) header: RecordHeader,
    pub(super) parts: Vec<PartFile>,
    pub(super) attributes: Option<Attributes>,
}

impl Upload {
    /// Uploads the record. A file that fails breaks the call off; a refusal that comes before the last byte counts at once.
    pub(super) async fn run(self, client: &Client) -> Result<Option<Record>, Failure> {
        let size = self.parts.iter().map(|part| part.header().size_bytes).fold(0, u64::saturating_add);
        let bar = progress::bar(size, "{bytes}/{total_bytes}, {bytes_per_sec}");
        let (sender, pieces) = mpsc::channel(AHEAD);
        let reading = tokio::task::spawn_blocking(move || self.read(&sender));
        let unreadable = async {
            match reading.await {
                Ok(Ok(())) => future::pending().await,
                Ok(Err(failure)) => failure,
                Err(_) => Failure::refused("the files could not be read to their end"),
            }
        };
        let mut records = RecordServiceClient::new(client.channel.clone());
        let outcome = tokio::select! {
            answer = records.upload_record(client.request(stream_of(pieces, bar.clone()))) => {
                answer.map(|answer| answer.into_inner().record).map_err(Failure::from)
            }
            failure = unreadable => Err(failure),
        };
        bar.finish_and_clear();
        outcome
    }

    /// Reads all pieces, until nobody wants them any more. None is the last: all was read.
    fn read(self, sender: &Sender<Option<Message>>) -> Result<(), Failure> {
        for message in self.messages() {
            if sender.blocking_send(Some(message?)).is_err() {
                return Ok(());
            }
        }
        drop(sender.blocking_send(None));
        Ok(())
    }

    /// What is sent, in its order.
    fn messages(self) -> impl Iterator<Item = Result<Message, Failure>> {
        let parts = self.parts.into_iter().flat_map(|part| {
            let header = Message::Part(part.header().clone());
            iter::once(Ok(header)).chain(part.chunks().map(|chunk| chunk.map(Message::Chunk)))
        });
        let attributes = self.attributes.map(|attributes| Ok(Message::Attributes(attributes)));
        iter::once(Ok(Message::Header(self.header))).chain(parts).chain(attributes)
    }
}

/// The stream of a call. It ends only when all was read: a record that breaks off between two parts must not look whole.
fn stream_of(pieces: Receiver<Option<Message>>, bar: ProgressBar) -> impl Stream<Item = UploadRecordRequest> {
    stream::unfold((pieces, bar), |(mut pieces, bar)| async {
        match pieces.recv().await {
            Some(Some(message)) => {
                if let Message::Chunk(bytes) = &message {
                    bar.inc(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                }
                Some((UploadRecordRequest { message: Some(message) }, (pieces, bar)))
            }
            Some(None) => None,
            None => future::pending().await,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, StreamExt};

    fn part(bytes: &[u8]) -> (tempfile::NamedTempFile, PartFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let part = PartFile::examine(1, file.path().to_owned()).unwrap();
        (file, part)
    }

    fn kind(message: &Message) -> &'static str {
        match message {
            Message::Header(_) => "header",
            Message::Part(_) => "part",
            Message::Chunk(_) => "chunk",
            Message::Attributes(_) => "attributes",
        }
    }

    #[test]
    fn header_parts_and_attributes_come_in_their_order() {
        let long = [&b"%PDF-1.7"[..], &vec![0; 1 << 18]].concat();
        let ((_one, one), (_two, two)) = (part(&long), part(b"%PDF-1.4"));
        let upload = Upload { header: RecordHeader::default(), parts: vec![one, two], attributes: Some(Attributes::default()) };
        let messages: Vec<_> = upload.messages().map(Result::unwrap).collect();
        let kinds: Vec<_> = messages.iter().map(kind).collect();
        assert_eq!(kinds, ["header", "part", "chunk", "chunk", "part", "chunk", "attributes"]);
    }

    #[test]
    fn a_stream_ends_only_when_all_was_read() {
        let (file, changed) = part(b"%PDF-1.7 before");
        std::fs::write(file.path(), b"%PDF-1.7 after").unwrap();
        let (_whole, whole) = part(b"%PDF-1.7");
        for (part, ends) in [(whole, true), (changed, false)] {
            let (sender, pieces) = mpsc::channel(9);
            let upload = Upload { header: RecordHeader::default(), parts: vec![part], attributes: None };
            assert_eq!(upload.read(&sender).is_ok(), ends);
            drop(sender);
            let stream = stream_of(pieces, ProgressBar::hidden());
            assert_eq!(stream.collect::<Vec<_>>().now_or_never().map(|messages| messages.len()), ends.then_some(3));
        }
    }
}
