//! `idvault tenant`: who may upload, and with which receipt keys.

mod create;
mod keys;
mod shred;
mod update;

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::client::{Client, Failure, MAX_PAGE_BYTES, Options, PAGE_SIZE};
use crate::proto::tenant_service_client::TenantServiceClient;
use crate::proto::{GetTenantRequest, ListTenantsRequest, MetadataPolicy};

/// What to do with tenants
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Create a tenant (operator)
    Create(create::Create),
    /// Change a tenant: its keys (the tenant itself), the end of a key (either), all else (operator)
    Update(update::Update),
    /// Destroy all records of a tenant, for good: when two persons ask for it (operators and privacy officers)
    Shred(shred::Shred),
    /// List all tenants (operator)
    List {
        #[command(flatten)]
        client: Options,
    },
    /// Show a tenant (operator, or the tenant itself)
    Show {
        /// Its id
        tenant: String,
        #[command(flatten)]
        client: Options,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Metadata {
    /// It is removed
    Strip,
    /// Files stay as they are
    Keep,
}

impl From<Metadata> for MetadataPolicy {
    fn from(metadata: Metadata) -> Self {
        match metadata {
            Metadata::Strip => Self::Strip,
            Metadata::Keep => Self::Keep,
        }
    }
}

pub(super) async fn run(action: Action) -> Result<ExitCode, Failure> {
    match action {
        Action::Create(create) => create.run().await,
        Action::Update(update) => update.run().await,
        Action::Shred(shred) => shred.run().await,
        Action::List { client } => {
            let client = Client::connect(client).await?;
            let mut tenants = TenantServiceClient::new(client.channel.clone()).max_decoding_message_size(MAX_PAGE_BYTES);
            let page = async |page_token| {
                let request = client.request(ListTenantsRequest { page_size: PAGE_SIZE, page_token });
                let page = tenants.list_tenants(request).await?.into_inner();
                Ok((page.tenants, page.next_page_token))
            };
            client.show_list(page).await
        }
        Action::Show { tenant, client } => {
            let client = Client::connect(client).await?;
            let request = client.request(GetTenantRequest { name: format!("tenants/{tenant}") });
            let answer = TenantServiceClient::new(client.channel.clone()).get_tenant(request).await?;
            client.show(answer.into_inner().tenant.as_ref())
        }
    }
}
