//! What all commands that call a vault share: which vault and as whom, how answers are shown, how refusals are told.

mod failure;
mod list;
mod output;
mod profile;
mod secure;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use prost::{Message, Name};
use serde_json::Value;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

pub(super) use failure::Failure;
pub(super) use list::{MAX_PAGE_BYTES, PAGE_SIZE};
pub(super) use output::{from_json, json_of};

use crate::tls::{self, Fault};

/// How often a vault that does not answer is tried again, and after which pause: it may be starting.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// Which vault to call and as whom, and how to show what it says
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Options {
    /// The vault's address, such as `https://vault.example.test:7443`, or without TLS `http://127.0.0.1:7443`; instead of a profile's
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Who calls, a SPIFFE id: believed by a vault without TLS, on loopback; instead of a profile's
    #[arg(long = "as", value_name = "SPIFFE-ID")]
    caller: Option<String>,
    /// The profile of the client configuration to call with
    #[arg(long, value_name = "NAME", default_value = "default")]
    profile: String,
    /// The client configuration [default: client.toml, or else ~/.config/idvault/client.toml]
    #[arg(long, value_name = "FILE")]
    client_config: Option<PathBuf>,
    /// Show answers as JSON: the protobuf mapping, with the field names of the protos and all integers as numbers
    #[arg(long)]
    json: bool,
    /// Show only the name of what the answer is about
    #[arg(long, conflicts_with = "json")]
    name: bool,
}

/// A connection to a vault, as one caller.
pub(super) struct Client {
    /// The connection.
    pub(super) channel: Channel,
    caller: Option<MetadataValue<Ascii>>,
    form: Form,
}

/// How answers are shown.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// Lines for people.
    Lines,
    /// All of it, for programs.
    Json,
    /// The name of what it is about.
    Name,
}

impl Client {
    /// Connects.
    pub(super) async fn connect(options: Options) -> Result<Self, Failure> {
        let profile = profile::find(&options)?;
        let files = profile.tls()?;
        let tls = files.as_ref().map(tls::Client::new).transpose();
        let tls = tls.map_err(|error| Failure::usage(error.to_string()).with("correct ca, cert and key of the profile"))?;
        let caller = profile.caller.map(|id| id.parse()).transpose();
        let caller =
            caller.map_err(|_| Failure::usage("the caller must be a SPIFFE id, such as spiffe://example.test/tenant/acme"))?;
        let endpoint = Channel::from_shared(profile.server.clone());
        let endpoint = endpoint.map_err(|error| Failure::usage(format!("the server {:?}: {error}", profile.server)))?;
        let channel = patiently(&endpoint, tls.as_ref()).await;
        let channel = channel.map_err(|error| Failure::unreachable(&profile.server, &error))?;
        let form = match (options.json, options.name) {
            (true, _) => Form::Json,
            (false, true) => Form::Name,
            (false, false) => Form::Lines,
        };
        Ok(Self { channel, caller, form })
    }

    /// A request of this caller.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(caller) = &self.caller {
            request.metadata_mut().insert("idvault-caller", caller.clone());
        }
        request
    }

    /// Shows an answer.
    pub(super) fn show<M: Message + Name>(&self, message: Option<&M>) -> Result<ExitCode, Failure> {
        let message =
            message.ok_or_else(|| Failure::refused("the vault's answer is empty: is this client older than the vault?"))?;
        anstream::println!("{}", self.form.text(&json_of(message)?));
        Ok(ExitCode::SUCCESS)
    }
}

impl Form {
    /// The text of an answer, without a line feed at its end. One without a name is shown whole: what it tells has happened.
    fn text(self, answer: &Value) -> String {
        match (self, answer.get("name").and_then(Value::as_str)) {
            (Self::Name, Some(name)) => name.to_owned(),
            (Self::Json, _) => format!("{answer:#}"),
            (Self::Lines | Self::Name, _) => output::lines(answer),
        }
    }
}

/// Connects, over TLS or plainly.
pub(super) async fn connect(endpoint: &Endpoint, tls: Option<&tls::Client>) -> Result<Channel, tonic::transport::Error> {
    match tls {
        Some(tls) => secure::connect(endpoint, tls).await,
        None => endpoint.connect().await,
    }
}

/// Connects; a vault that is just starting is waited for, one that refuses is not.
async fn patiently(endpoint: &Endpoint, tls: Option<&tls::Client>) -> Result<Channel, tonic::transport::Error> {
    let mut tries = 0_u32;
    loop {
        let connected = connect(endpoint, tls).await;
        tries = tries.saturating_add(1);
        match connected {
            Err(error) if tries < TRIES && Fault::in_causes_of(&error).is_none() => tokio::time::sleep(PAUSE).await,
            ended => return ended,
        }
    }
}
