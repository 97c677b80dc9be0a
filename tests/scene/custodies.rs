//! The custodies that tests can put a vault's root in. The token and the key server are started by tests/custody/run.sh, which says
//! where they are in the environment.

#![expect(clippy::disallowed_methods, reason = "where the servers of a test are is said by the environment")]

use std::env::var;
use std::io::{Error, Result};
use std::path::Path;

use idvault::keys::root::{Custody, Evidence, Handle, Root, Setting, file, pkcs11, transit};
use idvault::vault::Blueprint;

/// Which custody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Pkcs11,
    Transit,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::File, Self::Pkcs11, Self::Transit];

    /// The one that a whole run of tests is to use, if it is not the file.
    pub(crate) fn chosen() -> Option<Self> {
        match var("IDVAULT_TEST_CUSTODY").ok()?.as_str() {
            "pkcs11" => Some(Self::Pkcs11),
            "transit" => Some(Self::Transit),
            other => panic!("no custody {other}"),
        }
    }

    /// The setting for a vault in this directory, with roots of its own.
    pub(crate) fn setting(self, data: &Path) -> Setting {
        let own: String = data.to_string_lossy().chars().filter(char::is_ascii_alphanumeric).collect();
        match self {
            Self::File => Setting::File(file::Setting { path: file::in_directory(data), allow_copies: true }),
            Self::Pkcs11 => Setting::Pkcs11(pkcs11::Setting {
                module: var("IDVAULT_TEST_MODULE").unwrap().into(),
                token: "idvault".to_owned(),
                pin_file: var("IDVAULT_TEST_PIN_FILE").unwrap().into(),
                label: Some(own),
            }),
            Self::Transit => Setting::Transit(transit::Setting {
                address: var("IDVAULT_TEST_ADDRESS").unwrap(),
                mount: "transit".to_owned(),
                prefix: own,
                token_file: var("IDVAULT_TEST_TOKEN_FILE").unwrap().into(),
                ca: None,
            }),
        }
    }

    /// A vault with its root here.
    pub(crate) fn under(self, mut blueprint: Blueprint) -> Blueprint {
        blueprint.keys.root = self.setting(&blueprint.data_dir);
        blueprint
    }
}

/// A custody that does what a test wants before or after each step.
pub(crate) struct Watched<F> {
    pub(crate) inner: Box<dyn Custody>,
    pub(crate) watch: F,
}

/// A call of a custody, before it is made or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    BeforeMake,
    AfterMake,
    BeforePut,
    AfterPut,
    BeforeSettle,
    AfterSettle,
}

impl At {
    pub(crate) const ALL: [Self; 6] =
        [Self::BeforeMake, Self::AfterMake, Self::BeforePut, Self::AfterPut, Self::BeforeSettle, Self::AfterSettle];
}

impl<F: FnMut(At) -> bool + Send> Watched<F> {
    /// Fails where the test wants it.
    fn pass(&mut self, at: At) -> Result<()> {
        if (self.watch)(at) { Ok(()) } else { Err(Error::other("the test wants it so")) }
    }
}

impl<F: FnMut(At) -> bool + Send> Custody for Watched<F> {
    fn make(&mut self, generation: u64) -> Result<Root> {
        self.pass(At::BeforeMake)?;
        let root = self.inner.make(generation)?;
        self.pass(At::AfterMake)?;
        Ok(root)
    }

    fn open(&self, handle: &Handle) -> Result<Option<Root>> {
        self.inner.open(handle)
    }

    fn put(&mut self, root: &Root) -> Result<()> {
        self.pass(At::BeforePut)?;
        self.inner.put(root)?;
        self.pass(At::AfterPut)
    }

    fn settle(&mut self, kept: &Handle) -> Result<Evidence> {
        self.pass(At::BeforeSettle)?;
        let evidence = self.inner.settle(kept)?;
        self.pass(At::AfterSettle)?;
        Ok(evidence)
    }

    fn generations(&self) -> Result<Vec<u64>> {
        self.inner.generations()
    }

    fn clear(&mut self) -> Result<Evidence> {
        self.inner.clear()
    }

    fn describe(&self) -> Evidence {
        self.inner.describe()
    }
}
