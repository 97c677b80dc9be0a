//! A file to upload, read twice and never held whole: first for what must be said before its bytes, then for the bytes.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::iter;
use std::path::PathBuf;

use crc32c::crc32c_append;

use crate::cli::client::Failure;
use crate::proto::PartHeader;

/// How many bytes are read and sent at a time.
pub(super) const CHUNK: u64 = 256 << 10;

/// A file that was read once.
pub(super) struct PartFile {
    path: PathBuf,
    file: File,
    header: PartHeader,
}

impl PartFile {
    /// Reads the file once, to its end.
    pub(super) fn examine(category: i32, path: PathBuf) -> Result<Self, Failure> {
        let failure = |error: io::Error| Failure::file(&path, &error);
        let mut file = File::open(&path).map_err(failure)?;
        let mut chunk = read_chunk(&mut file).map_err(failure)?;
        let kind = infer::get(&chunk).map(|kind| kind.mime_type().replace("image/heif", "image/heic"));
        let media_type = kind.ok_or_else(|| Failure::usage(format!("{}: no known format", path.display())))?;
        let mut seen = Seen::default();
        while !chunk.is_empty() {
            seen.add(&chunk);
            chunk = read_chunk(&mut file).map_err(failure)?;
        }
        file.rewind().map_err(failure)?;
        let Seen { size_bytes, crc32c } = seen;
        Ok(Self { path, file, header: PartHeader { category, media_type, size_bytes, crc32c } })
    }

    /// What is said of it before its bytes.
    pub(super) fn header(&self) -> &PartHeader {
        &self.header
    }

    /// Its bytes, a chunk at a time. Fails when they are not those that the header was made from.
    pub(super) fn chunks(mut self) -> impl Iterator<Item = Result<Vec<u8>, Failure>> {
        let PartHeader { size_bytes, crc32c, .. } = self.header;
        let whole = Seen { size_bytes, crc32c };
        let mut seen = Seen::default();
        iter::from_fn(move || {
            let chunk = match read_chunk(&mut self.file) {
                Ok(chunk) => chunk,
                Err(error) => return Some(Err(Failure::file(&self.path, &error))),
            };
            seen.add(&chunk);
            if seen.size_bytes > size_bytes || (chunk.is_empty() && seen != whole) {
                let changed = Failure::refused(format!("{} changed while it was uploaded", self.path.display()));
                return Some(Err(changed.with("upload it again when nothing writes to it")));
            }
            (!chunk.is_empty()).then_some(Ok(chunk))
        })
    }
}

/// What is known of the bytes up to some place.
#[derive(Default, PartialEq, Eq)]
struct Seen {
    size_bytes: u64,
    crc32c: u32,
}

impl Seen {
    fn add(&mut self, chunk: &[u8]) {
        self.size_bytes = self.size_bytes.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        self.crc32c = crc32c_append(self.crc32c, chunk);
    }
}

/// The next bytes; none at the end.
fn read_chunk(file: &mut File) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::new();
    file.take(CHUNK).read_to_end(&mut chunk)?;
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const JPEG: &[u8] = &[0xff, 0xd8, 0xff, 0xe0];

    /// A file of some size that begins as a JPEG does, read once.
    fn examined(bytes: &[u8]) -> (tempfile::NamedTempFile, PartFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        let part = PartFile::examine(1, file.path().to_owned()).unwrap();
        (file, part)
    }

    fn image(len: usize) -> Vec<u8> {
        JPEG.iter().copied().chain((0..=u8::MAX).cycle()).take(len).collect()
    }

    #[test]
    fn a_file_is_described_and_then_read_in_chunks() {
        let bytes = image((2 << 18) + 7);
        let (_file, part) = examined(&bytes);
        let wanted =
            PartHeader { category: 1, media_type: "image/jpeg".to_owned(), size_bytes: 524_295, crc32c: crc32c::crc32c(&bytes) };
        assert_eq!(*part.header(), wanted);
        let chunks: Vec<_> = part.chunks().map(Result::unwrap).collect();
        assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [1 << 18, 1 << 18, 7]);
        assert_eq!(chunks.concat(), bytes);
    }

    #[test]
    fn a_file_that_changes_between_is_noticed() {
        let bytes = image(1000);
        let mut other = bytes.clone();
        other[500] ^= 1;
        for changed in [&bytes[..999], &[&bytes[..], b"x"].concat(), &other, &[]] {
            let (file, part) = examined(&bytes);
            fs::write(file.path(), changed).unwrap();
            let failure = part.chunks().find_map(Result::err).unwrap();
            assert!(failure.to_string().contains("changed while it was uploaded"), "{failure}");
        }
    }

    #[test]
    fn what_cannot_be_uploaded_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("a.txt");
        fs::write(&text, "no image").unwrap();
        for (path, says) in
            [(dir.path().join("lost.jpg"), "No such file"), (text, "no known format"), (dir.path().to_owned(), "directory")]
        {
            let failure = PartFile::examine(1, path).err().unwrap().to_string();
            assert!(failure.contains(says), "{failure}");
        }
    }
}
