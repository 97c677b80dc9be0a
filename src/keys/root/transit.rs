//! The root in the transit engine of a key server, OpenBao or Vault, over its HTTP API.
//!
//! A root is a key of the engine that cannot be exported or backed up in plaintext; it encrypts the key of its head, which stands
//! encrypted beside the head. Each generation has a key of its own, `<prefix>-<generation>`: a key is deleted as a whole, which leaves
//! no version of it behind and can also be said of a root whose commit did not happen. A root dies by the deletion of its key, and the
//! server must then refuse to open what it sealed. What that is worth is up to the server's storage, which the evidence names; a server
//! that keeps everything in memory is for trials.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{Method, Request, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use zeroize::Zeroizing;

use super::{Class, Custody, Evidence, Handle, Root};
use crate::crypto::secret::Secret;
use crate::domain::ids::VaultId;

/// How long the server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read: a list of keys.
const MAX_ANSWER: u64 = 1 << 20;
/// Where no TLS is needed.
const LOOPBACK: [&str; 3] = ["http://127.0.0.1:", "http://[::1]:", "http://localhost:"];
const KEY_TYPE: &str = "aes256-gcm96";

/// A key server, as it is configured.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its address: `https://host:port`, or `http://` on loopback.
    pub address: String,
    /// Where the transit engine is mounted.
    pub mount: String,
    /// What the names of keys begin with.
    pub prefix: String,
    /// A file with the token, in its first line; read for each call, so that it can be renewed.
    pub token_file: PathBuf,
    /// The authority of the server's certificate, PEM.
    pub ca: Option<PathBuf>,
}

/// A key server that can be asked.
#[derive(Debug)]
pub struct Engine {
    agent: Agent,
    setting: Setting,
    vault: VaultId,
    /// What the server says of itself: product, version, storage.
    about: String,
    class: Class,
}

/// An answer of the server, as far as it is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    data: Data,
    errors: Vec<String>,
    version: String,
    storage_type: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    keys: Keys,
    ciphertext: String,
    plaintext: Zeroizing<String>,
    exportable: Option<bool>,
    allow_plaintext_backup: Option<bool>,
    #[serde(rename = "type")]
    kind: String,
}

/// The names of keys, or the versions of one, which nobody asks for.
#[derive(Deserialize)]
#[serde(untagged)]
enum Keys {
    Names(Vec<String>),
    Versions(IgnoredAny),
}

impl Default for Keys {
    fn default() -> Self {
        Self::Names(Vec::new())
    }
}

impl Engine {
    /// Reaches the server for the roots of this vault.
    ///
    /// # Errors
    /// When it cannot be reached, is sealed, refuses the token, or would be spoken to in the clear over a network.
    pub fn open(setting: &Setting, vault: &VaultId) -> io::Result<Self> {
        let is_local = LOOPBACK.iter().any(|host| setting.address.starts_with(host));
        if !is_local && !setting.address.starts_with("https://") {
            return Err(failed("the address must begin with https://, or be http:// on loopback"));
        }
        let mut tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        match &setting.ca {
            Some(ca) => tls = tls.root_certs(RootCerts::new_with_certs(&authorities(ca)?)),
            None if is_local => {}
            None => return Err(failed("with https:// the authority of its certificate must be named (ca)")),
        }
        let config = Agent::config_builder().tls_config(tls.build()).timeout_global(Some(PATIENCE)).http_status_as_error(false);
        let agent = config.max_redirects(0).build().new_agent();
        let mut engine =
            Self { agent, setting: setting.clone(), vault: vault.clone(), about: String::new(), class: Class::Server };
        let Answer { version, storage_type, .. } = engine.must(&Method::GET, "sys/seal-status", None)?;
        engine.class = if storage_type == "inmem" { Class::Test } else { Class::Server };
        engine.about = format!("version {version}, storage {storage_type}");
        engine.names()?;
        Ok(engine)
    }

