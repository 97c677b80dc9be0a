//! The vault's end: shows its certificate, demands one of the client, and reads its files anew when they change.
//!
//! A client's certificate is judged in every connection: no session is resumed, no early data taken. Open connections go on with
//! what they began with.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Credentials, Files, H2, TlsError, VERSIONS, Wall, identity, provider};
use crate::domain::ids::{Identity, TrustDomain};

/// The server's end of connections.
#[expect(missing_debug_implementations, reason = "holds a private key")]
pub struct Server {
    files: Files,
    domain: TrustDomain,
    current: Mutex<Current>,
}

/// A connection, and who is at its other end.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: TlsStream<TcpStream>,
    /// Whom the client's certificate names. None: it names nobody, more than one, or somebody of another trust domain.
    pub identity: Option<Identity>,
}

/// What was last read and could be used, and how the files looked when they were last read.
struct Current {
    config: Arc<ServerConfig>,
    stamps: [Option<Stamp>; 3],
}

/// What tells a file from what it was before: another device or inode, another size, a later change.
#[derive(PartialEq, Eq)]
struct Stamp {
    place: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

impl Server {
    /// A server with what is in these files, for clients of this trust domain.
    ///
    /// # Errors
    /// When the files cannot be used.
    pub fn new(files: Files, domain: TrustDomain) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let current = Mutex::new(Current { config: config(&files)?, stamps });
        Ok(Self { files, domain, current })
    }

    /// Greets a client.
    ///
    /// # Errors
    /// When it hangs up, speaks another protocol, or has no certificate that the authority signed and that is in force.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Accepted> {
        let stream = TlsAcceptor::from(self.config()).accept(stream).await?;
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(H2) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the client does not ask for HTTP/2"));
        }
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let identity = certificate.and_then(|certificate| identity::of(certificate, &self.domain));
        Ok(Accepted { stream, identity })
    }

    /// What new connections begin with. The files are looked at each time, which costs far less than the handshake that follows,
    /// and read when they have changed; while they cannot be used, what was read before stands.
    fn config(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock();
        let stamps = stamps(&self.files);
        if stamps != current.stamps {
            current.stamps = stamps;
            match config(&self.files) {
                Ok(config) => {
                    tracing::info!("certificates were read anew");
                    current.config = config;
                }
                Err(error) => tracing::error!(%error, "changed certificates cannot be used: the earlier ones stay"),
            }
        }
        Arc::clone(&current.config)
    }
}

fn config(files: &Files) -> Result<Arc<ServerConfig>, TlsError> {
    let Credentials { authorities, chain, key } = files.read()?;
    let clients = WebPkiClientVerifier::builder_with_provider(authorities, provider()).build();
    let clients = clients.map_err(|_| TlsError::Empty(files.authorities.clone()))?;
    let config = ServerConfig::builder_with_details(provider(), Wall::new()?)
        .with_protocol_versions(VERSIONS)
        .map(|config| config.with_client_cert_verifier(clients))
        .and_then(|config| config.with_single_cert(chain, key));
    let mut config = config.map_err(|error| files.unusable(error))?;
    config.alpn_protocols = vec![H2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// How the files look. None for one that is not there.
fn stamps(files: &Files) -> [Option<Stamp>; 3] {
    let stamp = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        let (place, changed) = ((found.dev(), found.ino()), (found.ctime(), found.ctime_nsec()));
        Some(Stamp { place, size: found.size(), changed })
    };
    [&files.authorities, &files.chain, &files.key].map(|path| stamp(path))
}
