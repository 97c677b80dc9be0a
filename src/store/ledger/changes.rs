//! Changes of rows as bytes: what journal and dump are made of.
//!
//! Each change: length of the key (2), key, length of the value (4) and value, or `ffffffff` where the row goes. Big-endian.

use super::Change;

/// In place of a value's length: the row goes.
const REMOVED: u32 = u32::MAX;

/// Appends changes. A key has fewer than 64 KiB, a value fewer than 4 GiB; rows are far smaller.
pub(super) fn encode(changes: &[Change], out: &mut Vec<u8>) {
    for Change { key, value } in changes {
        out.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(key);
        match value {
            Some(value) => {
                out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(REMOVED).to_be_bytes());
                out.extend_from_slice(value);
            }
            None => out.extend_from_slice(&REMOVED.to_be_bytes()),
        }
    }
}

/// The changes in `bytes`, if they are nothing else.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    while !bytes.is_empty() {
        let key_len = u16::from_be_bytes(take(&mut bytes)?);
        let key = bytes.split_off(..usize::from(key_len))?.to_vec();
        let value = match u32::from_be_bytes(take(&mut bytes)?) {
            REMOVED => None,
            len => Some(bytes.split_off(..usize::try_from(len).ok()?)?.to_vec()),
        };
        changes.push(Change { key, value });
    }
    Some(changes)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*array)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn changes_come_back(rows in prop::collection::vec((any::<Vec<u8>>(), any::<Option<Vec<u8>>>()), 0..9)) {
            let changes: Vec<_> = rows.into_iter().map(|(key, value)| Change { key, value }).collect();
            let mut bytes = Vec::new();
            encode(&changes, &mut bytes);
            prop_assert_eq!(decode(&bytes), Some(changes));
        }

        #[test]
        fn strange_bytes_are_refused_or_changes(bytes: Vec<u8>) {
            if let Some(changes) = decode(&bytes) {
                let mut again = Vec::new();
                encode(&changes, &mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
