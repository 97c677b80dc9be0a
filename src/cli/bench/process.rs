//! A vault in a process of its own: to be weighed, timed and killed.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::load::{DOMAIN, Load, VAULT};
use super::refused;
use super::wire::{End, Wire};
use crate::cli::EX_TEMPFAIL;
use crate::cli::client::Failure;

/// How long a vault may take to serve, and how often it is asked.
const PATIENCE: Duration = Duration::from_mins(5);
const PAUSE: Duration = Duration::from_millis(5);
/// How long a vault that was just closed may keep another from its directory.
const LETTING_GO: Duration = Duration::from_secs(5);

/// A vault that runs.
pub(super) struct Process {
    child: Child,
    end: End,
}

impl Process {
    /// Starts a vault on the data in `home`, and returns it with the time until it served.
    pub(super) async fn start(home: &Path, load: &Load) -> Result<(Self, Duration), Failure> {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(refused)?;
        let config = format!(
            "[vault]\nid = \"{VAULT}\"\n[server]\nlisten = \"{address}\"\ndata_dir = {}\n[root.file]\nallow_copies = true\n[trust]\ndomain = \"{DOMAIN}\"\n[log]\nlevel = \"error\"\n",
            serde_json::Value::from(home.join("data").display().to_string()),
        );
        let path = home.join("idvault.toml");
        std::fs::write(&path, config).map_err(|error| Failure::file(&path, &error))?;
        let program = std::env::current_exe().map_err(refused)?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(&path).arg("--insecure-loopback").stdout(Stdio::null()).stderr(Stdio::null());
        let (first, end) = (load.elapsed()?, End { address, wire: Wire::Plain });
        loop {
            let begin = load.elapsed()?;
            let mut process = Self { child: command.spawn().map_err(refused)?, end: end.clone() };
            let ended = process.serves(load, begin).await?;
            let time = load.elapsed()?.saturating_sub(begin);
            match ended {
                None => return Ok((process, time)),
                // Whoever had the vault before lets go of it a moment later.
                Some(status) if status.code() == Some(EX_TEMPFAIL.into()) && begin.saturating_sub(first) < LETTING_GO => {}
                Some(status) => return Err(Failure::refused(format!("the vault ended: {status}"))),
            }
        }
    }

    /// Waits until it serves, or has ended.
    async fn serves(&mut self, load: &Load, begin: Duration) -> Result<Option<ExitStatus>, Failure> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.end.address)).map_err(refused)?;
        while load.elapsed()?.saturating_sub(begin) < PATIENCE {
            if let Some(status) = self.child.try_wait().map_err(refused)? {
                return Ok(Some(status));
            }
            if let Ok(channel) = endpoint.connect().await {
                let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
                if answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving) {
                    return Ok(None);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Failure::refused("the vault did not come to serve"))
    }

    pub(super) fn end(&self) -> &End {
        &self.end
    }

    /// The most memory that it had resident so far, in MiB.
    pub(super) fn peak_rss_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
    }

    /// Asks it to end, and waits until it has.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        if let Some(process) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(process, Signal::TERM).map_err(refused)?;
        }
        let status = self.child.wait().map_err(refused)?;
        if status.success() { Ok(()) } else { Err(Failure::refused(format!("the vault ended: {status}"))) }
    }

    /// Kills it.
    pub(super) fn kill(mut self) -> Result<(), Failure> {
        self.child.kill().and_then(|()| self.child.wait()).map(drop).map_err(refused)
    }
}

impl Drop for Process {
    /// A bench that is cut short leaves nobody running.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}
