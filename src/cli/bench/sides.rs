//! The two sides: a vault with its server, and the twin with the same transport, each in a directory of its own.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::load::{DOMAIN, Load, RECIPIENT, REGION, TENANT, VAULT, WORKLOAD};
use super::pairs::Turn;
use super::wire::{End, Wire};
use super::{files_below, refused, twin};
use crate::app::{self, App, BuildError, limits};
use crate::cli::client::Failure;
use crate::cli::new_uuid;
use crate::clock::{Reading, Source, SystemSource};
use crate::config::{ClockLimits, Config, Log, Roles, RootSettings, Server};
use crate::domain::category::Category;
use crate::domain::ids::{Identity, JobId};
use crate::domain::job::{ApproverRole, JobSpec};
use crate::domain::purpose::Purpose;
use crate::store::volume::{RESERVE, Volumes};
use crate::vault::{Blueprint, OpenError, Vault};

/// After which pause it is looked again whether a vault is closed, and how often a directory is removed again.
const PAUSE: Duration = Duration::from_millis(2);
const TRIES: u32 = 500;

/// A server, until it is told to end. Its directory goes with it.
pub(super) struct Running {
    dir: PathBuf,
    end: End,
    drain: oneshot::Sender<()>,
    server: JoinHandle<Result<(), Failure>>,
}

impl Running {
    pub(super) fn end(&self) -> &End {
        &self.end
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends it, and leaves what it stored.
    pub(super) async fn close(self) -> Result<PathBuf, Failure> {
        drop(self.drain);
        self.server.await.map_err(refused)??;
        Ok(self.dir)
    }

    pub(super) async fn stop(self) -> Result<(), Failure> {
        remove(&self.close().await?).await
    }
}

/// A vault.
pub(super) struct VaultSide {
    running: Running,
    vault: Arc<Vault>,
    ahead: Arc<AtomicI64>,
}

/// The machine's clocks, and how many seconds they are put ahead.
#[derive(Debug)]
struct Ahead {
    clocks: SystemSource,
    seconds: Arc<AtomicI64>,
}

impl Source for Ahead {
    fn read(&self) -> io::Result<Reading> {
        let Reading { wall, elapsed, boot } = self.clocks.read()?;
        let ahead = TimeDelta::seconds(self.seconds.load(Ordering::SeqCst));
        let wall = wall.checked_add_signed(ahead).unwrap_or(wall);
        Ok(Reading { wall, elapsed: elapsed.and_then(|elapsed| elapsed.checked_add(&ahead)), boot })
    }

    fn is_simulated(&self) -> bool {
        false
    }
}

impl VaultSide {
    /// A new vault with one tenant.
    pub(super) async fn start(dir: &Path, load: &Load, wire: &Wire) -> Result<Self, Failure> {
        let side = Self::open(dir, wire).await?;
        side.vault.create_tenant(&parsed(TENANT)?, load.tenant()).map_err(refused)?;
        Ok(side)
    }

    /// The vault that is in a directory.
    pub(super) async fn open(dir: &Path, wire: &Wire) -> Result<Self, Failure> {
        let ahead = Arc::new(AtomicI64::new(0));
        let mut tries = 1_u32;
        let app = loop {
            let clocks = SystemSource::new().map_err(refused)?;
            let source = Box::new(Ahead { clocks, seconds: Arc::clone(&ahead) });
            let blueprint = Blueprint::new(parsed(VAULT)?, dir.to_owned(), source, limits(ClockLimits::default()));
            match App::build_on(config(dir, wire)?, blueprint).await {
                // One that was just closed lets go of it a moment later.
                Err(BuildError::Vault(OpenError::Locked(_))) if tries < TRIES => tokio::time::sleep(PAUSE).await,
                built => break built.map_err(refused)?,
            }
            tries = tries.saturating_add(1);
        };
        let vault = Arc::clone(app.vault());
        let end = End { address: app.local_addr().map_err(refused)?, wire: wire.clone() };
        let (drain, drained) = oneshot::channel::<()>();
        let server = tokio::spawn(async move { app.run(async move { drop(drained.await) }).await.map_err(refused) });
        Ok(Self { running: Running { dir: dir.to_owned(), end, drain, server }, vault, ahead })
    }

    pub(super) fn end(&self) -> &End {
        self.running.end()
    }

    pub(super) fn dir(&self) -> &Path {
        self.running.dir()
    }

    /// Puts its clock ahead, and does what time then asks for.
    pub(super) async fn pass(&self, time: TimeDelta) -> Result<(), Failure> {
        self.ahead.fetch_add(time.num_seconds(), Ordering::SeqCst);
        let vault = Arc::clone(&self.vault);
        tokio::task::spawn_blocking(move || vault.tick()).await.map_err(refused)?.map_err(refused)
    }

    /// Closes it, and leaves what it stored.
    pub(super) async fn close(self) -> Result<PathBuf, Failure> {
        drop(self.vault);
        self.running.close().await
    }

    pub(super) async fn stop(self) -> Result<(), Failure> {
        remove(&self.close().await?).await
    }

