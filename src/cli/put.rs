//! `idvault put`: a check's files and attributes, under a consent.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use prost_types::Timestamp;

use super::client::{Client, Failure, Options, from_json};
use super::{category, new_uuid, read_text, wall};
use crate::proto::record_header::ConsentSource;
use crate::proto::record_service_client::RecordServiceClient;
use crate::proto::{CreateRecordRequest, InlinePart, PartHeader, RecordHeader};

/// What to upload
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The tenant that uploads
    #[arg(long)]
    tenant: String,
    /// Your name for the check, unique among its live records
    #[arg(long)]
    call_id: String,
    /// The consent receipt
    #[arg(long, value_name = "FILE", required_unless_present = "consent")]
    receipt: Option<PathBuf>,
    /// The consent, registered before: tenants/TENANT/consents/CONSENT
    #[arg(long, conflicts_with = "receipt")]
    consent: Option<String>,
    /// What the document says: JSON with the fields of the message Attributes
    #[arg(long, value_name = "FILE")]
    attributes: Option<PathBuf>,
    /// The name of this upload, a `UUIDv4`: say the one of a failed upload to try that one again
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
    /// Files with their categories, such as `FACE_IMAGE=face.jpg`
    #[arg(value_name = "CATEGORY=FILE", value_parser = parse_part)]
    parts: Vec<(String, PathBuf)>,
    #[command(flatten)]
    client: Options,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let now = wall()?;
    let consent_source = match (arguments.receipt, arguments.consent) {
        (Some(path), _) => ConsentSource::Receipt(read_text(&path)?.trim().to_owned()),
        (None, consent) => ConsentSource::Consent(consent.unwrap_or_default()),
    };
    let request_id = arguments.request_id.map_or_else(new_uuid, Ok)?;
    let header = RecordHeader {
        parent: format!("tenants/{}", arguments.tenant),
        request_id: request_id.clone(),
        call_id: arguments.call_id,
        collect_time: Some(Timestamp {
            seconds: now.timestamp(),
            nanos: i32::try_from(now.timestamp_subsec_nanos()).unwrap_or(0),
        }),
        consent_source: Some(consent_source),
    };
    let attributes = match &arguments.attributes {
        Some(path) => Some(from_json(&read_text(path)?, &path.display().to_string())?),
        None => None,
    };
    let parts = arguments.parts.iter().map(|(category, path)| read_part(category, path)).collect::<Result<_, _>>()?;
    let client = Client::connect(arguments.client).await?;
    let request = client.request(CreateRecordRequest { header: Some(header), parts, attributes });
    let answer = RecordServiceClient::new(client.channel.clone()).create_record(request).await;
    let answer = answer
        .map_err(|status| Failure::from(status).with(&format!("to try the same upload again: --request-id {request_id}")))?;
    client.show(answer.into_inner().record.as_ref())
}

fn read_part(name: &str, path: &Path) -> Result<InlinePart, Failure> {
    let data = std::fs::read(path).map_err(|error| Failure::file(path, &error))?;
    let kind = infer::get(&data).map(|kind| kind.mime_type().replace("image/heif", "image/heic"));
    let header = PartHeader {
        category: category(name)?,
        media_type: kind.ok_or_else(|| Failure::usage(format!("{}: no known format", path.display())))?,
        size_bytes: u64::try_from(data.len()).unwrap_or(u64::MAX),
        crc32c: crc32c::crc32c(&data),
    };
    Ok(InlinePart { header: Some(header), data })
}

fn parse_part(text: &str) -> Result<(String, PathBuf), String> {
    let (category, path) = text.split_once('=').ok_or("must be CATEGORY=FILE, such as FACE_IMAGE=face.jpg")?;
    Ok((category.to_owned(), path.into()))
}
