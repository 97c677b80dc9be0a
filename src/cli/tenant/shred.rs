//! `idvault tenant shred`: all records of a tenant, destroyed by the word of two persons.

use std::process::ExitCode;
use std::time::Duration;

use crate::cli::client::{Client, Failure, Options};
use crate::cli::progress;
use crate::proto::retention_service_client::RetentionServiceClient;
use crate::proto::shred_tenant_response::State;
use crate::proto::{ShredTenantRequest, ShredTenantResponse};

/// How often it is asked how far it is.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Whose records
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Shred {
    /// The tenant's id
    tenant: String,
    /// Once two persons have asked for it, wait until nothing is left
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    client: Options,
}

impl Shred {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = Client::connect(self.client).await?;
        let name = format!("tenants/{}", self.tenant);
        let mut retention = RetentionServiceClient::new(client.channel.clone());
        let mut ask = async || -> Result<ShredTenantResponse, Failure> {
            Ok(retention.shred_tenant(client.request(ShredTenantRequest { name: name.clone() })).await?.into_inner())
        };
        let mut answer = ask().await?;
        if self.wait && answer.state() == State::Shredding {
            let all = answer.remaining_record_count;
            let bar = progress::bar(all, "{pos} of {len} records");
            while answer.state() == State::Shredding {
                bar.set_position(all.saturating_sub(answer.remaining_record_count));
                tokio::time::sleep(BETWEEN_LOOKS).await;
                answer = ask().await?;
            }
            bar.finish_and_clear();
        }
        client.show(Some(&answer))
    }
}
