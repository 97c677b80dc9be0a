//! The attacker: gets every file that ever was in a vault's directory, and a root cell, and opens what can be opened.
//!
//! The demo and the tests play it against vaults that have shredded records. It knows the formats and uses the vault's own
//! code to read them; what it lacks is only what was destroyed. It never touches a vault that is being served.

pub mod secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::crypto::seal::{self, Plaintext};
use crate::crypto::secret::Secret;
use crate::domain::ids::{Hour, RecordId, VaultId};
use crate::domain::record::{Part, Record};
use crate::keys::keyring::format::{self, Head, HourKey, Slot};
use crate::keys::root::file::roots_in;
use crate::keys::tree::Tree;
use crate::store::ledger::Ledger;
use crate::store::ledger::journaled::JournaledLedger;
use crate::store::schema::Table;
use crate::store::volume::Volumes;
use crate::vault::ingest::part_context;
use crate::vault::{RecordRow, open_row};

const ROOT_CELL: &str = "root.cell";

/// Every version of every file of a directory, as far as it was looked at.
#[derive(Debug, Default)]
pub struct Archive {
    contents: BTreeMap<[u8; 32], Vec<u8>>,
    /// What the directory was at each look: the path and the content of each file.
    images: Vec<BTreeMap<PathBuf, [u8; 32]>>,
}

impl Archive {
    /// Takes an image of the directory at `dir`. Files that vanish meanwhile are passed over.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn take(&mut self, dir: &Path) -> io::Result<()> {
        let mut image = BTreeMap::new();
        let mut folders = vec![dir.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let (Ok(bytes), Ok(name)) = (fs::read(&path), path.strip_prefix(dir)) {
                    let digest = Sha256::digest(&bytes).into();
                    self.contents.entry(digest).or_insert(bytes);
                    image.insert(name.to_owned(), digest);
                }
            }
        }
        if self.images.last() != Some(&image) {
            self.images.push(image);
        }
        Ok(())
    }

    /// How many images were taken, and how many different file contents they hold.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.images.len(), self.contents.len())
    }

    /// Every content that the root cell had, oldest first. This is what no attacker has: the cell forgets.
    #[must_use]
    pub fn root_cells(&self) -> Vec<&[u8]> {
        let mut cells: Vec<_> = self.images.iter().filter_map(|image| image.get(Path::new(ROOT_CELL))).collect();
        cells.dedup();
        cells.into_iter().filter_map(|digest| self.content(digest)).collect()
    }

    /// Every version of every file but the root cell: where it was, and what was in it.
    fn versions(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        let all: BTreeSet<_> = self.images.iter().flatten().filter(|(path, _)| *path != Path::new(ROOT_CELL)).collect();
        all.into_iter().filter_map(|(path, digest)| Some((path.as_path(), self.content(digest)?)))
    }

    fn content(&self, digest: &[u8; 32]) -> Option<&[u8]> {
        self.contents.get(digest).map(Vec::as_slice)
    }
}

/// What an attack tried and how far it came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    /// Roots in the cell.
    pub roots: usize,
    /// Versions of keyring heads, and those that opened.
    pub heads: usize,
    /// See [`Tried::heads`].
    pub heads_opened: usize,
    /// Versions of keyring pages, and those that opened.
    pub pages: usize,
    /// See [`Tried::pages`].
    pub pages_opened: usize,
    /// Images of the ledger, and those that opened.
    pub ledgers: usize,
    /// See [`Tried::ledgers`].
    pub ledgers_opened: usize,
}

/// What the attacker holds: keys from every head and page that opens, records from every ledger that opens.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Attack {
    vault: VaultId,
    trees: BTreeMap<Hour, Vec<Mutex<Tree>>>,
    records: BTreeMap<RecordId, Record>,
    volumes: Volumes,
    tried: Tried,
    _scratch: tempfile::TempDir,
}

impl Attack {
    /// Mounts an attack with these files and this root cell.
    ///
    /// # Errors
    /// When the attacker's own disk fails.
    pub fn mount(archive: &Archive, root_cell: &[u8], vault: &VaultId) -> io::Result<Self> {
        let scratch = tempfile::tempdir()?;
        let mut tried = Tried::default();
        let heads = open_heads(archive, root_cell, vault, &mut tried);
        let records = read_records(archive, &heads, scratch.path(), &mut tried)?;
        let trees = grow_trees(archive, heads, vault, &mut tried);
        let volumes = restore_volumes(archive, scratch.path())?;
        Ok(Self { vault: vault.clone(), trees, records, volumes, tried, _scratch: scratch })
    }

    /// What was tried.
    #[must_use]
    pub fn tried(&self) -> Tried {
        self.tried
    }

    /// The records that any ledger ever named.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// The parts of a record that open with any key there is, by number.
    #[must_use]
    pub fn open(&self, record: RecordId) -> BTreeMap<u8, Plaintext> {
        let Some(record) = self.records.get(&record) else { return BTreeMap::new() };
        let parts = record.parts.iter().filter_map(|part| Some((part.number, self.open_part(record, part)?)));
        parts.collect()
    }

