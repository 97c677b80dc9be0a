//! Where the root of all keys is: the sections `[root]`.

use std::path::PathBuf;

use serde::Deserialize;

/// `[root]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RootSettings {
    /// Which custody it is in.
    pub custody: CustodyName,
    /// Of a root in a file.
    pub file: RootFile,
    /// Of a root in a token.
    pub pkcs11: Option<RootPkcs11>,
    /// Of a root on a key server.
    pub transit: Option<RootTransit>,
}

/// The custodies there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CustodyName {
    /// A file.
    #[default]
    File,
    /// A hardware token.
    Pkcs11,
    /// The transit engine of a key server.
    Transit,
}

/// `[root.file]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RootFile {
    /// The file. Without, it is in the vault's directory.
    pub path: Option<PathBuf>,
    /// Whether it may be where copies of overwritten blocks are kept.
    pub allow_copies: bool,
}

/// `[root.pkcs11]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootPkcs11 {
    /// The library that speaks to the token.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// A file with the user's PIN.
    pub pin_file: PathBuf,
    /// What this vault's roots are labelled with, and those of no other vault.
    pub label: Option<String>,
}

/// `[root.transit]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootTransit {
    /// The server: `https://host:port`.
    pub address: String,
    /// Where the engine is mounted.
    #[serde(default = "default_mount")]
    pub mount: String,
    /// What the names of this vault's keys begin with, and of no other vault's.
    pub prefix: String,
    /// A file with the token.
    pub token_file: PathBuf,
    /// The authority of the server's certificate.
    pub ca: Option<PathBuf>,
}

fn default_mount() -> String {
    "transit".to_owned()
}
