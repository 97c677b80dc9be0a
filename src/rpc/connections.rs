//! Connections under TLS, as the transport takes them: each with who is at its other end.

use std::future::ready;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::{Connected, TcpIncoming};

use super::caller::Peer;
use crate::tls::{Accepted, Server};

/// How many handshakes go on at once; more clients wait to be greeted.
const MAX_HANDSHAKES: usize = 256;
/// How long a handshake may take: a client that stalls holds its place for so long.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection under TLS.
#[derive(Debug)]
pub struct Connection(Accepted);

/// The connections of a port, in the order in which their handshakes end: none waits for another's.
pub fn connections(incoming: TcpIncoming, server: Arc<Server>) -> impl Stream<Item = io::Result<Connection>> {
    greeted(incoming, server, MAX_HANDSHAKES)
}

fn greeted(incoming: TcpIncoming, server: Arc<Server>, at_once: usize) -> impl Stream<Item = io::Result<Connection>> {
    let greeted = incoming.map(move |tcp| greet(tcp, Arc::clone(&server))).buffer_unordered(at_once);
    greeted.filter_map(|connection| ready(connection.transpose()))
}

/// The connection that a handshake leads to. None when it leads to none, which concerns nobody else.
async fn greet(tcp: io::Result<TcpStream>, server: Arc<Server>) -> io::Result<Option<Connection>> {
    let greeted = tokio::time::timeout(HANDSHAKE_TIMEOUT, server.accept(tcp?)).await;
    match greeted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(accepted) => Ok(Some(Connection(accepted))),
        Err(error) => {
            tracing::debug!(%error, "a handshake failed");
            Ok(None)
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer(self.0.identity.clone())
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::tls::Files;

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_stalls_ends_and_makes_room() {
        const AT_ONCE: usize = 3;
        let dir = tempfile::tempdir().unwrap();
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (chain, key) = (dir.path().join("pem"), dir.path().join("key"));
        std::fs::write(&chain, cert.pem()).unwrap();
        std::fs::write(&key, signing_key.serialize_pem()).unwrap();
        let server = Server::new(Files { authorities: chain.clone(), chain, key }, "example.test".parse().unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = pin!(greeted(TcpIncoming::from(listener), Arc::new(server), AT_ONCE));
        let silent = async {
            let mut silent = Vec::new();
            for _ in 0..=AT_ONCE {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
            for mut client in silent {
                assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            }
        };
        tokio::select! {
            _ = connections.next() => panic!("nobody greeted"),
            () = silent => {}
        }
    }
}
