//! A custody that fails within a commit: the vault stops at once and says so, and the next start loses nothing that was
//! alive and revives nothing that was gone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use idvault::app::{BuildError, RunError};
use idvault::keys::keyring::KeyringError;
use idvault::keys::root::{Custody, Evidence, Handle, Root};
use idvault::proto::EraseSubjectRequest;
use idvault::vault::OpenError;
use idvault::vault::error::Error;
use tonic::Code;

use crate::client::reason_of;
use crate::expected::{Expected, job, upload};
use crate::server::{Clock, Server, together};

/// Where a custody fails, each time after doing nothing or after doing all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    PutNothing,
    PutAll,
    SettleNothing,
    SettleAll,
}

const FAILURES: [Failure; 4] = [Failure::PutNothing, Failure::PutAll, Failure::SettleNothing, Failure::SettleAll];

/// A cell that fails once it is told to.
struct Failing {
    cell: Box<dyn Custody>,
    failure: Failure,
    is_on: Arc<AtomicBool>,
}

impl Failing {
    fn fails(&self, failure: Failure) -> io::Result<()> {
        if self.failure == failure && self.is_on.load(Ordering::SeqCst) {
            return Err(io::Error::other("the test wants it so"));
        }
        Ok(())
    }
}

impl Custody for Failing {
    fn make(&mut self, generation: u64) -> io::Result<Root> {
        self.cell.make(generation)
    }

    fn open(&self, handle: &Handle) -> io::Result<Option<Root>> {
        self.cell.open(handle)
    }

    fn put(&mut self, root: &Root) -> io::Result<()> {
        self.fails(Failure::PutNothing)?;
        self.cell.put(root)?;
        self.fails(Failure::PutAll)
    }

    fn settle(&mut self, kept: &Handle) -> io::Result<Evidence> {
        self.fails(Failure::SettleNothing)?;
        let evidence = self.cell.settle(kept)?;
        self.fails(Failure::SettleAll)?;
        Ok(evidence)
    }

    fn generations(&self) -> io::Result<Vec<u64>> {
        self.cell.generations()
    }

    fn clear(&mut self) -> io::Result<Evidence> {
        self.cell.clear()
    }

    fn describe(&self) -> Evidence {
        self.cell.describe()
    }
}

/// A vault on a new directory whose custody fails in this way once the switch is on.
async fn start(failure: Failure) -> (Server, Arc<AtomicBool>) {
    let home = Arc::new(tempfile::tempdir().unwrap());
    let clock = Clock::new(home.path().join("clock"));
    let switch = Arc::new(AtomicBool::new(false));
    let is_on = Arc::clone(&switch);
    let fail = move |cell| -> Box<dyn Custody> { Box::new(Failing { cell, failure, is_on }) };
    let server = Server::run_as(home, clock, |blueprint| blueprint.custody = Box::new(fail)).await.unwrap();
    server.acme.create(&server.client).await;
    (server, switch)
}

#[tokio::test]
async fn a_vault_whose_custody_fails_stops_and_the_next_start_finishes() {
    for failure in FAILURES {
        println!("{failure:?}");
        let (server, switch) = start(failure).await;
        let job = job(&server.client, &server.acme, &server.clock).await;
        let mut expected = Expected::default();
        for mark in 0..4 {
            let request = upload(&server.acme, mark, 5_000, &server.clock, None);
            let record = server.acme.send(&server.client, request.clone()).await.unwrap();
            expected.alive.insert(mark, (request, record));
        }
        let (_, gone) = expected.alive.remove(&0).unwrap();
        server.acme.shred(&server.client, &gone).await.unwrap();
        expected.gone.insert(0, gone);

        switch.store(true, Ordering::SeqCst);
        let uploads = (10..14).map(|mark| {
            let (client, acme) = (server.client.clone(), server.acme.clone());
            let request = upload(&acme, mark, 5_000, &server.clock, None);
            tokio::spawn(async move { (mark, request.clone(), acme.send(&client, request).await) })
        });
        let uploads: Vec<_> = uploads.collect();
        let (_, doomed) = expected.alive.remove(&1).unwrap();
        let status = server.acme.shred(&server.client, &doomed).await.unwrap_err();
        assert_eq!(reason_of(&status), (Code::Unavailable, "KEYRING_UNAVAILABLE".to_owned()));
        assert!(server.vault().stop().reason().is_some_and(|reason| reason.contains("the test wants it so")));
        assert!(matches!(server.vault().tick(), Err(Error::Stopped)));
        // It was marked before anything failed: nobody gets it again, and the next start finishes it.
        expected.gone.insert(1, doomed);
        for outcome in together(uploads).await {
            let (mark, request, answer) = outcome.unwrap();
            match answer {
                Ok(record) => drop(expected.alive.insert(mark, (request, record))),
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                    expected.open.insert(mark, request);
                }
            }
        }
        let (home, clock, end) = server.end().await;
        assert!(matches!(end, Err(RunError::Stopped(_))));

        let server = Server::run(home, clock).await;
        expected.check(&server.client, &server.acme, &job).await;
        let server = server.restart().await;
        expected.check(&server.client, &server.acme, &job).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn whatever_destroys_says_so_when_it_cannot() {
    for failure in FAILURES {
        for erases in [false, true] {
            let (server, switch) = start(failure).await;
            let request = upload(&server.acme, 7, 5_000, &server.clock, None);
            let record = server.acme.send(&server.client, request).await.unwrap();
            switch.store(true, Ordering::SeqCst);
            let mut consents = server.client.consents("tenant/acme");
            let outcome = if erases {
                let subject = server.acme.claims(server.clock.now())["subject_ref"].as_str().unwrap().to_owned();
                let erase = EraseSubjectRequest { parent: server.acme.name(), subject_ref: subject };
                consents.erase_subject(erase).await.map(drop)
            } else {
                server.acme.withdraw(&server.client, &record, &[]).await.map(drop)
            };
            assert_eq!(reason_of(&outcome.unwrap_err()), (Code::Unavailable, "KEYRING_UNAVAILABLE".to_owned()));
            let (home, clock, _) = server.end().await;
            let server = Server::run(home, clock).await;
            assert_eq!(server.acme.status(&server.client).await.live_record_count, 0, "the next start finishes it");
            server.stop().await;
        }
    }
}

#[tokio::test]
async fn a_start_whose_custody_fails_serves_nothing_and_harms_nothing() {
    for failure in FAILURES {
        let (server, _) = start(failure).await;
        let job = job(&server.client, &server.acme, &server.clock).await;
        let mut expected = Expected::default();
        let request = upload(&server.acme, 7, 5_000, &server.clock, None);
        let record = server.acme.send(&server.client, request.clone()).await.unwrap();
        expected.alive.insert(7, (request, record));
        let (home, clock) = server.stop().await;
        let is_on = Arc::new(AtomicBool::new(true));
        let fail = move |cell| -> Box<dyn Custody> { Box::new(Failing { cell, failure, is_on }) };
        let opened = Server::run_as(Arc::clone(&home), clock.clone(), |blueprint| blueprint.custody = Box::new(fail)).await;
        let Err(error) = opened else { panic!("it started") };
        let is_of_keyring =
            matches!(error, BuildError::Vault(OpenError::Keyring(KeyringError::Custody(_)) | OpenError::Recovery(_)));
        assert!(is_of_keyring && error.to_string().contains("the test wants it so"), "{error}");

        let server = Server::run(home, clock).await;
        expected.check(&server.client, &server.acme, &job).await;
        server.stop().await;
    }
}
