//! A record that is arriving: checked, sealed and written to volumes piece by piece. No row names it yet.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Found, PartHeader, UploadHeader};
use crate::crypto::seal::{PartKey, PartSealer, Plaintext, Salt, sealed_len};
use crate::crypto::secret::Secret;
use crate::domain::attributes::Attributes;
use crate::domain::category::{Category, CategorySet};
use crate::domain::context::PartContext;
use crate::domain::ids::{Hour, Place, VaultId};
use crate::domain::media::{MAX_PARTS, MAX_RECORD_BYTES, MediaType};
use crate::domain::metadata::Treatment;
use crate::domain::record::{Part, Record};
use crate::domain::tenant::MetadataPolicy;
use crate::keys::keyring::Keyring;
use crate::store::volume::{Appending, MAX_PAYLOAD, VolumeError, Volumes};
use crate::vault::error::Error;
use crate::vault::metadata;

mod arriving;

use arriving::{Arrived, Arriving};

/// A record on its way in. Dropped before it is finished, it leaves nothing that a key opens.
#[expect(missing_debug_implementations, reason = "holds identification data and keys")]
pub struct Intake {
    pub(super) header: UploadHeader,
    pub(super) found: Found,
    /// What is sealed; nothing when the request is known, and is only compared with what came before.
    pub(super) fresh: Option<Fresh>,
    headers: Vec<PartHeader>,
    arriving: Option<Arriving>,
}

impl Intake {
    /// A record that is new; as yet it has no parts.
    pub(super) fn new(header: UploadHeader, found: Found, fresh: Fresh) -> Self {
        Self { header, found, fresh: Some(fresh), headers: Vec::new(), arriving: None }
    }

    /// A request that was made before.
    pub(super) fn again(header: UploadHeader, found: Found) -> Self {
        Self { header, found, fresh: None, headers: Vec::new(), arriving: None }
    }

    /// How many bytes are held back at once for a part of this format and size, besides those that are sealed as they come.
    #[must_use]
    pub fn held_back(&self, header: &PartHeader) -> u64 {
        // The image, and what is left of it.
        let is_collected = self.fresh.as_ref().is_some_and(|fresh| fresh.strips(header.media_type));
        if is_collected { header.size.saturating_mul(2) } else { 0 }
    }

    pub(super) fn begin_part(&mut self, header: PartHeader) -> Result<(), Error> {
        let number = self.headers.len();
        if number >= MAX_PARTS {
            return Err(too_many());
        }
        let total = self.headers.iter().fold(header.size, |sum, header| sum.saturating_add(header.size));
        if header.size > header.media_type.max_bytes() || total > MAX_RECORD_BYTES {
            return Err(Error::PartTooLarge(number));
        }
        let is_held_back = self.held_back(&header) > 0;
        if let Some(fresh) = self.fresh.as_mut().filter(|_| !is_held_back) {
            let treatment = if fresh.policy == MetadataPolicy::Keep { Treatment::Kept } else { Treatment::Untouched };
            fresh.begin(&header, treatment)?;
        }
        self.headers.push(header);
        self.arriving = Some(Arriving::new(number, header, is_held_back));
        Ok(())
    }

    pub(super) fn add_bytes(&mut self, bytes: &[u8], volumes: &Volumes) -> Result<(), Error> {
        let arriving = self.arriving.as_mut().ok_or_else(|| Error::invalid("chunk", "must come after its part's header"))?;
        arriving.add(bytes)?;
        self.fresh.as_mut().map_or(Ok(()), |fresh| fresh.seal(bytes, volumes))
    }

    /// Ends the part that is arriving, if there is one.
    pub(super) fn end_part(&mut self, volumes: &Volumes) -> Result<(), Error> {
        let Some(arriving) = self.arriving.take() else { return Ok(()) };
        let Arrived { number, header, held_back } = arriving.end()?;
        let Some(fresh) = &mut self.fresh else { return Ok(()) };
        let Some(image) = held_back else { return fresh.end(volumes) };
        // Malformed is an image that a reader of this format would not read either.
        let (image, removed) =
            metadata::strip(header.media_type, &image).map_err(|_| Error::PartType(number))?.ok_or(Error::PartType(number))?;
        fresh.add_whole(&header, Treatment::Stripped(removed), &image, volumes)
    }

