//! Profiles of a client: which vault, and as whom. `[profiles.NAME]` with `server`, and `ca`, `cert` and `key` or, without TLS,
//! `caller`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Failure, Options};
use crate::tls;

/// A vault and who calls it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// The vault's address.
    pub(super) server: String,
    /// The SPIFFE id to send where there is no TLS.
    pub(super) caller: Option<String>,
    /// The authorities that must have signed the vault's certificate, PEM.
    ca: Option<PathBuf>,
    /// The caller's certificate, then those between it and its authority, PEM.
    cert: Option<PathBuf>,
    /// Its private key, PEM.
    key: Option<PathBuf>,
}

impl Profile {
    /// The files to speak TLS with: all three for an `https` address, none for any other.
    pub(super) fn tls(&self) -> Result<Option<tls::Files>, Failure> {
        let secure = self.server.starts_with("https://");
        match (&self.ca, &self.cert, &self.key) {
            (None, None, None) if !secure => Ok(None),
            _ if !secure => Err(Failure::usage(format!("ca, cert and key are for TLS, and {} has none", self.server))
                .with("write https:// in the profile's server, or leave them out")),
            _ if self.caller.is_some() => Err(Failure::usage("over TLS the certificate says who calls")
                .with("leave out --as and the profile's caller; --profile chooses another certificate")),
            (Some(authorities), Some(chain), Some(key)) => {
                Ok(Some(tls::Files { authorities: authorities.clone(), chain: chain.clone(), key: key.clone() }))
            }
            _ => Err(Failure::usage(format!("{} speaks TLS: the profile must have ca, cert and key", self.server))
                .with("write them there; for trials `idvault dev-certs` makes the files")),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    profiles: BTreeMap<String, Profile>,
}

/// The profile that the options name, their own words first.
pub(super) fn find(options: &Options) -> Result<Profile, Failure> {
    let mut profile = match &options.server {
        Some(server) if options.client_config.is_none() => Profile { server: server.clone(), ..Profile::default() },
        _ => read(options)?,
    };
    if let Some(server) = &options.server {
        profile.server.clone_from(server);
    }
    if let Some(caller) = &options.caller {
        profile.caller = Some(caller.clone());
    }
    Ok(profile)
}

fn read(options: &Options) -> Result<Profile, Failure> {
    let path = match &options.client_config {
        Some(path) => path.clone(),
        None => default_path().ok_or_else(|| Failure::usage("there is no home directory: say --client-config or --server"))?,
    };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::usage(format!("{}: {error}\n  next: write a profile there, or say --server and --as", path.display()))
    })?;
    let file: File = toml::from_str(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let names = file.profiles.keys().cloned().collect::<Vec<_>>().join(", ");
    let missing = || Failure::usage(format!("{} has no profile {:?}; it has: {names}", path.display(), options.profile));
    file.profiles.get(&options.profile).cloned().ok_or_else(missing)
}

/// The file here, or else the one at home.
fn default_path() -> Option<PathBuf> {
    let here = PathBuf::from("client.toml");
    if here.exists() { Some(here) } else { Some(std::env::home_dir()?.join(".config/idvault/client.toml")) }
}