    /// Calls the server. An answer that is neither success nor about what was asked for is a failure.
    fn call(&self, method: &Method, path: &str, body: Option<&Value>) -> io::Result<(StatusCode, Answer)> {
        let token_file = &self.setting.token_file;
        let token = Zeroizing::new(std::fs::read_to_string(token_file).map_err(|error| {
            io::Error::new(error.kind(), format!("the token of the key server, {}: {error}", token_file.display()))
        })?);
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.setting.address.trim_end_matches('/')))
            .header("X-Vault-Request", "true")
            .header("X-Vault-Token", token.lines().next().unwrap_or_default());
        let body = Zeroizing::new(body.map(Value::to_string).unwrap_or_default());
        let answer = self.agent.run(request.body(body.as_str()).map_err(failed)?).map_err(failed)?;
        let (status, mut body) = (answer.status(), answer.into_body());
        let text = Zeroizing::new(body.with_config().limit(MAX_ANSWER).read_to_string().map_err(failed)?);
        let answer = if text.is_empty() { Answer::default() } else { serde_json::from_str(&text).map_err(failed)? };
        if status.is_success() || status == StatusCode::NOT_FOUND || status == StatusCode::BAD_REQUEST {
            return Ok((status, answer));
        }
        Err(refused(method, path, status, &answer))
    }

    /// The same, where only success will do.
    fn must(&self, method: &Method, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        let (status, answer) = self.call(method, path, body)?;
        if status.is_success() { Ok(answer) } else { Err(refused(method, path, status, &answer)) }
    }

    fn key(&self, generation: u64) -> String {
        format!("{}-{generation}", self.setting.prefix)
    }

    fn path(&self, what: &str, key: &str) -> String {
        format!("{}/{what}/{key}", self.setting.mount)
    }

    /// The names of this vault's keys.
    fn names(&self) -> io::Result<Vec<String>> {
        let path = format!("{}/keys?list=true", self.setting.mount);
        let (status, answer) = self.call(&Method::GET, &path, None)?;
        // Where there is no key the answer is "not found", and no error.
        let is_empty = status == StatusCode::NOT_FOUND && answer.errors.is_empty();
        if !(status.is_success() || is_empty) {
            return Err(refused(&Method::GET, &path, status, &answer));
        }
        match answer.data.keys {
            Keys::Names(names) => Ok(names.into_iter().filter(|name| self.generation_in(name).is_some()).collect()),
            Keys::Versions(_) => Err(failed("it gives no list of keys")),
        }
    }

    /// The generation in the name of a key, if it is this vault's.
    fn generation_in(&self, name: &str) -> Option<u64> {
        name.strip_prefix(&self.setting.prefix)?.strip_prefix('-')?.parse().ok()
    }

    /// What a head's key is encrypted with beside the key: it opens as itself only.
    fn context(&self, generation: u64) -> String {
        Base64::encode_string(format!("idvault/root/v1 {generation} {}", self.vault).as_bytes())
    }

    /// Refuses a key that the server would give away.
    fn must_stay_inside(&self, key: &str) -> io::Result<()> {
        let Data { exportable, allow_plaintext_backup, kind, .. } = self.must(&Method::GET, &self.path("keys", key), None)?.data;
        if exportable == Some(false) && allow_plaintext_backup == Some(false) && kind == KEY_TYPE {
            return Ok(());
        }
        Err(failed(format!(
            "the key {key} can be exported or backed up in plaintext, or is of another type: it is of no use as a root"
        )))
    }

    /// Destroys every root but the one of `kept`, and has the server say that they are gone.
    fn destroy(&self, kept: Option<u64>) -> io::Result<Evidence> {
        let kept = kept.map(|kept| self.key(kept));
        for name in self.names()?.iter().filter(|name| kept.as_ref() != Some(*name)) {
            let path = self.path("keys", name);
            self.must(&Method::POST, &format!("{path}/config"), Some(&json!({ "deletion_allowed": true })))?;
            self.must(&Method::DELETE, &path, None)?;
            let (status, _) = self.call(&Method::GET, &path, None)?;
            if status != StatusCode::NOT_FOUND {
                return Err(failed(format!("the key {name} was deleted and is still there")));
            }
        }
        let left = self.names()?;
        if left.iter().all(|name| kept.as_ref() == Some(name)) {
            Ok(self.describe())
        } else {
            Err(failed(format!("keys were deleted and are still there: {left:?}")))
        }
    }
}

