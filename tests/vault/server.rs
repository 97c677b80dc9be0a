//! A vault served in this process: a directory, a port and a clock of its own, started as a test wants it.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use idvault::app::{App, BuildError, RunError, limits};
use idvault::clock::FileSource;
use idvault::config::{ClockLimits, Config, Log, RootSettings, Server as Listen};
use idvault::vault::{Blueprint, Vault};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::client::{Client, TRUST_DOMAIN, roles};
use crate::world::{Provider, VAULT_ID};

/// How often a test asks again for what is about to happen.
const TRIES: usize = 1_000_000;

/// A clock that a test moves.
#[derive(Clone)]
pub(crate) struct Clock {
    path: PathBuf,
    now: DateTime<Utc>,
}

impl Clock {
    /// A clock in the file at `path`, at the time when tests begin.
    pub(crate) fn new(path: PathBuf) -> Self {
        let mut clock = Self { path, now: DateTime::UNIX_EPOCH };
        clock.set(DateTime::from_timestamp(1_930_036_200, 0).unwrap());
        clock
    }

    /// The time that it shows.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Sets the wall; elapsed time follows its forward moves.
    pub(crate) fn set(&mut self, wall: DateTime<Utc>) {
        self.write(wall, "");
    }

    /// Sets the wall and elapsed time apart.
    pub(crate) fn set_both(&mut self, wall: DateTime<Utc>, elapsed: TimeDelta) {
        self.write(wall, &elapsed.num_seconds().to_string());
    }

    /// Moves the wall.
    pub(crate) fn advance(&mut self, by: TimeDelta) {
        self.set(self.now + by);
    }

    fn write(&mut self, wall: DateTime<Utc>, elapsed: &str) {
        let draft = self.path.with_extension("new");
        std::fs::write(&draft, format!("{}\n{elapsed}\n", wall.to_rfc3339_opts(SecondsFormat::Millis, true))).unwrap();
        std::fs::rename(&draft, &self.path).unwrap();
        self.now = wall;
    }
}

/// A running vault with one tenant.
pub(crate) struct Server {
    /// Its clock.
    pub(crate) clock: Clock,
    /// A connection to it.
    pub(crate) client: Client,
    /// Its tenant.
    pub(crate) acme: Provider,
    address: SocketAddr,
    vault: Arc<Vault>,
    shutdown: oneshot::Sender<()>,
    running: JoinHandle<Result<(), RunError>>,
    home: Arc<TempDir>,
}

impl Server {
    /// A new vault with the tenant `acme`.
    pub(crate) async fn start() -> Self {
        let server = Self::start_elapsed(None).await;
        server.acme.create(&server.client).await;
        server
    }

    /// A new vault without any tenant; its clock tells elapsed time if some is given.
    pub(crate) async fn start_elapsed(elapsed: Option<TimeDelta>) -> Self {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let mut clock = Clock::new(home.path().join("clock"));
        if let Some(elapsed) = elapsed {
            clock.set_both(clock.now(), elapsed);
        }
        Self::run(home, clock).await
    }

    /// Stops it as SIGTERM does, and starts it again.
    pub(crate) async fn restart(self) -> Self {
        let (home, clock) = self.stop().await;
        Self::run(home, clock).await
    }

    /// Stops it; its directory stays.
    pub(crate) async fn stop(self) -> (Arc<TempDir>, Clock) {
        let (home, clock, end) = self.end().await;
        end.unwrap();
        (home, clock)
    }

    /// Tells it to stop, if it has not by itself. Its directory stays; nobody holds it any more.
    pub(crate) async fn end(self) -> (Arc<TempDir>, Clock, Result<(), RunError>) {
        let Self { clock, client, vault, shutdown, running, home, .. } = self;
        drop(client);
        shutdown.send(()).unwrap_or_default();
        let end = running.await.unwrap();
        // Whoever still works for a call lets go of the vault, and with it of the directory.
        eventually(async || Arc::strong_count(&vault) == 1).await;
        drop(vault);
        (home, clock, end)
    }

    /// Starts a vault on what is in `home`.
    pub(crate) async fn run(home: Arc<TempDir>, clock: Clock) -> Self {
        Self::run_as(home, clock, |_| ()).await.unwrap()
    }

    /// Starts a vault on what is in `home`, its blueprint changed.
    pub(crate) async fn run_as(
        home: Arc<TempDir>,
        clock: Clock,
        change: impl FnOnce(&mut Blueprint),
    ) -> Result<Self, BuildError> {
        let config = config(home.path());
        let limits = limits(config.clock);
        let source = Box::new(FileSource::open(&clock.path).unwrap());
        let mut blueprint = Blueprint::new(config.vault.clone(), config.server.data_dir.clone(), source, limits);
        change(&mut blueprint);
        let app = App::build_on(config, blueprint).await?;
        let (address, vault) = (app.local_addr().unwrap(), Arc::clone(app.vault()));
        let (shutdown, stopped) = oneshot::channel();
        let running = tokio::spawn(app.run(async move { stopped.await.unwrap_or_default() }));
        let client = Client::connect(address).await.unwrap();
        Ok(Self { clock, client, acme: Provider::new("acme"), address, vault, shutdown, running, home })
    }

    /// Another connection.
    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.address).await.unwrap()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The vault itself.
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The volume files that are there. An hour may go meanwhile.
    pub(crate) fn volumes(&self) -> Vec<PathBuf> {
        let hours = std::fs::read_dir(self.data().join("volumes")).unwrap();
        let files = hours.flat_map(|hour| std::fs::read_dir(hour.unwrap().path())).flatten();
        files.filter_map(|file| Some(file.ok()?.path())).collect()
    }
}

/// The configuration of a vault in `home`.
pub(crate) fn config(home: &Path) -> Config {
    Config {
        vault: VAULT_ID.parse().unwrap(),
        server: Listen { listen: "127.0.0.1:0".parse().unwrap(), data_dir: home.join("data"), drain: TimeDelta::seconds(10) },
        tls: None,
        trust_domain: TRUST_DOMAIN.parse().unwrap(),
        roles: roles(),
        root: RootSettings::default(),
        mirrors: Vec::new(),
        clock: ClockLimits::default(),
        log: Log::default(),
    }
}

/// Copies a directory. Of a file that is replaced meanwhile the copy has the old one or the new one, and no draft.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            match std::fs::copy(entry.path(), to) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}

/// Asks until `holds`, a bounded number of times.
pub(crate) async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..TRIES {
        if holds().await {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it did not happen");
}

/// Runs all of these at once.
pub(crate) async fn together<T: Send + 'static>(all: impl IntoIterator<Item: Future<Output = T> + Send + 'static>) -> Vec<T> {
    all.into_iter().collect::<JoinSet<T>>().join_all().await
}
