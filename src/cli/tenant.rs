//! `idvault tenant`: who may upload, and with which receipt keys.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::client::{Client, Failure, Options};
use super::consent::{DEFAULT_KID, make_key};
use super::read_text;
use crate::proto::tenant_service_client::TenantServiceClient;
use crate::proto::{CreateTenantRequest, GetTenantRequest, MetadataPolicy, Tenant};

/// What to do with tenants
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Create a tenant (operator)
    Create(Create),
    /// Show a tenant (operator, or the tenant itself)
    Show {
        /// Its id
        tenant: String,
        #[command(flatten)]
        client: Options,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// Its id: 1 to 63 of a-z, 0-9 and -
    tenant: String,
    /// Its receipt keys, a JWK set; `idvault consent key` makes one
    #[arg(long, value_name = "FILE", required_unless_present = "new_key")]
    jwks: Option<PathBuf>,
    /// Make its receipt key: the private key goes into this file, which only you can read
    #[arg(long, value_name = "FILE", conflicts_with = "jwks")]
    new_key: Option<PathBuf>,
    /// How many days its records live, 1 to 30
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    retention_days: u32,
    /// What happens to metadata in its images
    #[arg(long, value_enum, default_value_t = Metadata::Strip)]
    metadata: Metadata,
    #[command(flatten)]
    client: Options,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Metadata {
    /// It is removed
    Strip,
    /// Files stay as they are
    Keep,
}

pub(super) async fn run(action: Action) -> Result<ExitCode, Failure> {
    match action {
        Action::Create(create) => {
            let policy = match create.metadata {
                Metadata::Strip => MetadataPolicy::Strip,
                Metadata::Keep => MetadataPolicy::Keep,
            };
            let client = Client::connect(create.client).await?;
            let jwks = match (create.jwks, create.new_key) {
                (Some(path), _) => read_text(&path)?,
                (None, path) => make_key(&path.unwrap_or_default(), DEFAULT_KID)?.to_string(),
            };
            let tenant =
                Tenant { jwks, retention_days: create.retention_days, metadata_policy: policy.into(), ..Tenant::default() };
            let request = client.request(CreateTenantRequest { tenant_id: create.tenant, tenant: Some(tenant) });
            let answer = TenantServiceClient::new(client.channel.clone()).create_tenant(request).await?;
            client.show(answer.into_inner().tenant.as_ref())
        }
        Action::Show { tenant, client } => {
            let client = Client::connect(client).await?;
            let request = client.request(GetTenantRequest { name: format!("tenants/{tenant}") });
            let answer = TenantServiceClient::new(client.channel.clone()).get_tenant(request).await?;
            client.show(answer.into_inner().tenant.as_ref())
        }
    }
}
