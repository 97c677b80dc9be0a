//! Every setting, parsed into values that are valid from then on. The only reader of the vault's configuration file; nothing is
//! read from the environment, and no default starts a vault without encryption, identity or a root.
//!
//! `idvault.example.toml` shows each setting with its unit and default.

mod root;

pub use root::{CustodyName, RootFile, RootPkcs11, RootSettings, RootTransit};

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, de};

use crate::domain::ids::{Identity, TrustDomain, VaultId};

/// How long open calls may go on after a SIGTERM.
const DEFAULT_DRAIN: TimeDelta = TimeDelta::seconds(10);
/// By how much the wall's lead over elapsed time may grow in a day and be believed.
const DEFAULT_MAX_JUMP: TimeDelta = TimeDelta::hours(1);
/// How long the machine may be off and its wall be believed.
const DEFAULT_MAX_GAP: TimeDelta = TimeDelta::days(7);
/// For how long a wall is doubted before it is believed.
const DEFAULT_GRACE: TimeDelta = TimeDelta::hours(24);

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not a valid configuration.
    #[error("{path}: {error}")]
    Invalid {
        /// Which.
        path: PathBuf,
        /// Where and why.
        error: toml::de::Error,
    },
    /// An identity is not one of the trust domain.
    #[error("roles.{role}: {uri:?} {rule}")]
    Role {
        /// Which role.
        role: &'static str,
        /// What stands there.
        uri: String,
        /// What it must be.
        rule: String,
    },
}

/// The configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The vault's id: the `aud` of its receipts.
    pub vault: VaultId,
    /// Where it listens and keeps its data.
    pub server: Server,
    /// Where the server's certificates are. Without, callers are whoever they say they are.
    pub tls: Option<Tls>,
    /// The trust domain of all callers.
    pub trust_domain: TrustDomain,
    /// Who has which role.
    pub roles: Roles,
    /// Where the root of all keys is.
    pub root: RootSettings,
    /// Directories with copies of the keyring, of no use without the root.
    pub mirrors: Vec<PathBuf>,
    /// How far clocks are believed.
    pub clock: ClockLimits,
    /// What is logged, and how.
    pub log: Log,
}

/// `[server]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address and port.
    pub listen: SocketAddr,
    /// The vault's directory.
    pub data_dir: PathBuf,
    /// How long open calls may go on after a SIGTERM.
    #[serde(default = "default_drain", deserialize_with = "span")]
    pub drain: TimeDelta,
}

/// `[tls]`: PEM files, all three or no section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate, then those between it and its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities that must have signed a client's certificate.
    pub client_ca: PathBuf,
}

/// `[roles]`, parsed.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    /// Run the vault.
    pub operator: Vec<Identity>,
    /// Ask for jobs.
    pub requester: Vec<Identity>,
    /// Approve jobs and withdraw consents.
    pub privacy_officer: Vec<Identity>,
    /// Approve jobs.
    pub model_owner: Vec<Identity>,
    /// Read the logs.
    pub auditor: Vec<Identity>,
}

/// `[clock]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockLimits {
    /// By how much the wall's greatest lead over elapsed time may grow in any 24 hours and be believed.
    #[serde(default = "default_max_jump", deserialize_with = "span")]
    pub max_jump: TimeDelta,
    /// How long the machine may be off and its wall be believed.
    #[serde(default = "default_max_gap", deserialize_with = "span")]
    pub max_gap: TimeDelta,
    /// For how long a wall is doubted before it is believed.
    #[serde(default = "default_grace", deserialize_with = "span")]
    pub grace: TimeDelta,
}

/// `[log]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The lowest level that is logged.
    #[serde(default)]
    pub level: Level,
    /// How lines look.
    #[serde(default)]
    pub format: Format,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Failures.
    Error,
    /// And what an operator should look at.
    Warn,
    /// And what the vault does.
    #[default]
    Info,
    /// And why.
    Debug,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: a JSON object a line.
    Json,
}

/// The file as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    vault: VaultSection,
    server: Server,
    tls: Option<Tls>,
    trust: TrustSection,
    #[serde(default)]
    roles: RolesSection,
    #[serde(default)]
    root: RootSettings,
    #[serde(default)]
    keyring: KeyringSection,
    #[serde(default)]
    clock: ClockLimits,
    #[serde(default)]
    log: Log,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultSection {
    #[serde(deserialize_with = "parsed")]
    id: VaultId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustSection {
    #[serde(deserialize_with = "parsed")]
    domain: TrustDomain,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct KeyringSection {
    mirrors: Vec<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RolesSection {
    operator: Vec<String>,
    requester: Vec<String>,
    privacy_officer: Vec<String>,
    model_owner: Vec<String>,
    auditor: Vec<String>,
}

impl Config {
    /// Reads the configuration file at `path`.
    ///
    /// # Errors
    /// When it cannot be read or holds something that is not valid; the message says where and what would be.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        let file: File = toml::from_str(&text).map_err(|error| ConfigError::Invalid { path: path.to_owned(), error })?;
        let domain = file.trust.domain;
        let identities = |role: &'static str, uris: Vec<String>| {
            let identity = |uri: String| {
                Identity::parse(&uri, &domain).map_err(|error| ConfigError::Role { role, uri, rule: error.to_string() })
            };
            uris.into_iter().map(identity).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            vault: file.vault.id,
            server: file.server,
            tls: file.tls,
            roles: Roles {
                operator: identities("operator", file.roles.operator)?,
                requester: identities("requester", file.roles.requester)?,
                privacy_officer: identities("privacy_officer", file.roles.privacy_officer)?,
                model_owner: identities("model_owner", file.roles.model_owner)?,
                auditor: identities("auditor", file.roles.auditor)?,
            },
            root: file.root,
            mirrors: file.keyring.mirrors,
            clock: file.clock,
            log: file.log,
            trust_domain: domain,
        })
    }
}

