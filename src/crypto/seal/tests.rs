//! What is sealed opens as itself, under its key and context, and as nothing else.

use proptest::prelude::*;

use super::*;

const PREFIX_LEN: usize = SALT_LEN + COMMITMENT_LEN;
const CONTEXT: &[u8] = b"context";

fn key() -> Secret {
    Secret::build(|key| key.fill(7))
}

fn sealed(plaintext: &[u8]) -> Vec<u8> {
    seal(&key(), &Salt::from_bytes([9; SALT_LEN]), CONTEXT, plaintext)
}

fn error(sealed: &[u8]) -> Option<OpenError> {
    open(&key(), CONTEXT, sealed).err()
}

/// Lengths around the borders of chunks.
fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![0_usize..100, CHUNK_LEN - 2..CHUNK_LEN + 3, 2 * CHUNK_LEN - 2..2 * CHUNK_LEN + 3, 0_usize..70_000]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_sealed_opens(length in lengths(), fill: u8, context: Vec<u8>, salt: [u8; SALT_LEN]) {
        let plaintext: Vec<u8> = (0..length).map(|at| fill ^ at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        let sealed = seal(&key(), &Salt::from_bytes(salt), &context, &plaintext);
        prop_assert_eq!(u64::try_from(sealed.len()).unwrap(), sealed_len(u64::try_from(length).unwrap()));
        let opened = open(&key(), &context, &sealed).ok().unwrap();
        prop_assert_eq!(opened.expose(), plaintext);
    }

    #[test]
    fn a_flipped_bit_is_refused(length in lengths(), at: prop::sample::Index, bit in 0_u32..8) {
        let mut sealed = sealed(&vec![3; length]);
        let at = at.index(sealed.len());
        sealed[at] ^= 1 << bit;
        prop_assert_eq!(error(&sealed), Some(if at < PREFIX_LEN { OpenError::Commitment } else { OpenError::Tag }));
    }

    #[test]
    fn sealing_piece_by_piece_gives_the_same_bytes(
        length in lengths(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let plaintext: Vec<u8> = (0_u8..251).cycle().take(length).collect();
        let part = PartKey::derive(&key(), 3);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(length.saturating_add(1))).chain([0, length]).collect();
        cuts.sort_unstable();
        let mut out = Vec::new();
        let mut sealer = PartSealer::new(&part, &Salt([9; SALT_LEN]), CONTEXT, &mut out);
        for cut in cuts.windows(2) {
            sealer.update(&plaintext[cut[0]..cut[1]], &mut out);
        }
        sealer.finish(&mut out);
        prop_assert_eq!(out, seal_part(&part, &Salt([9; SALT_LEN]), CONTEXT, &plaintext));
    }

    #[test]
    fn pieces_open_from_their_own_bytes_and_make_the_whole(length in lengths(), most in prop_oneof![1_u64..100, 1_u64..40_000]) {
        let plaintext: Vec<u8> = (0_u8..251).cycle().take(length).collect();
        let sealed = seal_with::<Bulk>(&key(), &Salt([9; SALT_LEN]), CONTEXT, &plaintext);
        let size = u64::try_from(length).unwrap();
        let (mut opened, mut asked) = (Vec::new(), 0);
        loop {
            let piece = Piece::new(size, u64::try_from(opened.len()).unwrap(), most);
            let read = |range: Range<u64>| {
                asked += range.end - range.start;
                Ok::<_, OpenError>(sealed[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec().into())
            };
            let bytes = open_piece(&key(), CONTEXT, &piece, read).ok().unwrap();
            prop_assert_eq!(piece.start(), u64::try_from(opened.len()).unwrap());
            prop_assert!(piece.is_last() || piece.length() >= most && piece.length() < most + 16_384);
            prop_assert_eq!(piece.length(), u64::try_from(bytes.expose().len()).unwrap());
            opened.extend_from_slice(bytes.expose());
            if piece.is_last() {
                break;
            }
        }
        prop_assert_eq!(opened, plaintext);
        let prefixes = asked - (sealed_len(size) - 56);
        prop_assert!(prefixes.is_multiple_of(56), "each chunk is read once, and what stands before them with each piece");
    }

    #[test]
    fn a_piece_is_refused_for_a_bit_within_it(length in 1_usize..70_000, at: prop::sample::Index, start in 0_u64..5) {
        let mut sealed = seal_with::<Bulk>(&key(), &Salt([9; SALT_LEN]), CONTEXT, &vec![3; length]);
        let at = at.index(sealed.len());
        sealed[at] ^= 1;
        let size = u64::try_from(length).unwrap();
        let piece = Piece::new(size, (start * 16_384).min(size), 20_000);
        let read = |range: Range<u64>| Ok(sealed[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec().into());
        let expected = match u64::try_from(at).unwrap() {
            0..56 => Some(OpenError::Commitment),
            at => piece.sealed().contains(&at).then_some(OpenError::Tag),
        };
        prop_assert_eq!(open_piece::<OpenError>(&key(), CONTEXT, &piece, read).err(), expected);
    }

    #[test]
    fn another_length_is_refused(length in lengths(), at: prop::sample::Index, more in 1_usize..40_000) {
        let mut sealed = sealed(&vec![3; length]);
        prop_assert!(error(&sealed[..at.index(sealed.len())]).is_some());
        sealed.extend(vec![0; more]);
        prop_assert!(error(&sealed).is_some());
    }

    #[test]
    fn another_key_or_context_is_refused(other: [u8; 32], context: Vec<u8>) {
        let sealed = sealed(b"a face");
        let other = Secret::build(|key| *key = other);
        prop_assert_eq!(open(&other, CONTEXT, &sealed).err(), Some(OpenError::Commitment));
        prop_assume!(context != CONTEXT);
        prop_assert_eq!(open(&key(), &context, &sealed).err(), Some(OpenError::Commitment));
    }
}

#[test]
fn every_flipped_bit_of_a_small_message_is_refused() {
    let sealed = sealed(b"a face");
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1 << bit;
            assert!(error(&flipped).is_some(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_piece_of_which_less_is_there_is_refused() {
    let sealed = seal_with::<Bulk>(&key(), &Salt([9; SALT_LEN]), CONTEXT, &vec![3; 50_000]);
    for (start, missing) in [(0, 1), (16_384, 1), (16_384, SEALED_CHUNK_LEN), (32_768, 40_000)] {
        let read = |range: Range<u64>| {
            let end = usize::try_from(range.end).unwrap();
            let end = if range == Piece::PREFIX { end } else { end.saturating_sub(missing) };
            Ok(sealed[usize::try_from(range.start).unwrap().min(end)..end].to_vec().into())
        };
        let opened = open_piece::<OpenError>(&key(), CONTEXT, &Piece::new(50_000, start, 50_000), read);
        assert_eq!(opened.err(), Some(OpenError::Truncated));
    }
}

#[test]
fn chunks_keep_their_place() {
    let sealed = sealed(&[vec![1; CHUNK_LEN], vec![2; CHUNK_LEN], vec![3; 5]].concat());
    let (prefix, body) = sealed.split_at(PREFIX_LEN);
    let chunks: Vec<_> = body.chunks(SEALED_CHUNK_LEN).collect();
    let arranged = |order: &[usize]| [prefix.to_vec(), order.iter().flat_map(|at| chunks[*at].to_vec()).collect()].concat();
    assert_eq!(error(&arranged(&[0, 1, 2])), None);
    for order in [&[1, 0, 2][..], &[0, 2], &[1, 2], &[0, 0, 1, 2], &[2]] {
        assert_eq!(error(&arranged(order)), Some(OpenError::Tag), "{order:?}");
    }
    assert_eq!(error(&arranged(&[0, 1])), Some(OpenError::Truncated));
    assert_eq!(error(prefix), Some(OpenError::Truncated));
}

#[test]
fn a_part_opens_under_its_own_key_only() {
    let (face, document) = (PartKey::derive(&key(), 0), PartKey::derive(&key(), 1));
    let sealed = seal_part(&face, &Salt::random().unwrap(), CONTEXT, b"a face");
    assert_eq!(check(&face, CONTEXT, &sealed), Ok(()));
    assert_eq!(check(&document, CONTEXT, &sealed), Err(OpenError::Commitment));
    assert_eq!(open(face.of(0).ok().unwrap(), CONTEXT, &sealed).ok().unwrap().as_ref(), b"a face");
    assert_eq!(face.of(1).err(), Some(OpenError::Commitment));
}
