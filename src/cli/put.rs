//! `idvault put`: a check's files and attributes, under a consent.

mod file;
mod upload;

use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};

use super::client::{Client, Failure, Options, from_json};
use super::{category, new_uuid, read_text, timestamp, wall};
use crate::proto::RecordHeader;
use crate::proto::record_header::ConsentSource;
use file::PartFile;
use upload::Upload;

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
    #[arg(long, value_name = "UUID", requires = "collect_time")]
    request_id: Option<String>,
    /// When the data was collected, RFC 3339 [default: now]; to try a failed upload again, what it said
    #[arg(long, value_name = "TIME")]
    collect_time: Option<DateTime<Utc>>,
    /// Files with their categories, such as `FACE_IMAGE=face.jpg`
    #[arg(value_name = "CATEGORY=FILE", value_parser = parse_part)]
    parts: Vec<(String, PathBuf)>,
    #[command(flatten)]
    client: Options,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let consent_source = match (arguments.receipt, arguments.consent) {
        (Some(path), _) => ConsentSource::Receipt(read_text(&path)?.trim().to_owned()),
        (None, consent) => ConsentSource::Consent(consent.unwrap_or_default()),
    };
    let request_id = arguments.request_id.map_or_else(new_uuid, Ok)?;
    let collect_time = arguments.collect_time.map_or_else(wall, Ok)?;
    let header = RecordHeader {
        parent: format!("tenants/{}", arguments.tenant),
        request_id: request_id.clone(),
        call_id: arguments.call_id,
        collect_time: Some(timestamp(collect_time)),
        consent_source: Some(consent_source),
    };
    let attributes = match &arguments.attributes {
        Some(path) => Some(from_json(&read_text(path)?, &path.display().to_string())?),
        None => None,
    };
    let parts = arguments.parts.into_iter().map(|(name, path)| PartFile::examine(category(&name)?, path));
    let upload = Upload { header, parts: parts.collect::<Result<_, _>>()?, attributes };
    let client = Client::connect(arguments.client).await?;
    let record = upload.run(&client).await;
    let again = format!(
        "to try the same upload again: --request-id {request_id} --collect-time {}",
        collect_time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
    );
    let record = record.map_err(|failure| failure.with(&again))?;
    client.show(record.as_ref())
}

fn parse_part(text: &str) -> Result<(String, PathBuf), String> {
    let (category, path) = text.split_once('=').ok_or("must be CATEGORY=FILE, such as FACE_IMAGE=face.jpg")?;
    Ok((category.to_owned(), path.into()))
}
