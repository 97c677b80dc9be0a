//! The only wiring: a configuration becomes a vault that is open and recovered, then a bound port, then a server that runs
//! until it is told to drain or the vault stops.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{self, Server};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::clock::{FileSource, Limits, Source, SystemSource};
#[cfg(feature = "pkcs11")]
use crate::config::RootPkcs11;
#[cfg(feature = "transit")]
use crate::config::RootTransit;
use crate::config::{ClockLimits, Config, CustodyName, RootFile};
use crate::keys::{self, root};
use crate::proto;
use crate::rpc::{self, Api, Callers, Proof, Role};
use crate::tls;
use crate::vault::error::Error;
use crate::vault::{Blueprint, OpenError, Vault};

/// How often the vault looks at the clock: a made-up one may jump at any moment.
const TICK: Duration = Duration::from_secs(1);
const SIMULATED_TICK: Duration = Duration::from_millis(50);
/// HTTP/2 windows and frames.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
const FRAME: u32 = 128 << 10;
/// How many calls one connection may have open.
const MAX_STREAMS: u32 = 1024;
/// After how long a connection is asked to end when its calls have: a caller then shows its certificate anew.
const MAX_CONNECTION_AGE: Duration = Duration::from_hours(1);
/// How often a silent connection is asked whether it is still there, and how long it may take to answer.
const KEEPALIVE: Duration = Duration::from_mins(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// The service names under which health says that the clock is made up, and that a backup was put back and nothing is released.
const SIMULATED: &str = "SIMULATED";
const RESTORED: &str = "RESTORED";

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The configuration asks for what this version must not do.
    #[error("{0}")]
    Refused(&'static str),
    /// The certificates cannot be used.
    #[error("[tls]: {0}")]
    Tls(#[from] tls::TlsError),
    /// The clock cannot be read.
    #[error("the clock: {0}")]
    Clock(io::Error),
    /// The vault does not open.
    #[error(transparent)]
    Vault(#[from] OpenError),
    /// A library panicked over the vault's files.
    #[error("opening the vault: {0}")]
    Panicked(String),
    /// The port cannot be bound.
    #[error("{address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
}

/// Why a server ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The vault stopped.
    #[error("the vault stopped: {0}")]
    Stopped(String),
    /// The transport failed.
    #[error("the transport: {0}")]
    Transport(#[from] transport::Error),
}

/// What is said on the command line rather than in the configuration.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Serve without TLS, on loopback.
    pub insecure_loopback: bool,
    /// A file that replaces all clocks.
    pub clock_file: Option<PathBuf>,
}

/// A server whose vault is open and recovered and whose port is bound.
#[expect(missing_debug_implementations, reason = "holds the vault")]
pub struct App {
    vault: Arc<Vault>,
    callers: Callers,
    listener: TcpListener,
    tls: Option<Arc<tls::Server>>,
    drain: Duration,
}

impl App {
    /// Opens the vault, recovers it, binds the port.
    ///
    /// # Errors
    /// See [`BuildError`]; nothing is served then.
    pub async fn build(config: Config, options: &Options) -> Result<Self, BuildError> {
        check(&config, options)?;
        let source = source(options.clock_file.as_deref()).map_err(BuildError::Clock)?;
        let blueprint = Blueprint {
            keys: keys(&config)?,
            ..Blueprint::new(config.vault.clone(), config.server.data_dir.clone(), source, limits(config.clock))
        };
        Self::build_on(config, blueprint).await
    }

    /// The same over a vault that somebody else has planned.
    ///
    /// # Errors
    /// See [`BuildError`]; nothing is served then.
    pub async fn build_on(config: Config, blueprint: Blueprint) -> Result<Self, BuildError> {
        let tls = config.tls.map(|files| {
            let files = tls::Files { authorities: files.client_ca, chain: files.cert, key: files.key };
            tls::Server::new(files, config.trust_domain.clone()).map(Arc::new)
        });
        let tls = tls.transpose()?;
        let opened = tokio::task::spawn_blocking(move || blueprint.open()).await;
        let vault = Arc::new(opened.map_err(|panic| BuildError::Panicked(panic.to_string()))??);
        let address = config.server.listen;
        let listener = TcpListener::bind(address).await.map_err(|error| BuildError::Bind { address, error })?;
        let roles = config.roles;
        let bindings = [
            (Role::Operator, roles.operator),
            (Role::Requester, roles.requester),
            (Role::PrivacyOfficer, roles.privacy_officer),
            (Role::ModelOwner, roles.model_owner),
            (Role::Auditor, roles.auditor),
        ];
        let proof = if tls.is_some() { Proof::Certificate } else { Proof::OwnWord };
        let callers = Callers::new(config.trust_domain, bindings, proof);
        Ok(Self { vault, callers, listener, tls, drain: config.server.drain.to_std().unwrap_or_default() })
    }

    /// The address that is bound.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The vault.
    #[must_use]
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// Serves until `shutdown` is done, then drains: no new calls, open ones have `drain` to end.
    ///
    /// # Errors
    /// When the vault stopped or the transport failed.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), RunError> {
        let loopback = self.local_addr().is_ok_and(|address| address.ip().is_loopback());
        let (reporter, health) = tonic_health::server::health_reporter();
        let mut routes = Api::new(Arc::clone(&self.vault), self.callers).routes().add_service(health);
        let reflection = tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(proto::DESCRIPTORS);
        if let (true, Ok(reflection)) = (loopback, reflection.build_v1()) {
            routes = routes.add_service(reflection);
        }
        let (drain, mut draining) = watch::channel(false);
        let drained = async move { drop(draining.wait_for(|draining| *draining).await) };
        let mut server = tokio::spawn(serve(routes, self.listener, self.tls, drained));
        // Until the keeper has looked at the clock.
        reporter.set_service_status("", ServingStatus::NotServing).await;
        let (said, health) = watch::channel(Health::default());
        let (running, ended) = mpsc::channel();
        let kept = Arc::clone(&self.vault);
        std::thread::spawn(move || keep(&kept, &said, &ended));
        let reporting = tokio::spawn(report(Arc::clone(&self.vault), reporter.clone(), health));
        tokio::select! {
            () = shutdown => tracing::info!("draining"),
            () = self.vault.stop().stopped() => {}
            ended = &mut server => return Ok(ended.unwrap_or(Ok(()))?),
        }
        reporter.set_service_status("", ServingStatus::NotServing).await;
        drain.send_replace(true);
        let drained = tokio::time::timeout(self.drain, &mut server).await;
        reporting.abort();
        drop(running);
        if drained.is_err() {
            tracing::warn!("calls were still open after the drain and are cut");
            server.abort();
        }
        match self.vault.stop().reason() {
            Some(reason) => Err(RunError::Stopped(reason.to_owned())),
            None => Ok(()),
        }
    }
}

/// Serves these services over the transport of a vault, until `drained` is done and all calls have ended.
///
/// # Errors
/// When the transport fails.
pub async fn serve(
    routes: Routes,
    listener: TcpListener,
    tls: Option<Arc<tls::Server>>,
    drained: impl Future<Output = ()> + Send + 'static,
) -> Result<(), transport::Error> {
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_concurrent_streams(MAX_STREAMS)
        .max_connection_age(MAX_CONNECTION_AGE)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(rpc::whole_requests())
        .layer(rpc::paced_answers())
        .add_routes(routes);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    match tls {
        Some(tls) => server.serve_with_incoming_shutdown(rpc::connections(incoming, tls), drained).await,
        None => server.serve_with_incoming_shutdown(incoming, drained).await,
    }
}

/// Refuses to serve strangers without TLS, to believe callers whom certificates could name, and to make up time for others.
fn check(config: &Config, options: &Options) -> Result<(), BuildError> {
    let loopback = config.server.listen.ip().is_loopback();
    let refusal = match (config.tls.is_some(), options.insecure_loopback) {
        (true, true) => "--insecure-loopback is for a vault without TLS: leave it out, or the section [tls]",
        (false, false) => "there is no section [tls]; without, say --insecure-loopback: callers are then who they say they are",
        (false, true) if !loopback => "server.listen is no loopback address: without [tls] this vault serves on loopback only",
        (true, false) if !loopback && options.clock_file.is_some() => {
            "--clock-file is for trials: server.listen must be loopback"
        }
        _ => return Ok(()),
    };
    Err(BuildError::Refused(refusal))
}

/// Where the keys of a vault are.
///
/// # Errors
/// See [`custody`].
pub fn keys(config: &Config) -> Result<keys::Setting, BuildError> {
    Ok(keys::Setting { root: custody(config, config.root.custody)?, mirrors: config.mirrors.clone() })
}

/// A custody of the configuration, whether or not the root is there.
///
/// # Errors
/// [`BuildError::Refused`] when the configuration has no section for it, or this build does not have it.
pub fn custody(config: &Config, name: CustodyName) -> Result<root::Setting, BuildError> {
    match name {
        CustodyName::File => {
            let RootFile { path, allow_copies } = config.root.file.clone();
            let path = path.unwrap_or_else(|| root::file::in_directory(&config.server.data_dir));
            Ok(root::Setting::File(root::file::Setting { path, allow_copies }))
        }
        #[cfg(feature = "pkcs11")]
        CustodyName::Pkcs11 => {
            let section = config.root.pkcs11.clone().ok_or(BuildError::Refused("there is no section [root.pkcs11]"))?;
            let RootPkcs11 { module, token, pin_file, label } = section;
            Ok(root::Setting::Pkcs11(root::pkcs11::Setting { module, token, pin_file, label }))
        }
        #[cfg(not(feature = "pkcs11"))]
        CustodyName::Pkcs11 => Err(BuildError::Refused("this build has no custody pkcs11: build it with --features pkcs11")),
        #[cfg(feature = "transit")]
        CustodyName::Transit => {
            let section = config.root.transit.clone().ok_or(BuildError::Refused("there is no section [root.transit]"))?;
            let RootTransit { address, mount, prefix, token_file, ca } = section;
            Ok(root::Setting::Transit(root::transit::Setting { address, mount, prefix, token_file, ca }))
        }
        #[cfg(not(feature = "transit"))]
        CustodyName::Transit => Err(BuildError::Refused("this build has no custody transit: build it with --features transit")),
    }
}

/// Where time comes from.
///
/// # Errors
/// When the clocks, or the file, cannot be read.
pub fn source(clock_file: Option<&Path>) -> io::Result<Box<dyn Source>> {
    match clock_file {
        Some(path) => {
            tracing::warn!(path = %path.display(), "SIMULATED: time comes from a file");
            Ok(Box::new(FileSource::open(path)?))
        }
        None => Ok(Box::new(SystemSource::new()?)),
    }
}

/// How far these settings believe a wall.
#[must_use]
pub fn limits(clock: ClockLimits) -> Limits {
    let ClockLimits { max_jump, max_gap, grace } = clock;
    Limits { max_jump, max_gap, grace }
}

/// How a vault is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Health {
    /// It works and trusts its clock.
    well: bool,
    /// A backup was put back, and nothing is released.
    restored: bool,
}

