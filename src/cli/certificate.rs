//! `idvault certificate`: what the vault says of what it destroyed.

use std::path::PathBuf;
use std::process::ExitCode;

use super::client::{Client, Failure, MAX_PAGE_BYTES, Options, PAGE_SIZE};
use crate::proto::retention_service_client::RetentionServiceClient;
use crate::proto::{GetCertificateRequest, ListCertificatesRequest};

/// What to do
#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// List a tenant's certificates
    List(ListArguments),
    /// Show one, and save it to be verified
    Show(ShowArguments),
}

/// Whose
#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// The tenant
    tenant: String,
    #[command(flatten)]
    client: Options,
}

/// Which
#[derive(Debug, clap::Args)]
pub(super) struct ShowArguments {
    /// tenants/TENANT/certificates/CERTIFICATE
    certificate: String,
    /// Also prove that this record is one of its: tenants/TENANT/records/RECORD
    #[arg(long)]
    record: Option<String>,
    /// Save the signed statement to this file, for `idvault verify certificate`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Save the proof of membership to this file
    #[arg(long, value_name = "FILE", requires = "record")]
    proof: Option<PathBuf>,
    #[command(flatten)]
    client: Options,
}

pub(super) async fn run(action: Action) -> Result<ExitCode, Failure> {
    match action {
        Action::List(arguments) => list(arguments).await,
        Action::Show(arguments) => show(arguments).await,
    }
}

async fn list(arguments: ListArguments) -> Result<ExitCode, Failure> {
    let client = Client::connect(arguments.client).await?;
    let mut retention = RetentionServiceClient::new(client.channel.clone()).max_decoding_message_size(MAX_PAGE_BYTES);
    let parent = format!("tenants/{}", arguments.tenant);
    let page = async |page_token| {
        let request = client.request(ListCertificatesRequest { parent: parent.clone(), page_size: PAGE_SIZE, page_token });
        let page = retention.list_certificates(request).await?.into_inner();
        Ok((page.certificates, page.next_page_token))
    };
    client.show_list(page).await
}

async fn show(arguments: ShowArguments) -> Result<ExitCode, Failure> {
    let ShowArguments { certificate, record, out, proof, client } = arguments;
    let client = Client::connect(client).await?;
    let request = client.request(GetCertificateRequest { name: certificate, record: record.unwrap_or_default() });
    let answer = RetentionServiceClient::new(client.channel.clone()).get_certificate(request).await?.into_inner();
    let save = |path: &PathBuf, text: &str| std::fs::write(path, text).map_err(|error| Failure::file(path, &error));
    if let (Some(path), Some(certificate)) = (&out, &answer.certificate) {
        save(path, &certificate.note)?;
    }
    if let (Some(path), Some(proved)) = (&proof, &answer.proof) {
        save(path, &super::verify::proof_text(proved))?;
    }
    client.show(Some(&answer))
}
