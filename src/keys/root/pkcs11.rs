//! The root in a hardware token, spoken to by PKCS #11 (OASIS, v2.40 and later).
//!
//! A root is an AES-256 key object that the token made and never gives away; it encrypts the key of its head (AES-GCM), which stands
//! encrypted beside the head. A root dies by `C_DestroyObject`, and a session opened after that must not find it. What that is worth
//! is up to the token, which the evidence names; SoftHSM keeps its objects in files and is for trials.
//!
//! Each object has the vault's label and, as its id, the generation of its head (8 bytes, big-endian). What stands beside
//! the head: nonce (12 bytes), the encrypted key (32), tag (16).

use std::io;
use std::path::PathBuf;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::{Class, Custody, Evidence, Handle, Root};
use crate::crypto::random;
use crate::crypto::secret::Secret;
use crate::domain::ids::VaultId;

const NONCE_LEN: usize = 12;
const TAG_BITS: u64 = 128;
const KEY_LEN: u64 = 32;

/// A token, as it is configured.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The library that speaks to it.
    pub module: PathBuf,
    /// Its label.
    pub token: String,
    /// A file with the user's PIN, in its first line.
    pub pin_file: PathBuf,
    /// What this vault's roots are labelled with, and those of no other vault: `idvault/<vault id>` unless said otherwise.
    pub label: Option<String>,
}

/// A token, open.
#[expect(missing_debug_implementations, reason = "holds the PIN")]
pub struct Token {
    module: Pkcs11,
    slot: Slot,
    info: TokenInfo,
    pin: AuthPin,
    label: String,
    vault: VaultId,
}

impl Token {
    /// Opens the token for the roots of this vault.
    ///
    /// # Errors
    /// When the library, the token or the PIN is not right.
    pub fn open(setting: &Setting, vault: &VaultId) -> io::Result<Self> {
        let named = |error: Error| io::Error::other(format!("{}: {error}", setting.module.display()));
        let module = Pkcs11::new(&setting.module).map_err(named)?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // By another custody of this process.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(named(error)),
        }
        let mut found = None;
        for slot in module.get_slots_with_token().map_err(named)? {
            let info = module.get_token_info(slot).map_err(named)?;
            if info.label() == setting.token && found.replace((slot, info)).is_some() {
                return Err(io::Error::other(format!("two tokens have the label {:?}", setting.token)));
            }
        }
        let (slot, info) = found.ok_or_else(|| io::Error::other(format!("no token has the label {:?}", setting.token)))?;
        let pin = Zeroizing::new(std::fs::read_to_string(&setting.pin_file).map_err(|error| {
            io::Error::new(error.kind(), format!("the PIN of the token, {}: {error}", setting.pin_file.display()))
        })?);
        let pin = AuthPin::from(pin.lines().next().unwrap_or_default());
        let label = setting.label.clone().unwrap_or_else(|| format!("idvault/{vault}"));
        let token = Self { module, slot, info, pin, label, vault: vault.clone() };
        token.session()?;
        Ok(token)
    }

    /// A session of its own, logged in.
    fn session(&self) -> io::Result<Session> {
        let session = self.module.open_rw_session(self.slot).map_err(failed)?;
        match session.login(UserType::User, Some(&self.pin)) {
            // Sessions of one process share it.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => Err(failed(error)),
        }
    }

    fn template(&self) -> Vec<Attribute> {
        let label = Attribute::Label(self.label.clone().into_bytes());
        vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Token(true), label]
    }

    /// The roots of this vault, or the one of a generation.
    fn find(&self, session: &Session, generation: Option<u64>) -> io::Result<Vec<ObjectHandle>> {
        let id = generation.map(|generation| Attribute::Id(generation.to_be_bytes().to_vec()));
        session.find_objects(&self.template().into_iter().chain(id).collect::<Vec<_>>()).map_err(failed)
    }

    /// What a head's key is encrypted with beside the key: it opens as itself only.
    fn context(&self, generation: u64) -> Vec<u8> {
        [&b"idvault/root/v1"[..], &generation.to_be_bytes(), self.vault.as_str().as_bytes()].concat()
    }

    /// Destroys every root but the one of `kept`, and looks whether they are gone, in another session.
    fn destroy(&self, kept: Option<u64>) -> io::Result<Evidence> {
        let session = self.session()?;
        let stay = kept.map_or(Ok(Vec::new()), |kept| self.find(&session, Some(kept)))?;
        for root in self.find(&session, None)? {
            if !stay.contains(&root) {
                session.destroy_object(root).map_err(failed)?;
            }
        }
        drop(session);
        let left = self.find(&self.session()?, None)?;
        if left.len() == stay.len() {
            Ok(self.describe())
        } else {
            Err(io::Error::other("a root that was destroyed is still found in the token"))
        }
    }
}

