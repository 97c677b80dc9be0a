//! A certificate authority, what it signs, and clients of every kind that meet a vault over TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use idvault::config::Tls;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Endpoint, Error, Uri};

use crate::client::{Client, spiffe_id};

/// An authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
#[derive(Clone)]
pub(crate) struct Paper {
    /// The certificate.
    pub(crate) certificate: CertificateDer<'static>,
    pem: String,
    key: Arc<KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its certificate, PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// What it signs for somebody with these names, changed.
    pub(crate) fn sign(&self, names: &[SanType], change: impl FnOnce(&mut CertificateParams)) -> Paper {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Paper { certificate: certificate.der().clone(), pem: certificate.pem(), key: Arc::new(key) }
    }

    /// What it signs for the caller `path`.
    pub(crate) fn caller(&self, path: &str) -> Paper {
        self.sign(&[uri(&spiffe_id(path))], |_| ())
    }

    /// What it signs for a server on this machine.
    pub(crate) fn server(&self) -> Paper {
        let address = SanType::IpAddress("127.0.0.1".parse().unwrap());
        self.sign(&[address], |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])
    }

    /// What a client is that trusts it, and shows this paper if any.
    pub(crate) fn trusted_by(&self, paper: Option<&Paper>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).unwrap();
        let config = config.with_root_certificates(roots);
        let mut config = match paper {
            None => config.with_no_client_auth(),
            Some(Paper { certificate, key, .. }) => {
                let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
                config.with_client_auth_cert(vec![certificate.clone()], key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// A client of the vault at `address` that shows this paper.
    pub(crate) async fn client(&self, address: SocketAddr, paper: &Paper) -> Result<Client, Error> {
        let config = self.trusted_by(Some(paper));
        let connector = tower::service_fn(move |_: Uri| {
            let config = config.clone();
            async move { greet(address, config).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
        Ok(Client::over(endpoint.connect_with_connector(connector).await?))
    }
}

impl Paper {
    /// Writes the files of a server with this certificate whose clients `authority` signs.
    pub(crate) fn write(&self, authority: &Authority, folder: &Path) -> Tls {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        Tls {
            cert: write("server.pem", self.pem.clone()),
            key: write("server.key", self.key.serialize_pem()),
            client_ca: write("ca.pem", authority.pem()),
        }
    }
}

/// A name of the kind URI.
pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// Makes a certificate one of the last century.
pub(crate) fn past(params: &mut CertificateParams) {
    (params.not_before, params.not_after) = (date_time_ymd(1990, 1, 1), date_time_ymd(1999, 12, 31));
}

/// Makes a certificate one of the next century.
pub(crate) fn future(params: &mut CertificateParams) {
    (params.not_before, params.not_after) = (date_time_ymd(2101, 1, 1), date_time_ymd(2102, 1, 1));
}

/// A client's handshake.
pub(crate) async fn greet(address: SocketAddr, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::IpAddress(address.ip().into());
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// What a server says to such a client: its first byte, or the alert by which it refuses.
pub(crate) async fn verdict(address: SocketAddr, config: ClientConfig) -> Result<u8, AlertDescription> {
    let met = async { greet(address, config).await?.read_u8().await };
    met.await.map_err(|error: std::io::Error| match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("{error:?}"),
    })
}