impl Default for ClockLimits {
    fn default() -> Self {
        Self { max_jump: DEFAULT_MAX_JUMP, max_gap: DEFAULT_MAX_GAP, grace: DEFAULT_GRACE }
    }
}

fn default_drain() -> TimeDelta {
    DEFAULT_DRAIN
}

fn default_max_jump() -> TimeDelta {
    DEFAULT_MAX_JUMP
}

fn default_max_gap() -> TimeDelta {
    DEFAULT_MAX_GAP
}

fn default_grace() -> TimeDelta {
    DEFAULT_GRACE
}

fn parsed<'de, D: Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

/// A span of time such as `90s`, `10m`, `1h` or `7d`.
fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeDelta, D::Error> {
    parse_span(&String::deserialize(deserializer)?)
        .ok_or_else(|| de::Error::custom("must be a span of time such as 90s, 10m, 1h or 7d"))
}

fn parse_span(text: &str) -> Option<TimeDelta> {
    let count = |unit: char| text.strip_suffix(unit)?.parse::<u32>().ok().map(i64::from);
    count('s')
        .and_then(TimeDelta::try_seconds)
        .or_else(|| count('m').and_then(TimeDelta::try_minutes))
        .or_else(|| count('h').and_then(TimeDelta::try_hours))
        .or_else(|| count('d').and_then(TimeDelta::try_days))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::read(file.path())
    }

    const LEAST: &str =
        "[vault]\nid = \"hk-1\"\n[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"data\"\n[trust]\ndomain = \"example.test\"\n";

    #[test]
    fn the_least_configuration_has_the_documented_defaults() {
        let config = read(LEAST).unwrap();
        assert_eq!(config.clock.max_jump, TimeDelta::hours(1));
        assert_eq!(config.clock.max_gap, TimeDelta::days(7));
        assert_eq!(config.server.drain, TimeDelta::seconds(10));
        assert_eq!((config.log.level, config.log.format), (Level::Info, Format::Text));
        assert!(config.tls.is_none());
    }

    #[test]
    fn the_example_has_every_setting_at_its_default() {
        let example = Config::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/idvault.example.toml"))).unwrap();
        assert_eq!(example.clock.max_jump, DEFAULT_MAX_JUMP);
        assert_eq!(example.clock.max_gap, DEFAULT_MAX_GAP);
        assert_eq!(example.clock.grace, DEFAULT_GRACE);
        assert_eq!(example.server.drain, DEFAULT_DRAIN);
        assert_eq!((example.log.level, example.log.format), (Level::Info, Format::Text));
        let text = include_str!("../idvault.example.toml");
        for setting in [
            "id",
            "listen",
            "data_dir",
            "drain",
            "cert",
            "key",
            "client_ca",
            "domain",
            "operator",
            "requester",
            "privacy_officer",
            "model_owner",
            "auditor",
            "custody",
            "path",
            "allow_copies",
            "module",
            "token",
            "pin_file",
            "label",
            "address",
            "mount",
            "prefix",
            "token_file",
            "ca",
            "mirrors",
            "max_jump",
            "max_gap",
            "grace",
            "level",
            "format",
        ] {
            assert!(text.lines().any(|line| line.starts_with(&format!("{setting} = "))), "{setting}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            (LEAST.replace("hk-1", "hk 1"), "must be 1 to 128 characters"),
            (LEAST.replace("listen", "lisen"), "unknown field `lisen`"),
            (LEAST.replace("127.0.0.1:0", "localhost"), "socket address"),
            (format!("{LEAST}[clock]\nmax_jump = \"1 hour\"\n"), "span of time"),
            (format!("{LEAST}[clock]\ngrace = \"never\"\n"), "span of time"),
            (format!("{LEAST}[roles]\noperator = [\"spiffe://other.test/person/olga\"]\n"), "roles.operator"),
            (format!("{LEAST}[root]\ncustody = \"tape\"\n"), "unknown variant `tape`"),
            (format!("{LEAST}[root.transit]\naddress = \"https://kms\"\n"), "missing field `prefix`"),
            (format!("{LEAST}[log]\nlevel = \"loud\"\n"), "unknown variant"),
            (String::new(), "missing field `vault`"),
            (format!("{LEAST}[tls]\n"), "missing field `cert`"),
            (format!("{LEAST}[tls]\ncert = \"c\"\nclient_ca = \"a\"\n"), "missing field `key`"),
            (format!("{LEAST}[tls]\ncert = \"c\"\nkey = \"k\"\n"), "missing field `client_ca`"),
            (format!("{LEAST}[tls]\ncert = \"c\"\nkey = \"k\"\nclient_ca = \"a\"\nversion = 1.2\n"), "unknown field `version`"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
