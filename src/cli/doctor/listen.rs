//! The address to listen on.

use std::net::{SocketAddr, TcpListener};

use super::finding::Finding;

const WHAT: &str = "address";

pub(super) fn examine(address: SocketAddr, vault_runs: bool) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(WHAT, format!("{address} can be listened on")),
        Err(error) if vault_runs => {
            Finding::warn(WHAT, format!("{address}: {error}"), "nothing, if it is the running vault that listens there")
        }
        Err(error) => Finding::fail(WHAT, format!("{address}: {error}"), "end what listens there, or correct server.listen"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade;

    #[test]
    fn a_port_that_is_taken_is_the_running_vaults_or_a_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(examine(address, false).grade, Grade::Fail);
        assert_eq!(examine(address, true).grade, Grade::Warn);
        drop(listener);
        assert_eq!(examine(address, false).grade, Grade::Ok);
    }
}
