//! The index as earlier versions kept it, on sled: read once, to be kept otherwise from then on.

use std::io;
use std::path::Path;

use super::{Change, LedgerError};
use crate::files;

/// Bytes of sled's log segments: a setting that belongs to the files.
const SEGMENT_BYTES: usize = 4 << 20;
/// How much memory sled may use for pages it keeps at hand, in bytes.
const CACHE_BYTES: u64 = 32 << 20;
/// How many rows are read at once.
const ROWS_AT_ONCE: usize = 1 << 10;

/// Whether the index in the directory `dir` is an earlier one.
pub(super) fn is_there(dir: &Path) -> bool {
    // An earlier version that opens a later one by mistake leaves its files beside what it cannot read.
    dir.join("db").exists() && !dir.join("tables").exists()
}

/// Gives its rows, some at a time.
///
/// # Errors
/// When sled cannot read its files.
pub(super) fn rows(dir: &Path, mut each: impl FnMut(Vec<Change>) -> Result<(), LedgerError>) -> Result<(), LedgerError> {
    remove_drafts(dir)?;
    let db =
        ::sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).segment_size(SEGMENT_BYTES).flush_every_ms(None).open()?;
    let mut rows = Vec::new();
    for row in db.iter() {
        let (key, value) = row?;
        rows.push(Change { key: key.to_vec(), value: Some(value.to_vec()) });
        if rows.len() >= ROWS_AT_ONCE {
            each(std::mem::take(&mut rows))?;
        }
    }
    each(rows)
}

/// Moves the index of a vault from before there was a journal to the directory `index`; one that was cut short goes on.
pub(super) fn move_first(dir: &Path) -> io::Result<()> {
    let draft = dir.join("index.moving");
    // What lies beside an index came later: an older version opened the vault, found nothing and refused it.
    if dir.join("index").exists() || !dir.join("db").exists() && !draft.exists() {
        return Ok(());
    }
    files::make_dir(&draft)?;
    for entry in std::fs::read_dir(dir)? {
        let (name, path) = {
            let entry = entry?;
            (entry.file_name(), entry.path())
        };
        let text = name.to_string_lossy();
        if ["conf", "db", "blobs"].contains(&text.as_ref()) || text.starts_with("snap.") {
            std::fs::rename(path, draft.join(name))?;
        }
    }
    files::sync_parent(&draft.join("db"))?;
    std::fs::rename(&draft, dir.join("index"))?;
    files::sync_parent(&draft)
}

/// Removes snapshots that a crash cut short: sled would take one for the latest, and refuse to open. The one before is still there.
fn remove_drafts(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

impl From<::sled::Error> for LedgerError {
    fn from(error: ::sled::Error) -> Self {
        Self::Engine(error.to_string())
    }
}
