//! A channel over TLS.

use std::io;

use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Error, Uri};

use crate::tls::Client;

/// Connects to the host of the endpoint's address, on its port or 443.
pub(super) async fn connect(endpoint: &Endpoint, client: &Client) -> Result<Channel, Error> {
    let client = client.clone();
    let connector = tower::service_fn(move |address: Uri| {
        let client = client.clone();
        async move {
            let host = address.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
            let stream = client.connect(host, address.port_u16().unwrap_or(443)).await?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    endpoint.connect_with_connector(connector).await
}
