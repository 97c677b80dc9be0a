//! `idvault releases`: who received what.

use std::process::ExitCode;

use super::client::{Client, Failure, MAX_PAGE_BYTES, Options, PAGE_SIZE};
use crate::proto::ListReleasesRequest;
use crate::proto::training_service_client::TrainingServiceClient;

/// Of what
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// trainingJobs/JOB, tenants/TENANT/records/RECORD, or tenants/TENANT with --subject
    #[arg(value_name = "NAME")]
    parent: String,
    /// The person, by the tenant's pseudonym: the `subject_ref` of their receipts
    #[arg(long)]
    subject: Option<String>,
    #[command(flatten)]
    client: Options,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let client = Client::connect(arguments.client).await?;
    let mut training = TrainingServiceClient::new(client.channel.clone()).max_decoding_message_size(MAX_PAGE_BYTES);
    let first = ListReleasesRequest {
        parent: arguments.parent,
        page_size: PAGE_SIZE,
        subject_ref: arguments.subject.unwrap_or_default(),
        ..ListReleasesRequest::default()
    };
    let page = async |page_token| {
        let request = client.request(ListReleasesRequest { page_token, ..first.clone() });
        let page = training.list_releases(request).await?.into_inner();
        Ok((page.releases, page.next_page_token))
    };
    client.show_list(page).await
}