impl Custody for Engine {
    fn make(&mut self, generation: u64) -> io::Result<Root> {
        let name = self.key(generation);
        if self.names()?.contains(&name) {
            // Of a commit that did not happen: its root must not seal another head.
            return Err(failed(format!("there is a key {name} already")));
        }
        let kind = json!({ "type": KEY_TYPE, "exportable": false, "allow_plaintext_backup": false });
        self.must(&Method::POST, &self.path("keys", &name), Some(&kind))?;
        self.must_stay_inside(&name)?;
        let key = Secret::random().map_err(io::Error::other)?;
        let plaintext = Zeroizing::new(Base64::encode_string(key.expose()));
        let body = json!({ "plaintext": *plaintext, "associated_data": self.context(generation) });
        let wrapped = self.must(&Method::POST, &self.path("encrypt", &name), Some(&body))?.data.ciphertext.into_bytes();
        Ok(Root { handle: Handle { generation, wrapped }, key })
    }

    fn open(&self, handle: &Handle) -> io::Result<Option<Root>> {
        let Ok(wrapped) = std::str::from_utf8(&handle.wrapped) else { return Ok(None) };
        let name = self.key(handle.generation);
        let body = json!({ "ciphertext": wrapped, "associated_data": self.context(handle.generation) });
        let (status, answer) = self.call(&Method::POST, &self.path("decrypt", &name), Some(&body))?;
        if !status.is_success() {
            // There is no such key, or it did not seal this.
            return Ok(None);
        }
        let key = Zeroizing::new(Base64::decode_vec(&answer.data.plaintext).map_err(failed)?);
        Ok(Secret::from_slice(&key).map(|key| Root { handle: handle.clone(), key }))
    }

    fn put(&mut self, root: &Root) -> io::Result<()> {
        // It has been on the server since it was made: make sure that it opens what it sealed.
        match self.open(&root.handle)? {
            Some(found) if found.key.expose() == root.key.expose() => Ok(()),
            _ => Err(failed("it does not open what its new root has sealed")),
        }
    }

    fn settle(&mut self, kept: &Handle) -> io::Result<Evidence> {
        self.destroy(Some(kept.generation))
    }

    fn generations(&self) -> io::Result<Vec<u64>> {
        Ok(self.names()?.iter().filter_map(|name| self.generation_in(name)).collect())
    }

    fn clear(&mut self) -> io::Result<Evidence> {
        self.destroy(None)
    }

    fn describe(&self) -> Evidence {
        let Setting { address, mount, prefix, .. } = &self.setting;
        Evidence {
            custody: "transit",
            place: format!("{address}, engine {mount}, keys {prefix}-*, {}", self.about),
            method:
                "keys that never leave the server, deleted there, after which it knows no such key and opens nothing sealed by it"
                    .to_owned(),
            class: self.class,
        }
    }
}

/// The certificates in a PEM file.
fn authorities(path: &std::path::Path) -> io::Result<Vec<Certificate<'static>>> {
    let pem = std::fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let items = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(failed(error))),
    });
    items.collect()
}

fn refused(method: &Method, path: &str, status: StatusCode, answer: &Answer) -> io::Error {
    failed(format!("{method} {path}: {status} {}", answer.errors.join("; ")))
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("the key server: {error}"))
}
