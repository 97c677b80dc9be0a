//! `idvault consent`: receipt keys, receipts signed as a tenant signs them, and consents in the vault.

mod key;
mod receipt;

pub(super) use key::{DEFAULT_KID, Key};

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::client::{Client, Failure, MAX_PAGE_BYTES, Options, PAGE_SIZE};
use super::{purpose, read_text};
use crate::proto::consent_service_client::ConsentServiceClient;
use crate::proto::{EraseSubjectRequest, GetConsentRequest, ListConsentsRequest, RegisterConsentRequest, WithdrawConsentRequest};

/// Whom to erase
#[derive(Debug, clap::Args)]
pub(super) struct EraseArguments {
    /// The tenant
    tenant: String,
    /// The person, by the tenant's pseudonym: the `subject_ref` of their receipts
    subject: String,
    #[command(flatten)]
    client: Options,
}

/// What to do with consents
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Make a receipt key: the private key into a file, the JWK set for the tenant to standard output
    Key(key::Make),
    /// Prove that a receipt key is held, and print the proof: the vault wants one with each new key
    Prove(key::Prove),
    /// Sign a receipt and print it
    Sign(receipt::Sign),
    /// Register a receipt ahead of the uploads under it (the tenant)
    Register {
        /// The tenant that signed it
        tenant: String,
        /// The receipt
        receipt: PathBuf,
        #[command(flatten)]
        client: Options,
    },
    /// List the consents of a tenant (the tenant, or a privacy officer)
    List {
        /// The tenant
        tenant: String,
        /// Only those of this person, by the tenant's pseudonym: the `subject_ref` of their receipts
        #[arg(long)]
        subject: Option<String>,
        #[command(flatten)]
        client: Options,
    },
    /// Show a consent (the tenant, or a privacy officer)
    Show {
        /// tenants/TENANT/consents/CONSENT
        consent: String,
        #[command(flatten)]
        client: Options,
    },
    /// Take back a consent, for good: without training purposes left, its records are destroyed
    Withdraw {
        /// tenants/TENANT/consents/CONSENT
        consent: String,
        /// A purpose to take back, such as `TRAIN_LIVENESS`; several times for several, never for all
        #[arg(long)]
        purpose: Vec<String>,
        #[command(flatten)]
        client: Options,
    },
}

pub(super) async fn run(action: Action) -> Result<ExitCode, Failure> {
    match action {
        Action::Key(key) => key.run(),
        Action::Prove(prove) => prove.run(),
        Action::Sign(sign) => sign.run(),
        Action::Register { tenant, receipt, client } => {
            let receipt = read_text(&receipt)?.trim().to_owned();
            let client = Client::connect(client).await?;
            let request = client.request(RegisterConsentRequest { parent: format!("tenants/{tenant}"), receipt });
            let answer = ConsentServiceClient::new(client.channel.clone()).register_consent(request).await?;
            client.show(answer.into_inner().consent.as_ref())
        }
        Action::List { tenant, subject, client } => {
            let (parent, subject_ref) = (format!("tenants/{tenant}"), subject.unwrap_or_default());
            let client = Client::connect(client).await?;
            let mut consents = ConsentServiceClient::new(client.channel.clone()).max_decoding_message_size(MAX_PAGE_BYTES);
            let first = ListConsentsRequest { parent, subject_ref, page_size: PAGE_SIZE, ..ListConsentsRequest::default() };
            let page = async |page_token| {
                let request = client.request(ListConsentsRequest { page_token, ..first.clone() });
                let page = consents.list_consents(request).await?.into_inner();
                Ok((page.consents, page.next_page_token))
            };
            client.show_list(page).await
        }
        Action::Show { consent, client } => {
            let client = Client::connect(client).await?;
            let request = client.request(GetConsentRequest { name: consent });
            let answer = ConsentServiceClient::new(client.channel.clone()).get_consent(request).await?;
            client.show(answer.into_inner().consent.as_ref())
        }
        Action::Withdraw { consent, purpose: purposes, client } => {
            let purposes = purposes.iter().map(|name| purpose(name)).collect::<Result<_, _>>()?;
            let client = Client::connect(client).await?;
            let request = client.request(WithdrawConsentRequest { name: consent, purposes });
            let answer = ConsentServiceClient::new(client.channel.clone()).withdraw_consent(request).await?;
            client.show(Some(answer.get_ref()))
        }
    }
}

pub(super) async fn erase(arguments: EraseArguments) -> Result<ExitCode, Failure> {
    let EraseArguments { tenant, subject, client } = arguments;
    let client = Client::connect(client).await?;
    let request = client.request(EraseSubjectRequest { parent: format!("tenants/{tenant}"), subject_ref: subject });
    let answer = ConsentServiceClient::new(client.channel.clone()).erase_subject(request).await?;
    client.show(answer.into_inner().destruction.as_ref())
}
