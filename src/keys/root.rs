//! The root: the one secret on which all others hang, and the only thing that must be erasable.
//!
//! A root seals exactly one keyring head. Replacing it and destroying the old one is what makes a shred final: whoever
//! holds every older head, page, volume and ledger opens nothing with them once the roots that sealed them are gone.

pub mod file;
mod medium;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
#[cfg(feature = "transit")]
pub mod transit;

use std::path::Path;
use std::{fmt, io};

use crate::crypto::secret::Secret;
use crate::domain::ids::VaultId;
use file::FileCell;

/// The generation that a vault is at when it is made: its first head, and the commit with which every start ends.
const NEW_GENERATION: u64 = 2;

/// A custody, as it is configured.
#[derive(Debug, Clone)]
pub enum Setting {
    /// A file.
    File(file::Setting),
    /// A hardware token.
    #[cfg(feature = "pkcs11")]
    Pkcs11(pkcs11::Setting),
    /// The transit engine of a key server.
    #[cfg(feature = "transit")]
    Transit(transit::Setting),
}

/// How a root is found again: kept in the clear beside the head that it seals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle {
    /// Which head it seals.
    pub generation: u64,
    /// The head's key under the root, from a custody that never gives its roots away; empty where the root is the key.
    pub wrapped: Vec<u8>,
}

/// A root that can be used now.
#[expect(missing_debug_implementations, reason = "a secret has no Debug")]
pub struct Root {
    /// How it is found again.
    pub handle: Handle,
    /// The key of its head.
    pub key: Secret,
}

/// What a custody says of the destruction of a root: goes into the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The custody, by its name in the configuration.
    pub custody: &'static str,
    /// Where the root was.
    pub place: String,
    /// What was done to it, and how that was made sure of.
    pub method: String,
    /// What that is worth.
    pub class: Class,
}

/// How sure it is that a destroyed root is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// As far as software can tell; the medium may keep old blocks.
    BestEffort,
    /// The custody is one for trials.
    Test,
    /// As sure as the hardware token that the evidence names.
    Token,
    /// As sure as the key server that the evidence names.
    Server,
}

/// Keeps roots where they can be destroyed.
///
/// A commit seals its head under a root fresh from [`Custody::make`], then calls [`Custody::put`], after which old and new
/// stand side by side, then [`Custody::settle`]. A start after a crash looks for the newest head whose root
/// [`Custody::open`] still has, and settles on that.
pub trait Custody: Send {
    /// A fresh root for the head of this generation. Until it is put, a crash may lose it.
    ///
    /// # Errors
    /// When the system gives no random bytes, or the custody fails.
    fn make(&mut self, generation: u64) -> io::Result<Root>;

    /// The root with this handle, or `None` when it is not there.
    ///
    /// # Errors
    /// When the custody fails, so that nobody knows.
    fn open(&self, handle: &Handle) -> io::Result<Option<Root>>;

    /// Makes a new root durable beside the current one. When this returns, the commit has happened.
    ///
    /// # Errors
    /// When the custody fails; whether the root is durable is found out at the next start.
    fn put(&mut self, root: &Root) -> io::Result<()>;

    /// Destroys every root but this one, and makes sure of it.
    ///
    /// # Errors
    /// When another root may still be there.
    fn settle(&mut self, kept: &Handle) -> io::Result<Evidence>;

    /// The generations of the roots that it holds.
    ///
    /// # Errors
    /// When the custody fails, so that nobody knows.
    fn generations(&self) -> io::Result<Vec<u64>>;

    /// Destroys every root there is: the keyring has moved to another custody.
    ///
    /// # Errors
    /// When a root may still be there.
    fn clear(&mut self) -> io::Result<Evidence>;

    /// Where roots are here, how they are destroyed, and what that is worth: what [`Custody::settle`] answers, with nothing done.
    fn describe(&self) -> Evidence;
}

impl Setting {
    /// Refuses to make a vault over the root of another, of the same id, whose data is elsewhere. If making it `has_begun` before and was
    /// cut short, there may be one of its first roots.
    ///
    /// # Errors
    /// When there is such a root, or the custody cannot be had.
    pub fn must_be_free(&self, vault: &VaultId, has_begun: bool) -> io::Result<()> {
        let (generations, place) = match self {
            // A cell that a power failure cut short is one too.
            Self::File(setting) => (file::generations_at(&setting.path)?, setting.path.display().to_string()),
            #[cfg(any(feature = "pkcs11", feature = "transit"))]
            _ => {
                let custody = self.open(vault)?;
                (custody.generations()?, custody.describe().place)
            }
        };
        if generations.into_iter().all(|generation| has_begun && generation <= NEW_GENERATION) {
            return Ok(());
        }
        let what = format!("{place} holds the root of a vault {vault} whose data is not here");
        let next = "name its directory, or another vault.id; nothing was changed";
        Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{what}: {next}")))
    }

    /// The custody of a vault that is about to be made; what is in it is destroyed.
    ///
    /// # Errors
    /// When the custody cannot be had.
    #[cfg_attr(
        not(any(feature = "pkcs11", feature = "transit")),
        expect(unused_variables, reason = "a cell is a vault's own; tokens and servers are shared")
    )]
    pub fn create(&self, vault: &VaultId) -> io::Result<Box<dyn Custody>> {
        match self {
            // Made anew as a whole: every block has its place then.
            Self::File(setting) => {
                if setting.path.exists() {
                    std::fs::remove_file(&setting.path)?;
                }
                Ok(Box::new(FileCell::create(setting)?))
            }
            #[cfg(any(feature = "pkcs11", feature = "transit"))]
            _ => {
                let mut custody = self.open(vault)?;
                custody.clear()?;
                Ok(custody)
            }
        }
    }

    /// The custody of a vault that is there.
    ///
    /// # Errors
    /// When the custody cannot be had.
    #[cfg_attr(
        not(any(feature = "pkcs11", feature = "transit")),
        expect(unused_variables, reason = "a cell is a vault's own; tokens and servers are shared")
    )]
    pub fn open(&self, vault: &VaultId) -> io::Result<Box<dyn Custody>> {
        Ok(match self {
            Self::File(setting) => Box::new(FileCell::open(setting)?),
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11(setting) => Box::new(pkcs11::Token::open(setting, vault)?),
            #[cfg(feature = "transit")]
            Self::Transit(setting) => Box::new(transit::Engine::open(setting, vault)?),
        })
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11(_) => "pkcs11",
            #[cfg(feature = "transit")]
            Self::Transit(_) => "transit",
        }
    }

    /// The file without which there is no root, where it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(setting) => Some(&setting.path),
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11(_) => None,
            #[cfg(feature = "transit")]
            Self::Transit(_) => None,
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { custody, place, method, class } = self;
        write!(formatter, "{custody} {place}: roots are {method}: {class}")
    }
}

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::BestEffort => "BEST_EFFORT",
            Self::Test => "TEST",
            Self::Token => "TOKEN",
            Self::Server => "SERVER",
        })
    }
}