    /// Adds the attributes, if there are any: the last part.
    pub(super) fn add_attributes(&mut self, attributes: &Attributes, volumes: &Volumes) -> Result<(), Error> {
        let count = self.headers.len().saturating_add(usize::from(!attributes.is_empty()));
        if count == 0 || count > MAX_PARTS {
            return Err(too_many());
        }
        let Some(fresh) = self.fresh.as_mut().filter(|_| !attributes.is_empty()) else { return Ok(()) };
        fresh.record.fields = attributes.categories();
        let bytes = Plaintext::from(attributes.encode());
        let (category, media_type) = (Category::Attributes, MediaType::Attributes);
        fresh.add_whole(&PartHeader { category, media_type, size: 0, crc32c: 0 }, Treatment::Unknown, &bytes, volumes)
    }

    /// The categories of the parts that were announced, and of the attributes once they are there.
    pub(super) fn categories(&self) -> CategorySet {
        let fields = self.fresh.as_ref().map_or_else(CategorySet::default, |fresh| fresh.record.fields);
        self.headers.iter().map(|header| header.category).collect::<CategorySet>().union(fields)
    }

    /// What the upload asks, in a canonical form: header, then of each part its category, format, length and checksum.
    pub(super) fn content(&self, attributes: &Attributes) -> Zeroizing<Vec<u8>> {
        let last = Zeroizing::new(attributes.encode());
        // Reserved whole, so that no growing leaves attributes behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(last.len().saturating_add(1 << 12)));
        let mut field = |value: &[u8]| {
            bytes.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend_from_slice(value);
        };
        field(self.header.call_id.as_str().as_bytes());
        field(&self.header.collect_time.timestamp_millis().to_be_bytes());
        field(self.found.consent.id().0.as_bytes());
        field(&self.found.consent.receipt_sha256);
        for part in &self.headers {
            field(&[part.category.number(), part.media_type.number()]);
            field(&part.size.to_be_bytes());
            field(&part.crc32c.to_be_bytes());
        }
        field(&last);
        bytes
    }
}

/// What is sealed of a record that is new.
pub(super) struct Fresh {
    vault: VaultId,
    record: Record,
    claim: Claim,
    leaf: Secret,
    policy: MetadataPolicy,
    sealing: Option<Sealing>,
    /// Frames that are not written yet, together less than a full one: a small record is written when it is whole.
    waiting: Vec<(u8, Vec<u8>)>,
    appending: Appending,
}

/// A part that is being sealed.
struct Sealing {
    part: u8,
    sealer: PartSealer,
    /// Its sealed bytes that are in no frame yet.
    out: Vec<u8>,
}

impl Fresh {
    /// Nothing yet of a record of this vault.
    pub(super) fn new(vault: VaultId, policy: MetadataPolicy, record: Record, claim: Claim, leaf: Secret) -> Self {
        let appending = Appending::new(record.place);
        Self { vault, record, claim, leaf, policy, sealing: None, waiting: Vec::new(), appending }
    }

    /// Whether images of this format are held back and stripped.
    fn strips(&self, media_type: MediaType) -> bool {
        self.policy == MetadataPolicy::Strip && metadata::can_strip(media_type)
    }

    fn begin(&mut self, header: &PartHeader, treatment: Treatment) -> Result<(), Error> {
        let number = u8::try_from(self.record.parts.len()).map_err(|_| too_many())?;
        let PartHeader { category, media_type, size, .. } = *header;
        let part = Part { number, category, media_type, size, treatment, extents: Vec::new() };
        let key = PartKey::derive(&self.leaf, u16::from(number));
        let capacity = usize::try_from(sealed_len(size)).unwrap_or(MAX_PAYLOAD);
        let mut out = Vec::with_capacity(capacity.min(MAX_PAYLOAD));
        let sealer = PartSealer::new(&key, &Salt::random()?, &part_context(&self.vault, &self.record, &part), &mut out);
        self.record.parts.push(part);
        self.sealing = Some(Sealing { part: number, sealer, out });
        Ok(())
    }

