//! Mutual TLS 1.3: what both ends read from files, how each end greets the other, and whom a certificate names.
//!
//! rustls on AWS-LC does the protocol and judges the certificates. Nothing here falls back: no earlier version, no end without a
//! certificate, no resumed session, no certificate that another authority signed.

mod client;
mod fault;
mod identity;
mod server;
mod validity;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;

pub use client::Client;
pub use fault::Fault;
pub use server::{Accepted, Server};
pub use validity::validity;

use crate::clock::{Source, SystemSource};

/// The one application protocol: HTTP/2, which gRPC is spoken over.
const H2: &[u8] = b"h2";
/// The one version.
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&TLS13];

/// Where an end of a connection has its certificates, PEM.
#[derive(Debug, Clone)]
pub struct Files {
    /// The authorities that must have signed the other end's certificate.
    pub authorities: PathBuf,
    /// The own certificate, then those between it and its authority.
    pub chain: PathBuf,
    /// The own certificate's private key: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM of what it should hold.
    #[error("{path}: {error}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: pem::Error,
    },
    /// A file that has no certificate.
    #[error("{0}: there is no certificate in it")]
    Empty(PathBuf),
    /// A certificate or a key that does not serve its purpose.
    #[error("{path}: {error}")]
    Unusable {
        /// Where it stands.
        path: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// The wall clock, by which certificates are judged, cannot be read.
    #[error("the clock: {0}")]
    Clock(#[from] io::Error),
}

/// What is in the files.
struct Credentials {
    authorities: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Files {
    fn read(&self) -> Result<Credentials, TlsError> {
        let mut authorities = RootCertStore::empty();
        for certificate in certificates(&self.authorities)? {
            authorities.add(certificate).map_err(|error| TlsError::Unusable { path: self.authorities.clone(), error })?;
        }
        let key = PrivateKeyDer::from_pem_file(&self.key);
        let key = key.map_err(|error| TlsError::Unreadable { path: self.key.clone(), error })?;
        Ok(Credentials { authorities: Arc::new(authorities), chain: certificates(&self.chain)?, key })
    }

    /// The error that the own certificate and its key make together.
    fn unusable(&self, error: rustls::Error) -> TlsError {
        TlsError::Unusable { path: self.chain.clone(), error }
    }
}

/// All certificates of a file: one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| TlsError::Unreadable { path: path.to_owned(), error })?;
    if read.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(read) }
}

/// The cryptography of a connection: hybrid X25519 with ML-KEM-768 first, since faces are worth recording for later.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The time by which certificates are judged: the machine's, as at the other end. A clock file does not move it.
#[derive(Debug)]
struct Wall(SystemSource);

impl Wall {
    fn new() -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self(SystemSource::new()?)))
    }
}

impl TimeProvider for Wall {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.read().ok()?.wall.timestamp()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
