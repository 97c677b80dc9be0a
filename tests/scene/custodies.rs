//! The custodies that tests can put a vault's root in. The token and the key server are started by tests/custody/run.sh, which says
//! where they are in the environment.

#![expect(clippy::disallowed_methods, reason = "where the servers of a test are is said by the environment")]

use std::env::var;
use std::path::Path;

use idvault::keys::root::{Setting, file, pkcs11, transit};
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
        let name = var("IDVAULT_TEST_CUSTODY").ok()?;
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == name);
        assert!(kind.is_some(), "there is no custody {name}");
        kind
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Pkcs11 => "pkcs11",
            Self::Transit => "transit",
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