impl Custody for Token {
    fn make(&mut self, generation: u64) -> io::Result<Root> {
        let session = self.session()?;
        let mut template = self.template();
        template.extend([
            Attribute::Id(generation.to_be_bytes().to_vec()),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(KEY_LEN.into()),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
        ]);
        let root = session.generate_key(&Mechanism::AesKeyGen, &template).map_err(failed)?;
        must_stay_inside(&session, root)?;
        let key = Secret::random().map_err(io::Error::other)?;
        let mut nonce: [u8; NONCE_LEN] = random::array().map_err(io::Error::other)?;
        let mut wrapped = nonce.to_vec();
        let context = self.context(generation);
        let gcm = Mechanism::AesGcm(GcmParams::new(&mut nonce, &context, TAG_BITS.into()).map_err(failed)?);
        wrapped.extend(session.encrypt(&gcm, root, key.expose()).map_err(failed)?);
        Ok(Root { handle: Handle { generation, wrapped }, key })
    }

    fn open(&self, handle: &Handle) -> io::Result<Option<Root>> {
        let Some((nonce, sealed)) = handle.wrapped.split_first_chunk::<NONCE_LEN>() else { return Ok(None) };
        let (session, mut nonce) = (self.session()?, *nonce);
        let Some(root) = self.find(&session, Some(handle.generation))?.pop() else { return Ok(None) };
        let context = self.context(handle.generation);
        let gcm = Mechanism::AesGcm(GcmParams::new(&mut nonce, &context, TAG_BITS.into()).map_err(failed)?);
        match session.decrypt(&gcm, root, sealed) {
            Ok(key) => Ok(Secret::from_slice(&Zeroizing::new(key)).map(|key| Root { handle: handle.clone(), key })),
            // SoftHSM says of a tag that does not hold that it failed in general.
            Err(Error::Pkcs11(RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange | RvError::GeneralError, _)) => {
                Ok(None)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn put(&mut self, root: &Root) -> io::Result<()> {
        // It has been in the token since it was made: make sure that a session that knows nothing of it can use it.
        match self.open(&root.handle)? {
            Some(found) if found.key.expose() == root.key.expose() => Ok(()),
            _ => Err(io::Error::other("the token does not open what its new root has sealed")),
        }
    }

    fn settle(&mut self, kept: &Handle) -> io::Result<Evidence> {
        self.destroy(Some(kept.generation))
    }

    fn generations(&self) -> io::Result<Vec<u64>> {
        let session = self.session()?;
        let mut generations = Vec::new();
        for root in self.find(&session, None)? {
            for attribute in session.get_attributes(root, &[AttributeType::Id]).map_err(failed)? {
                // An id of another length is nothing that a vault made, and no reason to think that there is no root.
                let Attribute::Id(id) = attribute else { continue };
                generations.push(id.try_into().map_or(u64::MAX, u64::from_be_bytes));
            }
        }
        Ok(generations)
    }

    fn clear(&mut self) -> io::Result<Evidence> {
        self.destroy(None)
    }

    fn describe(&self) -> Evidence {
        let info = &self.info;
        let is_soft = info.manufacturer_id().contains("SoftHSM") || info.model().contains("SoftHSM");
        Evidence {
            custody: "pkcs11",
            place: format!(
                "{} in the token {}, {} {}, serial number {}, firmware {}",
                self.label,
                info.label(),
                info.manufacturer_id(),
                info.model(),
                info.serial_number(),
                info.firmware_version()
            ),
            method:
                "key objects of the token that never leave it, destroyed (C_DestroyObject) and looked for in another session, \
                     which does not find them"
                    .to_owned(),
            class: if is_soft { Class::Test } else { Class::Token },
        }
    }
}

/// Refuses a key that the token would give away.
fn must_stay_inside(session: &Session, key: ObjectHandle) -> io::Result<()> {
    let asked = [AttributeType::Sensitive, AttributeType::Extractable, AttributeType::NeverExtractable];
    let said = session.get_attributes(key, &asked).map_err(failed)?;
    let inside = [Attribute::Sensitive(true), Attribute::Extractable(false), Attribute::NeverExtractable(true)];
    if inside.iter().all(|attribute| said.contains(attribute)) {
        return Ok(());
    }
    session.destroy_object(key).map_err(failed)?;
    Err(io::Error::other("the token makes keys that can leave it: it is of no use as a custody"))
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err wants")]
fn failed(error: Error) -> io::Error {
    io::Error::other(format!("the token: {error}"))
}
