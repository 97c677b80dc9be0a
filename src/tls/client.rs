//! A client's end: shows its certificate, and believes only a server that the authority signed for the name that was called.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Credentials, Files, H2, TlsError, VERSIONS, Wall, provider};

/// The client's end of connections.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds a private key")]
pub struct Client(TlsConnector);

impl Client {
    /// A client with what is in these files.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn new(files: &Files) -> Result<Self, TlsError> {
        let Credentials { authorities, chain, key } = files.read()?;
        let config = ClientConfig::builder_with_details(provider(), Wall::new()?)
            .with_protocol_versions(VERSIONS)
            .map(|config| config.with_root_certificates(authorities))
            .and_then(|config| config.with_client_auth_cert(chain, key));
        let mut config = config.map_err(|error| files.unusable(error))?;
        config.alpn_protocols = vec![H2.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Connects to `host`, a name or an IP address, and waits for the server's first word: it judges the client's certificate
    /// when the client already holds the handshake for done.
    ///
    /// # Errors
    /// When nobody answers, or one end refuses the other: [`super::Fault`] then says which.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<BufReader<TlsStream<TcpStream>>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let tcp = TcpStream::connect((host, port)).await?;
        tcp.set_nodelay(true)?;
        let mut stream = BufReader::new(self.0.connect(name, tcp).await?);
        if stream.fill_buf().await?.is_empty() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(stream)
    }
}
