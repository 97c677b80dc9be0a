//! `idvault show`, `idvault shred` and `idvault status`: what is there, and less of it.

use std::process::ExitCode;

use super::client::{Client, Failure, Options};
use crate::proto::record_service_client::RecordServiceClient;
use crate::proto::retention_service_client::RetentionServiceClient;
use crate::proto::{GetRecordRequest, GetRetentionStatusRequest, ShredRecordRequest};

/// Which record
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// tenants/TENANT/records/RECORD
    record: String,
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
