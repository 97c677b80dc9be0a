//! Uploads that are cut, at any byte and in any way: nothing of them is ever seen, and nothing is left when their hour is over.

use chrono::TimeDelta;
use h2::Reason;
use idvault::proto::CreateRecordRequest;
use idvault::store::ledger::Ledger;
use idvault::store::ledger::journaled::JournaledLedger;
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::raw::{Cut, Raw, wire};
use crate::server::{Server, eventually};
use crate::streamed::{records, video};
use crate::world::{face, messages};

/// How many uploads are cut.
const CUTS: usize = 1000;
const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_stream_cancelled_between_two_parts_is_no_record() {
    let mut server = Server::start().await;
    let mut upload = server.acme.upload_face(1, 2 * MIB, server.clock.now());
    upload.parts.push(face(2, 100));
    let whole = messages(upload, MIB);
    // All of the first part comes, which for itself would be a record.
    for reason in [Reason::CANCEL, Reason::NO_ERROR] {
        let mut raw = Raw::connect(server.address()).await;
        let mut begun = raw.upload("tenant/acme").await;
        assert!(begun.send(&wire(&whole)[..4].concat()).await);
        let is_written = || server.volumes().iter().any(|volume| volume.metadata().is_ok_and(|file| file.len() > 1 << 20));
        eventually(async || is_written()).await;
        // The rest of it is taken while others are answered; then the vault waits for more.
        for _ in 0..200 {
            server.acme.status(&server.client).await;
        }
        raw.cut(begun, Cut::Reset(reason)).await;
        // A stop waits for all that is under way.
        server = server.restart().await;
        assert_eq!(records(&server, &server.client).await, [], "{reason}");
    }
    let record = server.acme.stream(&server.client, whole).await.unwrap();
    assert_eq!(record.parts.len(), 2);
    assert_eq!(records(&server, &server.client).await, [record]);
}

/// Numbers at random, and the seed that gives them again.
struct Chance {
    seed: [u8; 32],
    rng: TestRng,
}

impl Chance {
    fn new() -> Self {
        let halves = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
        Self::again(halves.map(uuid::Uuid::into_bytes).concat().try_into().unwrap())
    }

    /// The numbers of an earlier run.
    fn again(seed: [u8; 32]) -> Self {
        Self { seed, rng: TestRng::from_seed(RngAlgorithm::ChaCha, &seed) }
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.rng.next_u64() % u64::try_from(end).unwrap()).unwrap()
    }

    fn cut(&mut self, wire: &[bytes::Bytes]) -> (usize, Cut) {
        let boundaries: Vec<_> = wire.iter().scan(0, |end, message| Some(std::mem::replace(end, *end + message.len()))).collect();
        let length = wire.iter().map(bytes::Bytes::len).sum();
        // Between two messages as often as anywhere: there what was cut looks most like what was not.
        let at = if self.below(2) == 0 { boundaries[self.below(boundaries.len())] } else { self.below(length) };
        let how = match self.below(5) {
            0 => Cut::Reset(Reason::CANCEL),
            1 => Cut::Reset(Reason::NO_ERROR),
            2 => Cut::Reset(Reason::INTERNAL_ERROR),
            // Ended between two messages it may be a smaller record.
            3 if !boundaries.contains(&at) => Cut::End,
            _ => Cut::Connection,
        };
        (at, how)
    }
}

#[tokio::test]
async fn a_thousand_cuts_leave_nothing() {
    let server = Server::start().await;
    let (home, clock) = server.stop().await;
    let before = rows(&home.path().join("data"));
    let mut server = Server::run(home, clock).await;
    let mut chance = Chance::new();
    let seed = chance.seed;
    for number in 0..CUTS {
        let mut upload = server.acme.upload(server.clock.now());
        if number % 20 == 0 {
            upload.parts.push(video(2 * MIB + number));
        }
        let wire = wire(&messages(upload, 1_000 + 40 * number));
        let (mut at, how) = chance.cut(&wire);
        let (mut raw, wire) = (Raw::connect(server.address()).await, wire.concat());
        let mut upload = raw.upload("tenant/acme").await;
        if number == 0 {
            // One cut at least comes when bytes were written.
            at = wire.len() - 1;
        }
        upload.send(&wire[..at]).await;
        if number == 0 {
            eventually(async || !server.volumes().is_empty()).await;
        }
        // Cut while the vault is at work, or when it waits for more.
        for _ in 0..chance.below(8) {
            server.acme.status(&server.client).await;
        }
        raw.cut(upload, how).await;
    }
    // A stop waits for all that is under way.
    server = server.restart().await;
    assert_eq!(records(&server, &server.client).await, [], "{seed:?}");
    let status = server.acme.status(&server.client).await;
    assert_eq!((status.live_record_count, status.backlog_record_count), (0, 0), "{seed:?}");
    assert!(!server.volumes().is_empty(), "what was written stays until its hour is over");
    let upload: CreateRecordRequest = server.acme.upload(server.clock.now());
    let record = server.acme.send(&server.client, upload).await.unwrap();
    server.acme.shred(&server.client, &record).await.unwrap();
    // Beyond the hour of expiry, and the day for which requests are remembered.
    server.clock.advance(TimeDelta::days(31));
    eventually(async || server.volumes().is_empty()).await;
    let (home, _) = server.stop().await;
    let left = rows(&home.path().join("data"));
    // The consent of the one record that was and how it is found, its certificate and its token, and when all of these are due.
    let kept: Vec<_> = left.iter().filter(|row| !before.contains(row)).map(|row| char::from(row[0])).collect();
    assert!(kept.iter().all(|table| "CUFXD".contains(*table)) && kept.len() == 8, "{kept:?}: {seed:?}");
}

/// The keys of all rows of a vault that is not running.
fn rows(data: &std::path::Path) -> Vec<Vec<u8>> {
    let ledger = JournaledLedger::open(&data.join("ledger")).unwrap();
    ledger.scan(&[]).map(|row| row.unwrap().key).collect()
}
