//! The context of a part: all that is known of it before its first byte and must not change, as bytes.
//!
//! A part is sealed under its context and opened under one rebuilt from its ledger row, so an edited row opens nothing. The
//! encoding is never read back, and never holds anything that is learned only while the part arrives.

use chrono::{DateTime, Utc};

use super::category::Category;
use super::ids::{ConsentId, Place, RecordId, TenantId, VaultId};

const DOMAIN: &[u8] = b"idvault/part-context/v1";
const VERSION: u8 = 1;

/// What a part is sealed to.
#[derive(Debug, Clone, Copy)]
pub struct PartContext<'a> {
    /// The vault.
    pub vault: &'a VaultId,
    /// Whose record it is.
    pub tenant: &'a TenantId,
    /// The record.
    pub record: RecordId,
    /// The part's number in the record.
    pub part: u8,
    /// What kind of data it is.
    pub category: Category,
    /// Its media type.
    pub media_type: &'a str,
    /// The record's consent.
    pub consent: ConsentId,
    /// SHA-256 of that consent's receipt.
    pub receipt_sha256: &'a [u8; 32],
    /// When the upload was accepted; whole milliseconds count.
    pub upload_time: DateTime<Utc>,
    /// When it expires, and its leaf.
    pub place: Place,
}

impl PartContext<'_> {
    /// The context's bytes, different for different contexts: `idvault/part-context/v1`, then each field as its length (2
    /// bytes) and its bytes, numbers big-endian.
    ///
    /// | field | bytes |
    /// |---|---|
    /// | version of the format | 1: the number 1 |
    /// | vault id | 1–128: text |
    /// | tenant id | 1–63: text |
    /// | record id | 16: UUID |
    /// | part number | 1 |
    /// | category | 1: its number |
    /// | media type | any: text |
    /// | consent id | 16: UUID |
    /// | SHA-256 of the receipt | 32 |
    /// | upload time | 8: milliseconds since 1970-01-01T00:00Z |
    /// | expire time | 4: hours since 1970-01-01T00:00Z |
    /// | serial | 8 |
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fields: [&[u8]; 12] = [
            &[VERSION],
            self.vault.as_str().as_bytes(),
            self.tenant.as_str().as_bytes(),
            self.record.0.as_bytes(),
            &[self.part],
            &[self.category.number()],
            self.media_type.as_bytes(),
            self.consent.0.as_bytes(),
            self.receipt_sha256,
            &self.upload_time.timestamp_millis().to_be_bytes(),
            &self.place.hour.number().to_be_bytes(),
            &self.place.serial.number().to_be_bytes(),
        ];
        let mut out = DOMAIN.to_vec();
        for field in fields {
            // Only a media type could be longer than its length can say. As all after it has a fixed length, the whole
            // still tells where it ends.
            out.extend_from_slice(&u16::try_from(field.len()).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(field);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::{Hour, Serial};

    /// The fields of an encoding, read as the table says: all but the media type by their lengths, the media type by what
    /// the fixed fields after it leave.
    fn fields(encoded: &[u8]) -> Vec<Vec<u8>> {
        const AFTER_MEDIA_TYPE: usize = (2 + 16) + (2 + 32) + (2 + 8) + (2 + 4) + (2 + 8);
        let mut rest = encoded.strip_prefix(DOMAIN).unwrap();
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk().unwrap();
            let length = match fields.len() {
                6 => after.len().checked_sub(AFTER_MEDIA_TYPE).unwrap(),
                _ => usize::from(u16::from_be_bytes(*length)),
            };
            let (field, after) = after.split_at(length);
            fields.push(field.to_vec());
            rest = after;
        }
        fields
    }

    proptest! {
        #[test]
        fn every_field_can_be_told_from_the_bytes(
            (vault, tenant, media_type) in ("[A-Za-z0-9._:/-]{1,128}", "[a-z0-9-]{1,63}", ".{0,300}"),
            (record, part, category, consent) in (any::<u128>(), any::<u8>(), prop::sample::select(&Category::ALL[..]), any::<u128>()),
            (receipt_sha256, millis, place) in (any::<[u8; 32]>(), 0_i64..1 << 42, any::<u64>()),
            repeat in prop::sample::select(&[1_usize, 1, 1, 700][..]),
        ) {
            let (vault, tenant): (VaultId, TenantId) = (vault.parse().unwrap(), tenant.parse().unwrap());
            let media_type = media_type.repeat(repeat);
            let place = Place::from_u64(place);
            let context = PartContext {
                vault: &vault,
                tenant: &tenant,
                record: RecordId(Uuid::from_u128(record)),
                part,
                category,
                media_type: &media_type,
                consent: ConsentId(Uuid::from_u128(consent)),
                receipt_sha256: &receipt_sha256,
                upload_time: DateTime::from_timestamp_millis(millis).unwrap(),
                place,
            };
            let wanted = [
                vec![1],
                vault.as_str().into(),
                tenant.as_str().into(),
                record.to_be_bytes().into(),
                vec![part],
                vec![category.number()],
                media_type.as_str().into(),
                consent.to_be_bytes().into(),
                receipt_sha256.into(),
                millis.to_be_bytes().into(),
                place.hour.number().to_be_bytes().into(),
                place.serial.number().to_be_bytes().into(),
            ];
            prop_assert_eq!(fields(&context.encode()), wanted);
        }
    }

    #[test]
    fn the_encoding_stays_what_it_is() {
        let context = PartContext {
            vault: &"hk-1".parse().unwrap(),
            tenant: &"acme".parse().unwrap(),
            record: RecordId(Uuid::from_u128(0x0102)),
            part: 3,
            category: Category::DocumentFront,
            media_type: "image/png",
            consent: ConsentId(Uuid::from_u128(0x0405)),
            receipt_sha256: &[0xab; 32],
            upload_time: DateTime::from_timestamp_millis(1_700_000_000_123).unwrap(),
            place: Place { hour: Hour::new(472_222).unwrap(), serial: Serial::new(77).unwrap() },
        };
        let wanted = [
            &b"idvault/part-context/v1\0\x01\x01\0\x04hk-1\0\x04acme"[..],
            b"\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\0\x01\x03\0\x01\x03\0\x09image/png",
            b"\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\x05\0\x20",
            &[0xab; 32],
            b"\0\x08\0\0\x01\x8b\xcf\xe5\x68\x7b\0\x04\0\x07\x34\x9e\0\x08\0\0\0\0\0\0\0\x4d",
        ];
        assert_eq!(context.encode(), wanted.concat());
    }
}
