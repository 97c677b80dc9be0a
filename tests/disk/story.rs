//! What happens to a vault while its system calls are recorded, and when its client asked for what and was told what.

use std::future::Future;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use idvault::proto::{Consent, CreateRecordRequest, GetConsentRequest, Record, RegisterConsentRequest, TrainingJob};

use crate::client::Client;
use crate::expected::{Expected, job, upload};
use crate::server::{Clock, eventually};
use crate::stream::{Epoch, whole};
use crate::world::{Provider, snapshot};

/// A client of the recorded vault, and all that it was told.
pub(crate) struct Story {
    trace: PathBuf,
    told: Vec<Told>,
    pub(crate) clock: Clock,
    acme: Provider,
}

/// Something that the client asked for and was told, by how long the trace was at both times. The kernel lets a traced call
/// return only after strace has written it down.
struct Told {
    asked: u64,
    answered: u64,
    what: What,
}

enum What {
    Job(TrainingJob),
    Upload(u64, CreateRecordRequest, Record),
    Gone(u64),
    Consent(Consent),
    Time(DateTime<Utc>),
}

/// What a vault must hold if the history ends at some moment.
#[derive(Default)]
pub(crate) struct Held {
    expected: Expected,
    job: Option<TrainingJob>,
    /// Each consent as it may be, if it must be there.
    consents: Vec<(String, Vec<Consent>)>,
    now: DateTime<Utc>,
}

impl Story {
    /// Nothing yet of a vault whose calls strace writes to `trace`.
    pub(crate) fn new(trace: PathBuf, clock: Clock) -> Self {
        let time = Told { asked: 0, answered: 0, what: What::Time(clock.now()) };
        Self { trace, told: vec![time], clock, acme: Provider::new("acme") }
    }

    fn traced(&self) -> u64 {
        std::fs::metadata(&self.trace).map_or(0, |trace| trace.len())
    }

    async fn told<T>(&self, call: impl Future<Output = T>, what: impl FnOnce(T) -> What) -> Told {
        let asked = self.traced();
        let answer = call.await;
        Told { asked, answered: self.traced(), what: what(answer) }
    }

    async fn upload(&self, client: &Client, mark: u64, size: usize) -> Told {
        // One lives for two hours only.
        let short = (mark == 0).then(|| self.clock.now().timestamp() / 3600 * 3600 + 2 * 3600);
        let request = upload(&self.acme, mark, size, &self.clock, short);
        self.told(self.acme.send(client, request.clone()), |record| What::Upload(mark, request, record.unwrap())).await
    }

    fn record(&self, wanted: u64) -> Record {
        let record = self.told.iter().find_map(|told| {
            let What::Upload(mark, _, record) = &told.what else { return None };
            (*mark == wanted).then_some(record)
        });
        record.unwrap().clone()
    }

    async fn shred(&mut self, client: &Client, mark: u64) {
        let record = self.record(mark);
        let told = self.told(self.acme.shred(client, &record), |destroyed| {
            assert_eq!(destroyed.unwrap().record_count, 1);
            What::Gone(mark)
        });
        let told = told.await;
        self.told.push(told);
    }

    async fn withdraw(&mut self, client: &Client, mark: u64) {
        let record = self.record(mark);
        let mut consent = None;
        let told = self.told(self.acme.withdraw(client, &record, &[]), |answer| {
            consent = answer.unwrap().consent;
            What::Gone(mark)
        });
        let told = told.await;
        let withdrawn = Told { what: What::Consent(consent.unwrap()), ..told };
        self.told.extend([told, withdrawn]);
    }

    async fn register(&mut self, client: &Client) {
        let receipt = self.acme.sign(&self.acme.claims(self.clock.now()));
        let request = RegisterConsentRequest { parent: self.acme.name(), receipt };
        let mut consents = client.consents(&self.acme.caller());
        let register = consents.register_consent(request);
        let told = self.told(register, |answer| What::Consent(answer.unwrap().into_inner().consent.unwrap())).await;
        self.told.push(told);
    }

    fn pass(&mut self, time: TimeDelta) {
        let asked = self.traced();
        self.clock.advance(time);
        self.told.push(Told { asked, answered: asked, what: What::Time(self.clock.now()) });
    }

