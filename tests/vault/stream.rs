//! Reading an epoch: a rank's stream, checked on the way for what every stream promises.

use std::collections::BTreeMap;

use idvault::proto::fetch_records_response::item::Content;
use idvault::proto::fetch_records_response::{Chunk, Item, Tombstone};
use idvault::proto::{Attributes, Category, FetchRecordsRequest, FetchRecordsResponse, Snapshot};
use tonic::{Status, Streaming};

use crate::client::{Client, WORKLOAD};

/// The whole epoch 0 of a snapshot, for one rank.
pub(crate) fn whole(snapshot: &Snapshot) -> FetchRecordsRequest {
    FetchRecordsRequest { snapshot: snapshot.name.clone(), seed: 7, world_size: 1, ..FetchRecordsRequest::default() }
}

/// What a stream said about one position.
#[derive(Default)]
pub(crate) struct Position {
    /// The record's name within the job; empty for a tombstone.
    pub(crate) token: Vec<u8>,
    /// The files by their category, each whole once the position is.
    pub(crate) parts: BTreeMap<i32, Vec<u8>>,
    /// The attributes, if any came.
    pub(crate) attributes: Option<Attributes>,
    /// What stands there instead of a record.
    pub(crate) tombstone: Option<Tombstone>,
    sizes: BTreeMap<i32, u64>,
    is_whole: bool,
}

impl Position {
    /// The face, if one came.
    pub(crate) fn face(&self) -> Option<&[u8]> {
        self.parts.get(&i32::from(Category::FaceImage)).map(Vec::as_slice)
    }

    fn take(&mut self, item: Item) {
        assert!(!self.is_whole, "an item after the last of its position");
        self.is_whole = item.last;
        match item.content.expect("an item carries something") {
            Content::Tombstone(tombstone) => {
                assert!(item.last && item.record_token.is_empty(), "a tombstone is last and names nobody");
                let tombstone = Some(Tombstone::try_from(tombstone).unwrap());
                *self = Self { tombstone, is_whole: true, ..Self::default() };
                return;
            }
            Content::Chunk(chunk) => self.append(&chunk),
            Content::Attributes(attributes) => assert!(self.attributes.replace(attributes).is_none(), "attributes twice"),
        }
        assert_eq!(item.record_token.len(), 16);
        assert!(self.token.is_empty() || self.token == item.record_token, "two records at one position");
        self.token = item.record_token;
        if self.is_whole {
            assert!(self.parts.iter().all(|(category, data)| u64::try_from(data.len()) == Ok(self.sizes[category])));
        }
    }

    fn append(&mut self, chunk: &Chunk) {
        let data = self.parts.entry(chunk.category).or_default();
        assert_eq!(u64::try_from(data.len()), Ok(chunk.offset), "a hole in a part");
        data.extend_from_slice(&chunk.data);
        self.sizes.insert(chunk.category, chunk.size_bytes);
    }
}

/// A rank's stream, as far as it was read.
pub(crate) struct Epoch {
    /// What came, by position.
    pub(crate) positions: BTreeMap<u64, Position>,
    /// Of each message: its release sequence and the positions of the records that it carried.
    pub(crate) released: Vec<(u64, Vec<u64>)>,
    /// The rank's resume point.
    pub(crate) next_position: u64,
    stream: Streaming<FetchRecordsResponse>,
    request: FetchRecordsRequest,
}

impl Epoch {
    /// Opens a stream as the job's workload.
    pub(crate) async fn open(client: &Client, request: FetchRecordsRequest) -> Result<Self, Status> {
        let stream = client.training(WORKLOAD).fetch_records(request.clone()).await?.into_inner();
        let next_position = request.start_position;
        Ok(Self { positions: BTreeMap::new(), released: Vec::new(), next_position, stream, request })
    }

    /// Opens a stream and reads it to its end.
    pub(crate) async fn read(client: &Client, request: FetchRecordsRequest) -> Result<Self, Status> {
        let mut epoch = Self::open(client, request).await?;
        epoch.read_all().await?;
        Ok(epoch)
    }

    /// Reads what is left.
    pub(crate) async fn read_all(&mut self) -> Result<(), Status> {
        while self.read_one().await? {}
        Ok(())
    }

    /// Reads one message; false at the end.
    pub(crate) async fn read_one(&mut self) -> Result<bool, Status> {
        let Some(message) = self.stream.message().await? else {
            assert!(self.positions.values().all(|position| position.is_whole), "the stream ends within a record");
            return Ok(false);
        };
        assert!(!message.items.is_empty());
        assert!(self.released.last().is_none_or(|(sequence, _)| *sequence < message.release_sequence));
        let carried = message.items.iter().filter(|item| !item.record_token.is_empty()).map(|item| item.position).collect();
        self.released.push((message.release_sequence, carried));
        for item in message.items {
            self.take(item);
        }
        assert!(message.next_position >= self.next_position, "the resume point went back");
        self.next_position = message.next_position;
        let sent = self.own(self.next_position).all(|position| self.positions.get(&position).is_some_and(|it| it.is_whole));
        assert!(sent, "the resume point is past what was sent whole");
        Ok(true)
    }

    /// The faces that came, by position.
    pub(crate) fn faces(&self) -> BTreeMap<u64, Vec<u8>> {
        self.positions.iter().filter_map(|(number, position)| Some((*number, position.face()?.to_vec()))).collect()
    }

    /// How many positions are tombstones of this kind.
    pub(crate) fn tombstones(&self, kind: Tombstone) -> usize {
        self.positions.values().filter(|position| position.tombstone == Some(kind)).count()
    }

    fn take(&mut self, item: Item) {
        let position = item.position;
        if !self.positions.contains_key(&position) {
            assert!(self.own(u64::MAX).take_while(|own| *own <= position).any(|own| own == position), "not of this rank");
            assert!(self.positions.last_key_value().is_none_or(|(last, _)| *last < position), "positions must ascend");
        }
        self.positions.entry(position).or_default().take(item);
    }

    /// The positions of this rank from its start up to `end`.
    fn own(&self, end: u64) -> impl Iterator<Item = u64> {
        let (rank, world_size) = (u64::from(self.request.rank), u64::from(self.request.world_size));
        (self.request.start_position..end).filter(move |position| position % world_size == rank)
    }
}
