//! `idvault records`, `idvault show`, `idvault shred` and `idvault status`: what is there, and less of it.

use std::process::ExitCode;

use super::client::{Client, Failure, MAX_PAGE_BYTES, Options, PAGE_SIZE};
use crate::proto::record_service_client::RecordServiceClient;
use crate::proto::retention_service_client::RetentionServiceClient;
use crate::proto::{GetRecordRequest, GetRetentionStatusRequest, ListRecordsRequest, ShredRecordRequest};

/// Which record
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// tenants/TENANT/records/RECORD
    record: String,
    #[command(flatten)]
    client: Options,
}

/// Which records
#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// The tenant
    tenant: String,
    /// Only the record of this call, by the tenant's own name for it
    #[arg(long)]
    call_id: Option<String>,
    /// Only the records of this person, by the tenant's pseudonym: the `subject_ref` of their receipts
    #[arg(long, conflicts_with = "call_id")]
    subject: Option<String>,
    #[command(flatten)]
    client: Options,
}

/// Whose records to count
#[derive(Debug, clap::Args)]
pub(super) struct StatusArguments {
    /// The tenant; without one all of them (operator, privacy officer)
    #[arg(default_value = "-")]
    tenant: String,
    #[command(flatten)]
    client: Options,
}

pub(super) async fn show(arguments: Arguments) -> Result<ExitCode, Failure> {
    let client = Client::connect(arguments.client).await?;
    let request = client.request(GetRecordRequest { name: arguments.record });
    let answer = RecordServiceClient::new(client.channel.clone()).get_record(request).await?;
    client.show(answer.into_inner().record.as_ref())
}

pub(super) async fn list(arguments: ListArguments) -> Result<ExitCode, Failure> {
    let client = Client::connect(arguments.client).await?;
    let mut records = RecordServiceClient::new(client.channel.clone()).max_decoding_message_size(MAX_PAGE_BYTES);
    let first = ListRecordsRequest {
        parent: format!("tenants/{}", arguments.tenant),
        page_size: PAGE_SIZE,
        call_id: arguments.call_id.unwrap_or_default(),
        subject_ref: arguments.subject.unwrap_or_default(),
        ..ListRecordsRequest::default()
    };
    let page = async |page_token| {
        let request = client.request(ListRecordsRequest { page_token, ..first.clone() });
        let page = records.list_records(request).await?.into_inner();
        Ok((page.records, page.next_page_token))
    };
    client.show_list(page).await
}

pub(super) async fn shred(arguments: Arguments) -> Result<ExitCode, Failure> {
    let client = Client::connect(arguments.client).await?;
    let request = client.request(ShredRecordRequest { name: arguments.record });
    let answer = RecordServiceClient::new(client.channel.clone()).shred_record(request).await?;
    client.show(answer.into_inner().destruction.as_ref())
}

pub(super) async fn status(arguments: StatusArguments) -> Result<ExitCode, Failure> {
    let client = Client::connect(arguments.client).await?;
    let request = client.request(GetRetentionStatusRequest { parent: format!("tenants/{}", arguments.tenant) });
    let answer = RetentionServiceClient::new(client.channel.clone()).get_retention_status(request).await?;
    client.show(Some(answer.get_ref()))
}
