//! String fields of a protobuf message on the wire (Protocol Buffers encoding specification): a key, a length, the text.
//!
//! Written by hand, since the rules depend on no framework. Only fields 1 to 15 and texts under 2 MiB are read.

/// The wire type of a field with a length.
const LENGTH_DELIMITED: u8 = 2;

/// Appends a field.
pub(super) fn put(bytes: &mut Vec<u8>, number: u8, value: &str) {
    bytes.push((number << 3) | LENGTH_DELIMITED);
    let mut length = value.len();
    while length > 0x7f {
        let [low, ..] = length.to_le_bytes();
        bytes.push(low | 0x80);
        length >>= 7;
    }
    let [low, ..] = length.to_le_bytes();
    bytes.push(low);
    bytes.extend_from_slice(value.as_bytes());
}

/// Takes a field off the front.
pub(super) fn take<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a str)> {
    let key = take_byte(bytes)?;
    if key > 0x7f || key & 0x07 != LENGTH_DELIMITED {
        return None;
    }
    let length = take_length(bytes)?;
    let (value, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some((key >> 3, str::from_utf8(value).ok()?))
}

fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let mut length = 0;
    for shift in [0, 7, 14] {
        let byte = take_byte(bytes)?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte <= 0x7f {
            return Some(length);
        }
    }
    None
}

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_come_back(number in 1u8..=15, value in ".{0,300}", after in prop::collection::vec(any::<u8>(), 0..4)) {
            let mut bytes = Vec::new();
            put(&mut bytes, number, &value);
            bytes.extend(&after);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take(&mut rest), Some((number, value.as_str())));
            prop_assert_eq!(rest, after);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut rest = bytes.as_slice();
            while take(&mut rest).is_some() {}
        }
    }

    #[test]
    fn other_wire_types_long_keys_and_long_lengths_are_refused() {
        for bytes in
            [&[0x08, 0x01][..], &[0x8a, 0x01, 0x00], &[0x0a, 0x80, 0x80, 0x80, 0x00], &[0x0a, 0x02, b'a'], &[0x0a, 0x01, 0xff]]
        {
            assert_eq!(take(&mut &*bytes), None, "{bytes:x?}");
        }
    }
}
