//! What disk and cipher give by themselves, beside the forms in which a vault uses them.

use std::path::Path;

use super::load::Load;
use super::pairs::Turn;
use super::refused;
use crate::cli::client::Failure;
use crate::crypto::aead::{Aead, Bulk, NONCE_LEN};
use crate::crypto::seal::{self, PartKey, Salt};
use crate::crypto::secret::Secret;
use crate::domain::ids::{Hour, Place, Serial};
use crate::files;
use crate::store::volume::{AlignedBuffer, Appending, DirectFile, MAX_PAYLOAD, RESERVE, Volumes};

/// How many frames are written between two syncs: about what waits when 32 clients upload.
const FRAMES: usize = 8;
/// How many syncs a turn has, and how many parts of one frame a turn seals.
const SYNCS: u64 = 16;
const PARTS: usize = 256;
/// Bytes of a frame on disk.
const FRAME: usize = 1 << 20;
/// Bytes that are sealed at once.
const CHUNK: usize = 16 << 10;

/// Writes frames to a volume, then as many bytes to a file, with the same syncs.
pub(super) fn disk(home: &Path, load: &Load) -> Result<[Turn; 2], Failure> {
    let (dir, path) = (home.join("volumes"), home.join("raw"));
    let volumes = Volumes::open(dir.clone(), RESERVE).map_err(refused)?;
    let place = Hour::new(1).zip(Serial::new(1)).map(|(hour, serial)| Place { hour, serial });
    let place = place.ok_or_else(|| Failure::refused("there is no such place"))?;
    let frames: Vec<_> = (0..FRAMES).map(|_| (0, vec![7; MAX_PAYLOAD])).collect();
    let bytes = SYNCS.saturating_mul(u64::try_from(FRAMES.saturating_mul(FRAME)).unwrap_or(u64::MAX));
    let ours = load.turn(bytes, || {
        for _ in 0..SYNCS {
            let mut appending = Appending::new(place);
            volumes.append(&mut appending, &frames).map_err(refused)?;
            appending.sync().map_err(refused)?;
        }
        Ok(())
    })?;
    std::fs::remove_dir_all(&dir).map_err(|error| Failure::file(&dir, &error))?;
    let file = DirectFile::new(files::open_rw(&path).map_err(refused)?).map_err(refused)?;
    let group = AlignedBuffer::zeroed(FRAMES.saturating_mul(FRAME));
    let mut offset = 0_u64;
    let raw = load.turn(bytes, || {
        for _ in 0..SYNCS {
            file.write_all_at(group.bytes(), offset).and_then(|()| file.sync_data()).map_err(refused)?;
            offset = offset.saturating_add(u64::try_from(group.bytes().len()).unwrap_or(u64::MAX));
        }
        Ok(())
    })?;
    std::fs::remove_file(&path).map_err(|error| Failure::file(&path, &error))?;
    Ok([ours, raw])
}

/// Seals parts, then encrypts as many bytes in place; on one core.
pub(super) fn aead(load: &Load) -> Result<[Turn; 2], Failure> {
    let key = PartKey::derive(&Secret::random().map_err(refused)?, 0);
    let plaintext = vec![7; FRAME];
    let bytes = u64::try_from(PARTS.saturating_mul(FRAME)).unwrap_or(u64::MAX);
    let ours = load.turn(bytes, || {
        for _ in 0..PARTS {
            let salt = Salt::random().map_err(refused)?;
            drop(std::hint::black_box(seal::seal_part(&key, &salt, b"bench", &plaintext)));
        }
        Ok(())
    })?;
    let cipher = Bulk::new(Secret::random().map_err(refused)?.expose());
    let mut chunks = plaintext;
    // Under one key no nonce is used twice, not even here.
    let mut nonces = (0_u64..).map(|number| {
        let mut nonce = [0; NONCE_LEN];
        nonce.iter_mut().zip(number.to_le_bytes()).for_each(|(byte, digit)| *byte = digit);
        nonce
    });
    let raw = load.turn(bytes, || {
        for _ in 0..PARTS {
            for (chunk, nonce) in chunks.chunks_mut(CHUNK).zip(&mut nonces) {
                std::hint::black_box(cipher.seal(&nonce, chunk));
            }
        }
        Ok(())
    })?;
    Ok([ours, raw])
}
