//! Which end refused the other, so that whoever called learns what to do.

use std::error::Error;
use std::io;

/// Why there is no connection, although somebody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server refused the client's certificate, or that it brought none.
    ClientRefused,
    /// The client does not believe the server's certificate.
    ServerUntrusted,
    /// They do not speak the same protocol.
    Protocol,
}

impl Fault {
    /// The fault among the causes of an error.
    #[must_use]
    pub fn in_causes_of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            // An IO error shows what it was made of by `get_ref` alone.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            let found = error.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref()));
            if let Some(fault) = found.map(of) {
                return Some(fault);
            }
            next = error.source();
        }
        None
    }
}

fn of(error: &rustls::Error) -> Fault {
    use rustls::AlertDescription::{HandshakeFailure, NoApplicationProtocol, ProtocolVersion};
    use rustls::Error::{AlertReceived, InvalidCertificate};
    if matches!(error, InvalidCertificate(_)) {
        return Fault::ServerUntrusted;
    }
    let AlertReceived(alert) = error else { return Fault::Protocol };
    let protocol = [HandshakeFailure, NoApplicationProtocol, ProtocolVersion].contains(alert);
    if protocol { Fault::Protocol } else { Fault::ClientRefused }
}
