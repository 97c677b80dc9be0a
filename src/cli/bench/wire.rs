//! How the ends of a bench are connected: plainly, or over mutual TLS with certificates of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tonic::transport::{Channel, Endpoint};

use super::refused;
use crate::cli::client::{self, Failure};
use crate::cli::dev_certs;
use crate::config::Tls;
use crate::domain::ids::TrustDomain;
use crate::tls;

/// The windows of a client that reads as fast as it can.
const WINDOW: u32 = 8 << 20;

/// What connections are made of.
#[derive(Debug, Clone)]
pub(super) enum Wire {
    Plain,
    /// TLS, with the certificates in this folder.
    Tls(PathBuf),
}

/// A server's end.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) address: SocketAddr,
    pub(super) wire: Wire,
}

impl Wire {
    /// TLS, with certificates for these callers.
    pub(super) fn tls(dir: &Path, domain: &str, callers: &[&str]) -> Result<Self, Failure> {
        dev_certs::make_for(dir, domain.parse().map_err(refused)?, callers)?;
        Ok(Self::Tls(dir.to_owned()))
    }

    /// The configuration of a server.
    pub(super) fn config(&self) -> Option<Tls> {
        let tls::Files { authorities: client_ca, chain: cert, key } = self.files("server")?;
        Some(Tls { cert, key, client_ca })
    }

    /// What accepts a server's connections.
    pub(super) fn server(&self, domain: TrustDomain) -> Result<Option<Arc<tls::Server>>, Failure> {
        let server = self.files("server").map(|files| tls::Server::new(files, domain));
        Ok(server.transpose().map_err(refused)?.map(Arc::new))
    }

    fn files(&self, name: &str) -> Option<tls::Files> {
        match self {
            Self::Plain => None,
            Self::Tls(dir) => Some(tls::Files {
                authorities: dir.join("ca.pem"),
                chain: dir.join(format!("{name}.pem")),
                key: dir.join(format!("{name}.key")),
            }),
        }
    }
}

impl End {
    /// A connection, over TLS as the caller of this name.
    pub(super) async fn connect(&self, name: &str) -> Result<Channel, Failure> {
        let files = self.wire.files(name);
        let client = files.as_ref().map(tls::Client::new).transpose().map_err(refused)?;
        let scheme = if client.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", self.address)).map_err(refused)?;
        let endpoint = endpoint.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW).tcp_nodelay(true);
        client::connect(&endpoint, client.as_ref()).await.map_err(refused)
    }
}
