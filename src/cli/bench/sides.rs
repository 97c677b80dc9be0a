//! The two sides: a vault with its server, and the twin with the same transport, each in a directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::TimeDelta;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::load::{DOMAIN, Load, RECIPIENT, REGION, TENANT, VAULT, WORKLOAD};
use super::pairs::Turn;
use super::twin;
use crate::app::{self, App, Options};
use crate::cli::client::Failure;
use crate::cli::new_uuid;
use crate::config::{ClockLimits, Config, Log, Roles, Server};
use crate::domain::category::Category;
use crate::domain::ids::{Identity, JobId};
use crate::domain::job::{ApproverRole, JobSpec};
use crate::domain::purpose::Purpose;
use crate::store::volume::{RESERVE, Volumes};
use crate::vault::Vault;

/// A server, until it is told to end. Its directory goes with it.
pub(super) struct Running {
    dir: PathBuf,
    address: SocketAddr,
    drain: oneshot::Sender<()>,
    server: JoinHandle<Result<(), Failure>>,
}

impl Running {
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn stop(self) -> Result<(), Failure> {
        drop(self.drain);
        self.server.await.map_err(|panic| Failure::refused(panic.to_string()))??;
        std::fs::remove_dir_all(&self.dir).map_err(|error| Failure::file(&self.dir, &error))
    }
}

/// A vault.
pub(super) struct VaultSide {
    running: Running,
    vault: Arc<Vault>,
}

impl VaultSide {
    /// A new vault with one tenant.
    pub(super) async fn start(dir: &Path, load: &Load) -> Result<Self, Failure> {
        let options = Options { insecure_loopback: true, clock_file: None };
        let app = App::build(config(dir)?, &options).await.map_err(refused)?;
        let vault = Arc::clone(app.vault());
        vault.create_tenant(&parsed(TENANT)?, load.tenant()).map_err(refused)?;
        let address = app.local_addr().map_err(refused)?;
        let (drain, drained) = oneshot::channel::<()>();
        let server = tokio::spawn(async move { app.run(async move { drop(drained.await) }).await.map_err(refused) });
        Ok(Self { running: Running { dir: dir.to_owned(), address, drain, server }, vault })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.running.address
    }

    pub(super) async fn stop(self) -> Result<(), Failure> {
        drop(self.vault);
        self.running.stop().await
    }

    /// A snapshot of all there is, for a job that two persons approved.
    fn snapshot(&self, load: &Load) -> Result<String, Failure> {
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
    pub(super) async fn start(dir: &Path) -> Result<Running, Failure> {
        let volumes = Volumes::open(dir.to_owned(), RESERVE).map_err(refused)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let (drain, drained) = oneshot::channel::<()>();
        let routes = twin::routes(Arc::new(volumes));
        let serving = app::serve(routes, listener, None, async move { drop(drained.await) });
        let server = tokio::spawn(async move { serving.await.map_err(refused) });
        Ok(Running { dir: dir.to_owned(), address, drain, server })
    }
}

/// Both sides, filled with the same records.
pub(super) struct Sides {
    vault: VaultSide,
    twin: Running,
    snapshot: String,
}

impl Sides {
    /// Fills a new vault and a new twin.
    pub(super) async fn filled(home: &Path, load: &Load, count: u32) -> Result<Self, Failure> {
        let work = load.work(count)?;
        let vault = VaultSide::start(&home.join("vault"), load).await?;
        load.upload(vault.address(), &work).await?;
        let twin = TwinSide::start(&home.join("twin")).await?;
        load.upload(twin.address(), &work).await?;
        let snapshot = vault.snapshot(load)?;
        Ok(Self { vault, twin, snapshot })
    }

    /// Fetches an epoch from the vault, then one from the twin.
    pub(super) async fn fetch(&self, load: &Load) -> Result<[Turn; 2], Failure> {
        let ours = load.fetch(self.vault.address(), &self.snapshot).await?;
        let theirs = load.fetch(self.twin.address(), &self.snapshot).await?;
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

fn config(dir: &Path) -> Result<Config, Failure> {
    Ok(Config {
        vault: parsed(VAULT)?,
        server: Server { listen: SocketAddr::from(([127, 0, 0, 1], 0)), data_dir: dir.to_owned(), drain: TimeDelta::seconds(9) },
        tls: None,
        trust_domain: parsed(DOMAIN)?,
        roles: Roles::default(),
        clock: ClockLimits::default(),
        log: Log::default(),
    })
}

/// What this file writes down itself.
fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| Failure::refused(format!("{text} cannot be read")))
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::refused(error.to_string())
}