    /// What happens to a new vault, until it is killed.
    pub(crate) async fn begin(&mut self, client: &Client) {
        self.acme.create(client).await;
        let job = self.told(job(client, &self.acme, &self.clock), What::Job).await;
        self.told.push(job);
        // The fourth takes several frames.
        for (mark, size) in [(0, 5_000), (1, 300), (2, 9_000), (3, 1_200_000)] {
            let told = self.upload(client, mark, size).await;
            self.told.push(told);
        }
        self.register(client).await;
        let job = self.told.iter().find_map(|told| if let What::Job(job) = &told.what { Some(job) } else { None });
        let list = snapshot(client, job.unwrap()).await;
        assert_eq!(Epoch::read(client, whole(&list)).await.unwrap().positions.len(), 4);
        self.shred(client, 1).await;
        self.withdraw(client, 2).await;
        let at_once = [(4, 20_000), (5, 100), (6, 5_000)].map(|(mark, size)| Box::pin(self.upload(client, mark, size)));
        let told = futures_util::future::join_all(at_once).await;
        self.told.extend(told);
    }

    /// What happens to it after its next start: an hour ends, then a day.
    pub(crate) async fn go_on(&mut self, client: &Client, data: &Path) {
        let told = self.upload(client, 7, 5_000).await;
        self.told.push(told);
        self.shred(client, 3).await;
        self.pass(TimeDelta::hours(3));
        let count = |folder: &str| std::fs::read_dir(data.join(folder)).unwrap().count();
        eventually(async || count("volumes") == 1).await;
        self.pass(TimeDelta::days(1));
        // A dump, a checkpoint, and the segment of the run before goes.
        eventually(async || count("ledger/journal") == 1).await;
        self.register(client).await;
        let told = self.upload(client, 8, 5_000).await;
        self.told.push(told);
        self.withdraw(client, 4).await;
    }

    /// What a vault must hold if the history ends when the trace is so long.
    pub(crate) fn held(&self, moment: u64) -> Held {
        let mut held = Held::default();
        for Told { answered, what, .. } in self.told.iter().filter(|told| told.asked <= moment) {
            let answered = *answered <= moment;
            let Expected { alive, gone, open } = &mut held.expected;
            match what {
                What::Job(job) => held.job = answered.then(|| job.clone()),
                What::Upload(mark, request, record) if answered => drop(alive.insert(*mark, (request.clone(), record.clone()))),
                What::Upload(mark, request, _) => drop(open.insert(*mark, request.clone())),
                What::Gone(mark) => {
                    let (request, record) = alive.remove(mark).unwrap();
                    if answered {
                        gone.insert(*mark, record);
                    } else {
                        open.insert(*mark, request);
                    }
                }
                What::Consent(consent) => held.consent(consent, answered),
                What::Time(now) => held.now = *now,
            }
        }
        held
    }
}

impl Held {
    fn consent(&mut self, consent: &Consent, answered: bool) {
        match self.consents.iter_mut().find(|(name, _)| *name == consent.name) {
            Some((_, known)) if answered => *known = vec![consent.clone()],
            Some((_, known)) => known.push(consent.clone()),
            None if answered => self.consents.push((consent.name.clone(), vec![consent.clone()])),
            None => {}
        }
    }

    /// The clock of a vault that is opened now.
    pub(crate) fn clock(&mut self, path: PathBuf) -> Clock {
        let mut clock = Clock::new(path);
        clock.set(self.now);
        self.expected.expire(&clock);
        clock
    }

    /// Checks a vault that has just begun to serve.
    pub(crate) async fn check(&self, client: &Client, acme: &Provider) {
        // Before there is a job there is nothing but perhaps the tenant.
        let Some(job) = &self.job else { return };
        self.expected.check(client, acme, job).await;
        for (name, known) in &self.consents {
            let request = GetConsentRequest { name: name.clone() };
            let found = client.consents(&acme.caller()).get_consent(request).await.unwrap().into_inner().consent.unwrap();
            assert!(known.contains(&found), "{found:?}");
        }
    }
}
