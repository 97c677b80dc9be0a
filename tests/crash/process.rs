//! The real binary on a directory, a clock file and whatever port is free.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::client::{MODEL_OWNER, OFFICER, OPERATOR, REQUESTER, TRUST_DOMAIN, spiffe_id};
use crate::world::VAULT_ID;

/// A running server.
pub(crate) struct Process {
    child: Child,
    /// Where it serves.
    pub(crate) address: SocketAddr,
    /// What it says once it serves, read to the end so that it never waits for a reader.
    log: Option<JoinHandle<Vec<String>>>,
}

/// How a server ended, and what it said.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    pub(crate) said: Vec<String>,
}

impl Process {
    /// Starts a server on `home/data` and returns when it says that it serves.
    pub(crate) fn start(home: &Path) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_idvault")), home)
    }

    /// Starts a server by a command that ends in the name of the binary.
    pub(crate) fn run(command: Command, home: &Path) -> Self {
        Self::attempt(command, home).unwrap_or_else(|end| panic!("it ended before it served: {end:#?}"))
    }

    /// The same, of a server that may end before it serves.
    pub(crate) fn attempt(mut command: Command, home: &Path) -> Result<Self, End> {
        let config = home.join("idvault.toml");
        let person = |path| format!("{:?}", spiffe_id(path));
        let roles = format!(
            "operator = [{}]\nrequester = [{}]\nprivacy_officer = [{}]\nmodel_owner = [{}]\n",
            person(OPERATOR),
            person(REQUESTER),
            person(OFFICER),
            person(MODEL_OWNER)
        );
        let server = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = \"{}\"\n[root.file]\nallow_copies = true\n",
            home.join("data").display()
        );
        let rest = format!("[trust]\ndomain = \"{TRUST_DOMAIN}\"\n[log]\nformat = \"json\"\n[roles]\n{roles}");
        std::fs::write(&config, format!("[vault]\nid = \"{VAULT_ID}\"\n[server]\n{server}{rest}")).unwrap();
        command.arg("serve").arg("--config").arg(config).arg("--insecure-loopback");
        command.arg("--clock-file").arg(home.join("clock")).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = loop {
            let Some(line) = log.next() else { return Err(End { status: child.wait().unwrap(), said }) };
            let line = line.unwrap();
            let fields = serde_json::from_str::<serde_json::Value>(&line).unwrap_or_default();
            if let Some(address) = fields.pointer("/fields/address").and_then(|address| address.as_str()) {
                break address.parse().unwrap();
            }
            said.push(line);
        };
        let log = std::thread::spawn(move || log.map_while(Result::ok).collect());
        Ok(Self { child, address, log: Some(log) })
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What its health service says.
    pub(crate) async fn health(&self) -> ServingStatus {
        let channel = Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap();
        HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap().into_inner().status()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to end, if it has not by itself, and waits until it has. Meanwhile clients hear of it.
    pub(crate) async fn end(mut self) -> End {
        Command::new("kill").arg(self.id().to_string()).stderr(Stdio::null()).status().unwrap();
        let wait = move || End { status: self.child.wait().unwrap(), said: self.log.take().unwrap().join().unwrap() };
        tokio::task::spawn_blocking(wait).await.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that fails leaves no server behind; one that was killed is gone already.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}