    fn open_part(&self, record: &Record, part: &Part) -> Option<Plaintext> {
        let sealed = self.volumes.read(record.place, part.number, &part.extents).ok()?;
        let context = part_context(&self.vault, record, part);
        let leaves = self.trees.get(&record.place.hour)?.iter().filter_map(|tree| tree.lock().leaf(record.place.serial));
        let mut keys = leaves.map(|leaf| leaf.derive(&[b"idvault/part/v1", &u16::from(part.number).to_be_bytes()]));
        keys.find_map(|key| seal::open(&key, &context, sealed.as_ref()).ok())
    }
}

/// Every version of a head slot.
fn slots(archive: &Archive) -> impl Iterator<Item = Slot<'_>> {
    let heads = archive.versions().filter(|(path, _)| path.starts_with("keyring") && !is_page(path));
    heads.filter_map(|(_, slot)| Slot::parse(slot))
}

/// Every version of a head that a root of the cell opens.
fn open_heads(archive: &Archive, root_cell: &[u8], vault: &VaultId, tried: &mut Tried) -> Vec<Head<Secret>> {
    let roots = roots_in(root_cell);
    tried.roots = roots.len();
    let mut heads = Vec::new();
    for slot in slots(archive) {
        tried.heads = tried.heads.saturating_add(1);
        heads.extend(roots.iter().filter_map(|root| slot.open(vault, root)));
    }
    tried.heads_opened = heads.len();
    heads
}

/// The trees of every hour of these heads, from seeds and from every version of a page that opens.
fn grow_trees(
    archive: &Archive,
    heads: Vec<Head<Secret>>,
    vault: &VaultId,
    tried: &mut Tried,
) -> BTreeMap<Hour, Vec<Mutex<Tree>>> {
    let in_files = archive.versions().filter_map(|(path, page)| Some((generation_of(path)?, page)));
    let behind_heads = slots(archive).flat_map(|slot| {
        let generation = slot.handle.generation;
        slot.pages().map(move |(_, page)| (generation, page))
    });
    let pages: BTreeSet<_> = in_files.chain(behind_heads).collect();
    tried.pages = pages.len();
    let mut trees = BTreeMap::<Hour, Vec<Mutex<Tree>>>::new();
    for (hour, key) in heads.into_iter().flat_map(|head| head.hours) {
        match key {
            HourKey::Seed(seed) => trees.entry(hour).or_default().push(Mutex::new(Tree::from_seed(&seed))),
            HourKey::Page { key, .. } => {
                // Not only the page that the head names: a key that was used twice opens an older one.
                let opened =
                    pages.iter().filter_map(|(generation, page)| format::open_page(page, vault, (hour, *generation), &key));
                let grown = trees.entry(hour).or_default();
                let before = grown.len();
                grown.extend(opened.map(Mutex::new));
                tried.pages_opened = tried.pages_opened.saturating_add(grown.len().saturating_sub(before));
            }
        }
    }
    trees
}

/// The records that any image of the ledger names, read with any ledger key there is.
fn read_records(
    archive: &Archive,
    heads: &[Head<Secret>],
    scratch: &Path,
    tried: &mut Tried,
) -> io::Result<BTreeMap<RecordId, Record>> {
    let mut records = BTreeMap::new();
    let ledgers: BTreeSet<BTreeMap<_, _>> = archive
        .images
        .iter()
        .map(|image| image.iter().filter(|(path, _)| path.starts_with("ledger")).collect())
        .filter(|files: &BTreeMap<_, _>| !files.is_empty())
        .collect();
    tried.ledgers = ledgers.len();
    for (number, files) in ledgers.into_iter().enumerate() {
        let dir = scratch.join(number.to_string());
        for (path, digest) in files {
            restore(&dir.join(path), archive.content(digest).unwrap_or_default())?;
        }
        // An image taken while the engine wrote may be torn; the engine then refuses it.
        let Ok(ledger) = JournaledLedger::open(&dir.join("ledger")) else { continue };
        tried.ledgers_opened = tried.ledgers_opened.saturating_add(1);
        for row in ledger.scan(&[Table::Record.byte()]).flatten() {
            let opened = heads.iter().find_map(|head| open_row::<RecordRow>(&head.service.ledger, &row.key, &row.value));
            if let Some(record) = opened.and_then(|row| row.into_domain().ok()) {
                records.insert(record.id, record);
            }
        }
        drop(ledger);
        fs::remove_dir_all(&dir)?;
    }
    Ok(records)
}

/// Every volume there ever was, in its longest version.
fn restore_volumes(archive: &Archive, scratch: &Path) -> io::Result<Volumes> {
    let mut longest = BTreeMap::<&Path, &[u8]>::new();
    for (path, bytes) in archive.versions().filter(|(path, _)| path.starts_with("volumes")) {
        let known = longest.entry(path).or_default();
        if bytes.len() > known.len() {
            *known = bytes;
        }
    }
    for (path, bytes) in longest {
        restore(&scratch.join(path), bytes)?;
    }
    Volumes::open(scratch.join("volumes"), 0).map_err(io::Error::other)
}

fn restore(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes)
}

/// The commit that wrote a page, by the page's name.
fn generation_of(page: &Path) -> Option<u64> {
    page.file_stem().filter(|_| is_page(page))?.to_str()?.rsplit_once('-')?.1.parse().ok()
}

/// Also one that has its name not yet.
fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "page" || extension == "new")
}