/// Keeps a vault: does what time asks for, in a thread of its own that no call can crowd out. Ends when the vault stops or
/// `running` is dropped at the other end.
fn keep(vault: &Vault, health: &watch::Sender<Health>, running: &Receiver<Infallible>) {
    let pause = if vault.clock().is_simulated() { SIMULATED_TICK } else { TICK };
    while vault.stop().reason().is_none() {
        let ticked = vault.tick().map_err(|error| vault.stop_if_failed(error));
        let well = ticked.is_ok() && vault.clock().times().trusted;
        let now = Health { well, restored: vault.is_restored() };
        health.send_if_modified(|said| std::mem::replace(said, now) != now);
        if running.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

/// Tells callers how the vault is, until its keeper is gone: one that ended for no reason stops the vault.
async fn report(vault: Arc<Vault>, reporter: HealthReporter, mut health: watch::Receiver<Health>) {
    if vault.clock().is_simulated() {
        reporter.set_service_status(SIMULATED, ServingStatus::Serving).await;
    }
    let mut was_restored = false;
    while health.changed().await.is_ok() {
        let Health { well, restored } = *health.borrow_and_update();
        tracing::info!(serving = well, restored, "health");
        let status = |serving| if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        reporter.set_service_status("", status(well)).await;
        was_restored |= restored;
        if was_restored {
            reporter.set_service_status(RESTORED, status(restored)).await;
        }
    }
    if vault.stop().reason().is_none() {
        vault.stop_if_failed(Error::Failed("the keeper of the vault ended".to_owned()));
    }
}
