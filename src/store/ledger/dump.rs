//! Dumps: all rows of the ledger in one file, from which an index that is lost is made anew, with the journal since.
//!
//! A dump is taken while rows change. It begins with the sequence of the last transaction that is in all of its rows; whatever came
//! while it was taken may be in it or not, and the journal has it. Changes are whole rows, so to apply them again does no harm.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | magic `IVD1` |
//! | 4..12 | the sequence, big-endian |
//! | 12..16 | the day, counted from 1970-01-01, big-endian; 0 if it is not known |
//! | 16.. | blocks: length of the rows (4), CRC-32C of length and rows (4), rows as changes (`ledger/changes.rs`); the last one is empty |
//!
//! A dump without its last block is none: it gets its name when it is whole and synced.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::changes;
use super::{Change, LedgerError, RawRow};
use crate::files;

const MAGIC: [u8; 4] = *b"IVD1";
const HEADER_LEN: usize = 16;
/// A block is closed when its rows have so many bytes.
const BLOCK_BYTES: usize = 256 << 10;
/// So many bytes are synced at once.
const SYNC_BYTES: usize = 8 << 20;

/// A dump that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dump {
    path: PathBuf,
    /// The last transaction that is in all of its rows.
    pub(super) sequence: u64,
    /// The day on which it was taken.
    pub(super) day: u32,
}

impl Dump {
    /// The newest dump in the directory `dir`, if there is one.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] when it is none.
    pub(super) fn newest(dir: &Path) -> Result<Option<Self>, LedgerError> {
        let Some((sequence, path)) = all(dir)?.into_iter().max() else { return Ok(None) };
        let mut header = [0; HEADER_LEN];
        let read = File::open(&path)?.read_exact(&mut header);
        let day = header.strip_prefix(&header_of(sequence)).and_then(|day| day.try_into().ok().map(u32::from_be_bytes));
        match (read, day) {
            (Ok(()), Some(day)) => Ok(Some(Self { path, sequence, day })),
            _ => Err(damaged(&path)),
        }
    }

    /// Takes a dump of all rows, which have every transaction up to `sequence`; then removes older dumps. `settle` makes durable what
    /// came meanwhile: some of it is in the dump.
    pub(super) fn take(
        dir: &Path,
        (sequence, day): (u64, u32),
        rows: impl Iterator<Item = Result<RawRow, LedgerError>>,
        settle: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), LedgerError> {
        files::make_dir(dir)?;
        let draft = dir.join("draft");
        let file = files::open_rw(&draft)?;
        file.set_len(0)?;
        let mut out = BufWriter::new(&file);
        out.write_all(&header_of(sequence))?;
        out.write_all(&day.to_be_bytes())?;
        let (mut block, mut unsynced) = (Vec::new(), 0_usize);
        for row in rows {
            let row = row?;
            changes::encode(&[Change { key: row.key, value: Some(row.value) }], &mut block);
            if block.len() >= BLOCK_BYTES {
                write_block(&mut out, &block)?;
                unsynced = unsynced.saturating_add(block.len());
                block.clear();
            }
            // A little at a time: a sync of the journal may have to wait for all that is unwritten.
            if unsynced >= SYNC_BYTES {
                out.flush()?;
                file.sync_data()?;
                unsynced = 0;
            }
        }
        if !block.is_empty() {
            write_block(&mut out, &block)?;
        }
        write_block(&mut out, &[])?;
        out.flush()?;
        drop(out);
        file.sync_all()?;
        settle()?;
        let path = dir.join(format!("{sequence:020}.dump"));
        fs::rename(&draft, &path)?;
        files::sync_parent(&path)?;
        for (_, older) in all(dir)?.into_iter().filter(|(older, _)| *older < sequence) {
            fs::remove_file(older)?;
        }
        Ok(())
    }

    /// Gives its rows, some at a time.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] when it is not whole.
    pub(super) fn read(&self, mut each: impl FnMut(Vec<Change>) -> Result<(), LedgerError>) -> Result<(), LedgerError> {
        let damaged = || damaged(&self.path);
        let mut file = io::BufReader::new(File::open(&self.path)?);
        file.read_exact(&mut [0; HEADER_LEN])?;
        loop {
            let (mut length, mut crc) = ([0; 4], [0; 4]);
            file.read_exact(&mut length).and_then(|()| file.read_exact(&mut crc)).map_err(|_| damaged())?;
            let bytes = u64::from(u32::from_be_bytes(length));
            let mut rows = Vec::new();
            // As many as there are, whatever the length says.
            Read::by_ref(&mut file).take(bytes).read_to_end(&mut rows)?;
            let whole = crc32c::crc32c_append(crc32c::crc32c(&length), &rows) == u32::from_be_bytes(crc);
            let rows = changes::decode(&rows).filter(|_| whole).ok_or_else(damaged)?;
            if rows.is_empty() {
                return Ok(());
            }
            each(rows)?;
        }
    }
}

fn write_block(out: &mut impl Write, rows: &[u8]) -> io::Result<()> {
    let length = u32::try_from(rows.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.write_all(&length)?;
    out.write_all(&crc32c::crc32c_append(crc32c::crc32c(&length), rows).to_be_bytes())?;
    out.write_all(rows)
}

/// What a dump begins with, before its day.
fn header_of(sequence: u64) -> [u8; HEADER_LEN - 4] {
    let mut header = [0; HEADER_LEN - 4];
    for (byte, of) in header.iter_mut().zip(MAGIC.into_iter().chain(sequence.to_be_bytes())) {
        *byte = of;
    }
    header
}

fn damaged(path: &Path) -> LedgerError {
    LedgerError::Damaged(format!("{} is not whole", path.display()))
}

/// The dumps in a directory, with their sequences.
fn all(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut dumps = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let sequence = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".dump")?.parse().ok());
        dumps.extend(sequence.map(|sequence| (sequence, path)));
    }
    Ok(dumps)
}