    /// Seals bytes of the part that has begun; one that is held back has not.
    fn seal(&mut self, bytes: &[u8], volumes: &Volumes) -> Result<(), Error> {
        // In pieces, so that little of it is in memory twice.
        for piece in bytes.chunks(MAX_PAYLOAD) {
            let Some(Sealing { part, sealer, out }) = &mut self.sealing else { return Ok(()) };
            sealer.update(piece, out);
            while out.len() >= MAX_PAYLOAD {
                let rest = out.split_off(MAX_PAYLOAD);
                self.waiting.push((*part, std::mem::replace(out, rest)));
            }
            self.write(volumes, MAX_PAYLOAD)?;
        }
        Ok(())
    }

    /// Seals a part that is there as a whole.
    fn add_whole(
        &mut self,
        header: &PartHeader,
        treatment: Treatment,
        bytes: &Plaintext,
        volumes: &Volumes,
    ) -> Result<(), Error> {
        let size = u64::try_from(bytes.expose().len()).unwrap_or(u64::MAX);
        self.begin(&PartHeader { size, ..*header }, treatment)?;
        self.seal(bytes.expose(), volumes)?;
        self.end(volumes)
    }

    fn end(&mut self, volumes: &Volumes) -> Result<(), Error> {
        let Some(Sealing { part, sealer, mut out }) = self.sealing.take() else { return Ok(()) };
        sealer.finish(&mut out);
        let rest = out.split_off(out.len().min(MAX_PAYLOAD));
        self.waiting.push((part, out));
        self.waiting.extend((!rest.is_empty()).then_some((part, rest)));
        self.write(volumes, MAX_PAYLOAD)
    }

    /// Writes the frames that wait, if they are together `least` bytes.
    fn write(&mut self, volumes: &Volumes, least: usize) -> Result<(), Error> {
        let waiting: usize = self.waiting.iter().map(|(_, frame)| frame.len()).sum();
        if waiting > 0 && waiting >= least {
            self.claim.is_written = true;
            volumes.append(&mut self.appending, &std::mem::take(&mut self.waiting)).map_err(|error| match error {
                VolumeError::Gone => Error::RetentionTooShort,
                VolumeError::Full | VolumeError::Damaged(_) | VolumeError::Disk(_) => error.into(),
            })?;
        }
        Ok(())
    }

    /// Writes what is not written yet. The record then knows where its parts are.
    pub(super) fn stored(mut self, volumes: &Volumes) -> Result<Stored, Error> {
        self.write(volumes, 0)?;
        for part in &mut self.record.parts {
            part.extents = self.appending.extents(part.number);
        }
        Ok(Stored { record: self.record, claim: self.claim, leaf: self.leaf, appending: self.appending })
    }
}

/// A record whose parts are in volumes, not yet durable, and that no row names.
pub(super) struct Stored {
    pub(super) record: Record,
    pub(super) claim: Claim,
    pub(super) leaf: Secret,
    pub(super) appending: Appending,
}

/// A serial drawn for a record that does not exist yet. Dropped before the record does, it is given up, or back if nothing was written
/// under it.
pub(super) struct Claim {
    keyring: Arc<Keyring>,
    place: Place,
    is_written: bool,
    is_kept: bool,
}

impl Claim {
    /// Draws a serial in `hour`, with its leaf.
    pub(super) fn draw(keyring: &Arc<Keyring>, hour: Hour) -> Result<(Self, Secret), Error> {
        let (place, leaf) = keyring.draw(hour)?;
        Ok((Self { keyring: Arc::clone(keyring), place, is_written: false, is_kept: false }, leaf))
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// The record exists.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        match (self.is_kept, self.is_written) {
            (true, _) => {}
            (false, true) => self.keyring.abandon(self.place),
            (false, false) => self.keyring.give_back(self.place),
        }
    }
}

/// What a sealed part is bound to, rebuilt from its row.
#[must_use]
pub fn part_context(vault: &VaultId, record: &Record, part: &Part) -> Vec<u8> {
    PartContext {
        vault,
        tenant: &record.tenant,
        record: record.id,
        part: part.number,
        category: part.category,
        media_type: part.media_type.name(),
        consent: record.consent,
        receipt_sha256: &record.receipt_sha256,
        upload_time: record.upload_time,
        place: record.place,
    }
    .encode()
}

fn too_many() -> Error {
    Error::invalid("parts", format!("must be 1 to {MAX_PARTS}, attributes included"))
}
