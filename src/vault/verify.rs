//! A look at everything that is stored: whether each row and each part opens, and whether the ledger could be made anew.

use std::path::Path;
use std::sync::Arc;

use super::book::Book;
use super::error::Error;
use super::ingest::part_context;
use super::recover::{Layout, OpenError, custody_of};
use super::rows::RecordRow;
use crate::crypto::seal::{self, PartKey};
use crate::domain::ids::{RecordId, TenantId, VaultId};
use crate::domain::record::{Part, Record, RecordState};
use crate::keys;
use crate::keys::keyring::Keyring;
use crate::store::ledger::journaled::JournaledLedger;
use crate::store::schema::Table;
use crate::store::volume::{RESERVE, Volumes};

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A row.
    Row,
    /// A part, with so many bytes.
    Part(u64),
    /// Something that does not open.
    Damaged(Damage),
}

/// What does not open, and is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A row; keys say nothing of anybody.
    #[error("the row {} does not open", hex(.0))]
    Row(Vec<u8>),
    /// A part of a record.
    #[error("tenants/{tenant}/records/{record} part {part}: {reason}")]
    Part {
        /// Whose record.
        tenant: TenantId,
        /// Which record.
        record: RecordId,
        /// The part's number.
        part: u8,
        /// What is wrong with it.
        reason: String,
    },
    /// The journal or the dump: nothing is lost while the index is there.
    #[error("the index could not be made anew: {0}")]
    Journal(String),
}

/// Looks at everything that a vault stores. The vault must not be running; of its files only the ledger and the keyring are
/// touched, as by a start: what a commit or a crash left half done is settled.
///
/// # Errors
/// When the vault cannot be opened so far that one could look.
pub fn verify(id: &VaultId, data_dir: &Path, keys: &keys::Setting, mut see: impl FnMut(Seen)) -> Result<(), OpenError> {
    let layout = Layout(data_dir.to_owned());
    layout.must_be_whole()?;
    layout.must_have(keys)?;
    layout.must_not_be_moving()?;
    let _lock = layout.lock()?;
    if let Err(error) = JournaledLedger::check(&layout.ledger()) {
        see(Seen::Damaged(Damage::Journal(error.to_string())));
    }
    let custody = custody_of(keys.root.open(id))?;
    let keyring = Arc::new(Keyring::open(&keys.keyring(data_dir), id, custody)?);
    let book = Book::new(Box::new(JournaledLedger::open(&layout.ledger())?), Arc::clone(&keyring));
    let shelf = Shelf { id, keyring: &keyring, volumes: Volumes::open(layout.volumes(), RESERVE)? };
    for row in book.rows() {
        let (key, opens) = row?;
        see(Seen::Row);
        if !opens {
            see(Seen::Damaged(Damage::Row(key)));
        } else if key.first() == Some(&Table::Record.byte()) {
            match book.get::<RecordRow>(&key).and_then(|row| row.map(RecordRow::into_domain).transpose()) {
                Ok(Some(record)) => shelf.look_at(&record, &mut see),
                Ok(None) => {}
                Err(Error::Damaged) => see(Seen::Damaged(Damage::Row(key))),
                Err(failure) => return Err(failure.into()),
            }
        }
    }
    Ok(())
}

/// Makes the index of a vault's ledger anew, from its last dump and the journal since. Returns how many rows it has. The vault
/// must not be running.
///
/// # Errors
/// When dump or journal are damaged; the index that is there then stays as it is.
pub fn rebuild(data_dir: &Path) -> Result<u64, OpenError> {
    let layout = Layout(data_dir.to_owned());
    layout.must_be_whole()?;
    let _lock = layout.lock()?;
    Ok(JournaledLedger::rebuild(&layout.ledger())?)
}

/// Where parts are looked at.
struct Shelf<'a> {
    id: &'a VaultId,
    keyring: &'a Keyring,
    volumes: Volumes,
}

impl Shelf<'_> {
    /// Looks at the parts of a record that is not about to be destroyed.
    fn look_at(&self, record: &Record, see: &mut impl FnMut(Seen)) {
        for part in record.parts.iter().filter(|_| record.state == RecordState::Live) {
            see(match self.damage_of(record, part) {
                None => Seen::Part(part.size),
                Some(reason) => {
                    Seen::Damaged(Damage::Part { tenant: record.tenant.clone(), record: record.id, part: part.number, reason })
                }
            });
        }
    }

    /// Why a part does not open, if it does not.
    fn damage_of(&self, record: &Record, part: &Part) -> Option<String> {
        let leaf = match self.keyring.leaf(record.place) {
            Ok(Some(leaf)) => leaf,
            Ok(None) => return Some("its key is gone".to_owned()),
            Err(error) => return Some(error.to_string()),
        };
        let (key, context) = (PartKey::derive(&leaf, u16::from(part.number)), part_context(self.id, record, part));
        match self.volumes.read(record.place, part.number, &part.extents) {
            Ok(sealed) => seal::check(&key, &context, sealed.as_ref()).err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}
