//! `idvault tenant create`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgGroup;

use super::Metadata;
use super::keys::KeyFiles;
use crate::cli::client::{Client, Failure, Options};
use crate::cli::consent::{DEFAULT_KID, Key};
use crate::proto::tenant_service_client::TenantServiceClient;
use crate::proto::{CreateTenantRequest, MetadataPolicy, Tenant};

#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("first_keys").args(["jwks", "new_key"]).required(true)))]
#[command(group(ArgGroup::new("keys_to_prove").args(["jwks"]).requires("proof")))]
pub(in crate::cli) struct Create {
    /// Its id: 1 to 63 of a-z, 0-9 and -
    tenant: String,
    #[command(flatten)]
    keys: KeyFiles,
    /// Make its receipt key and prove it: the private key goes into this file, which only you can read
    #[arg(long, value_name = "FILE", requires = "vault")]
    new_key: Option<PathBuf>,
    /// The vault's id, which the proof of a new key names
    #[arg(long, value_name = "ID", requires = "new_key")]
    vault: Option<String>,
    /// How many days its records live, 1 to 30
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    retention_days: u32,
    /// What happens to metadata in its images
    #[arg(long, value_enum, default_value_t = Metadata::Strip)]
    metadata: Metadata,
    #[command(flatten)]
    client: Options,
}

impl Create {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let given = self.keys.read()?;
        let client = Client::connect(self.client).await?;
        let (jwks, jwks_proofs) = match (self.new_key, self.vault) {
            (Some(path), Some(vault)) => {
                let key = Key::make(&path, DEFAULT_KID)?;
                (key.jwks().to_string(), vec![key.prove(&vault, &self.tenant)])
            }
            _ => given.unwrap_or_default(),
        };
        let tenant = Tenant {
            jwks,
            jwks_proofs,
            retention_days: self.retention_days,
            metadata_policy: MetadataPolicy::from(self.metadata).into(),
            ..Tenant::default()
        };
        let request = client.request(CreateTenantRequest { tenant_id: self.tenant, tenant: Some(tenant) });
        let answer = TenantServiceClient::new(client.channel.clone()).create_tenant(request).await?;
        client.show(answer.into_inner().tenant.as_ref())
    }
}