    /// A snapshot of all there is, for a job that two persons approved.
    pub(super) fn snapshot(&self, load: &Load) -> Result<String, Failure> {
        let person = |name: &str| Identity::Person(name.to_owned());
        let now = load.now();
        let spec = JobSpec {
            purpose: Purpose::TrainFaceMatch,
            categories: vec![Category::FaceImage],
            tenants: vec![parsed(TENANT)?],
            jurisdictions: vec![parsed("SG")?],
            workloads: vec![parsed(WORKLOAD)?],
            max_records: u64::MAX,
            max_bytes: u64::MAX,
            expire_time: now.checked_add_signed(TimeDelta::days(30)).unwrap_or(now),
            legal_entity: RECIPIENT.to_owned(),
            region: REGION.to_owned(),
            model_family: String::new(),
            assessment_ref: String::new(),
            uploaded_from: None,
            uploaded_before: None,
        };
        let request = || parsed(&new_uuid()?);
        let job = self.vault.create_job(person("rita"), request()?, spec, [1; 32]).map_err(refused)?.id;
        self.approve(job)?;
        let snapshot = self.vault.create_snapshot(job, &parsed(WORKLOAD)?, request()?).map_err(refused)?;
        Ok(format!("trainingJobs/{job}/snapshots/{}", snapshot.id))
    }

    fn approve(&self, job: JobId) -> Result<(), Failure> {
        let person = |name: &str| Identity::Person(name.to_owned());
        self.vault.submit_job(job, &person("rita")).map_err(refused)?;
        for (name, role) in [("paul", ApproverRole::PrivacyOfficer), ("mona", ApproverRole::ModelOwner)] {
            self.vault.approve_job(job, person(name), role, [1; 32]).map_err(refused)?;
        }
        Ok(())
    }
}

/// The twin.
pub(super) struct TwinSide;

impl TwinSide {
    /// A new twin.
    pub(super) async fn start(dir: &Path, wire: &Wire) -> Result<Running, Failure> {
        let volumes = Volumes::open(dir.to_owned(), RESERVE).map_err(refused)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(refused)?;
        let end = End { address: listener.local_addr().map_err(refused)?, wire: wire.clone() };
        let (drain, drained) = oneshot::channel::<()>();
        let routes = twin::routes(Arc::new(volumes));
        let serving = app::serve(routes, listener, wire.server(parsed(DOMAIN)?)?, async move { drop(drained.await) });
        let server = tokio::spawn(async move { serving.await.map_err(refused) });
        Ok(Running { dir: dir.to_owned(), end, drain, server })
    }
}

/// Both sides, filled with the same records.
pub(super) struct Sides {
    vault: VaultSide,
    twin: Running,
    snapshot: String,
    wire: Wire,
}

impl Sides {
    /// Fills a new vault and a new twin.
    pub(super) async fn filled(home: &Path, load: &Load, count: u32, wire: &Wire) -> Result<Self, Failure> {
        let work = load.work(count)?;
        let vault = VaultSide::start(&home.join("vault"), load, wire).await?;
        load.upload(vault.end(), &work).await?;
        let twin = TwinSide::start(&home.join("twin"), wire).await?;
        load.upload(twin.end(), &work).await?;
        let snapshot = vault.snapshot(load)?;
        Ok(Self { vault, twin, snapshot, wire: wire.clone() })
    }

    /// Lets nothing stay in memory: the vault starts anew, and the kernel drops what it holds of the files of both.
    pub(super) async fn cool(self) -> Result<Self, Failure> {
        let Self { vault, twin, snapshot, wire } = self;
        let dir = vault.close().await?;
        drop_cached(&dir).and_then(|()| drop_cached(twin.dir())).map_err(refused)?;
        Ok(Self { vault: VaultSide::open(&dir, &wire).await?, twin, snapshot, wire })
    }

    /// Fetches an epoch from the vault, then one from the twin.
    pub(super) async fn fetch(&self, load: &Load) -> Result<[Turn; 2], Failure> {
        let ours = load.fetch(self.vault.end(), &self.snapshot).await?;
        let theirs = load.fetch(self.twin.end(), &self.snapshot).await?;
        if ours.bytes != theirs.bytes {
            return Err(Failure::refused(format!("{} bytes came from the vault, {} from its twin", ours.bytes, theirs.bytes)));
        }
        Ok([ours, theirs])
    }

    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.vault.stop().await?;
        self.twin.stop().await
    }
}

/// Removes a directory. Threads of an index that was just closed may still put a file there.
async fn remove(dir: &Path) -> Result<(), Failure> {
    let mut tries = 1_u32;
    loop {
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < TRIES => tokio::time::sleep(PAUSE).await,
            removed => return removed.map_err(|error| Failure::file(dir, &error)),
        }
        tries = tries.saturating_add(1);
    }
}

/// Has the kernel write what it holds of the files of a directory, and drop it.
fn drop_cached(dir: &Path) -> io::Result<()> {
    files_below(dir, &mut |path, _| {
        let file = std::fs::File::open(path)?;
        file.sync_all()?;
        Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
    })
}

fn config(dir: &Path, wire: &Wire) -> Result<Config, Failure> {
    Ok(Config {
        vault: parsed(VAULT)?,
        server: Server { listen: SocketAddr::from(([127, 0, 0, 1], 0)), data_dir: dir.to_owned(), drain: TimeDelta::seconds(9) },
        tls: wire.config(),
        trust_domain: parsed(DOMAIN)?,
        roles: Roles::default(),
        root: RootSettings::default(),
        mirrors: Vec::new(),
        clock: ClockLimits::default(),
        log: Log::default(),
    })
}

/// What the bench writes down itself.
fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| Failure::refused(format!("{text} cannot be read")))
}
