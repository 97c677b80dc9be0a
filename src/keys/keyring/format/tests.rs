//! The codec of heads and pages: what opens as what, and nothing else as anything.

use super::*;
use crate::domain::ids::Serial;
use proptest::prelude::*;

fn head(generation: u64, hours: u32) -> Head<Secret> {
    let secret = || Secret::random().unwrap();
    let key = |number| if number % 2 == 0 { HourKey::Seed(secret()) } else { HourKey::Page { generation: 3, key: secret() } };
    Head {
        generation,
        serial_limit: 77,
        ledger_sequence: 88,
        heartbeat: [5; HEARTBEAT_LEN],
        service: ServiceKeys { index: secret(), ledger: secret(), clock: secret() },
        months: (0..27).map(|month| (600 + month, secret())).collect(),
        hours: (0..hours).map(|number| (Hour::new(500_000 + number).unwrap(), key(number))).collect(),
    }
}

fn exposed(head: &Head<Secret>) -> Head<&[u8; 32]> {
    let Head { generation, serial_limit, ledger_sequence, heartbeat, .. } = *head;
    let ServiceKeys { index, ledger, clock } = &head.service;
    let hours = head.hours.iter().map(|(hour, key)| match key {
        HourKey::Seed(seed) => (*hour, HourKey::Seed(seed.expose())),
        HourKey::Page { generation, key } => (*hour, HourKey::Page { generation: *generation, key: key.expose() }),
    });
    Head {
        service: ServiceKeys { index: index.expose(), ledger: ledger.expose(), clock: clock.expose() },
        months: head.months.iter().map(|(month, key)| (*month, key.expose())).collect(),
        hours: hours.collect(),
        generation,
        serial_limit,
        ledger_sequence,
        heartbeat,
    }
}

fn root(generation: u64, wrapped: &[u8]) -> Root {
    Root { handle: Handle { generation, wrapped: wrapped.to_vec() }, key: Secret::random().unwrap() }
}

#[test]
fn a_head_opens_as_itself_only() {
    let (vault, other): (VaultId, VaultId) = ("hk-1".parse().unwrap(), "hk-2".parse().unwrap());
    for wrapped in [&b""[..], b"what a custody keeps of it"] {
        let (root, wrong) = (root(9, wrapped), root(9, wrapped));
        let head = head(9, 724);
        let bytes = seal_head(&exposed(&head), &[], &vault, &root).unwrap().unwrap();
        let slot = Slot::parse(&bytes).unwrap();
        assert_eq!(slot.handle, root.handle);
        let opened = slot.open(&vault, &root).unwrap();
        assert_eq!(encode_head(&exposed(&opened)).expose(), encode_head(&exposed(&head)).expose());
        assert_eq!(opened.generation, 9);
        assert!(slot.open(&vault, &wrong).is_none());
        assert!(slot.open(&other, &root).is_none());
        let mut renumbered = bytes.clone();
        renumbered[15] ^= 1;
        assert!(Slot::parse(&renumbered).unwrap().open(&vault, &root).is_none());
    }
}

#[test]
fn slots_of_earlier_versions_open() {
    let (vault, root) = ("hk-1".parse().unwrap(), root(9, b""));
    let slot = seal_head(&exposed(&head(9, 3)), &[], &vault, &root).unwrap().unwrap();
    let second = [&SECOND_MAGIC[..], &slot[8..22], &slot[26..]].concat();
    let first = [&FIRST_MAGIC[..], &slot[8..16], &slot[18..22], &slot[26..]].concat();
    for slot in [first, second] {
        let parsed = Slot::parse(&slot).unwrap();
        assert_eq!(parsed.handle, root.handle);
        assert_eq!(parsed.pages().count(), 0);
        assert_eq!(parsed.open(&vault, &root).unwrap().serial_limit, 77);
    }
}

#[test]
fn pages_behind_a_head_come_back_and_too_many_do_not_fit() {
    let (vault, root) = ("hk-1".parse().unwrap(), root(9, b""));
    let page = |number, len| (Hour::new(number).unwrap(), vec![u8::try_from(number).unwrap(); len]);
    let for_pages = SLOT_LEN - HEAD_LEN;
    let fitting = [page(1, 0), page(2, 5), page(3, for_pages - 5 - 3 * PAGE_HEADER_LEN)];
    let pages = || fitting.iter().map(|(hour, page)| (*hour, page.as_slice()));
    assert!(fit_behind_a_head(&fitting));
    assert!(!fit_behind_a_head(&[page(1, for_pages - PAGE_HEADER_LEN + 1)]));
    let bytes = seal_head(&exposed(&head(9, 3)), &fitting, &vault, &root).unwrap().unwrap();
    assert!(bytes.len() <= SLOT_LEN && bytes.len().is_multiple_of(BLOCK_LEN));
    let slot = Slot::parse(&bytes).unwrap();
    assert!(slot.pages().eq(pages()));
    assert!(bytes[slot.len..].iter().all(|byte| *byte == 0));
    assert_eq!(slot.open(&vault, &root).unwrap().serial_limit, 77);
    assert!(Slot::parse(&bytes[..slot.len]).is_some());
    let cut = Slot::parse(&bytes[..slot.len - 1]).unwrap();
    assert!(cut.pages().eq(pages().take(2)), "what is cut short is not there");
    assert!(cut.open(&vault, &root).is_some());
}

proptest! {
    #[test]
    fn any_bytes_are_a_slot_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64), cut in 0_usize..200) {
        let pages = [(Hour::new(5).unwrap(), vec![7; 20])];
        let slot = seal_head(&exposed(&head(9, 1)), &pages, &"hk-1".parse().unwrap(), &root(9, b"wrapped")).unwrap().unwrap();
        let mut damaged = slot.clone();
        damaged[cut] ^= u8::try_from(bytes.len()).unwrap();
        for bytes in [&bytes[..], &slot[..cut], &[&slot[..cut], &bytes].concat(), &damaged] {
            if let Some(slot) = Slot::parse(bytes) {
                prop_assert!(slot.sealed.len() + slot.pages().map(|(_, page)| page.len()).sum::<usize>() <= slot.len);
                prop_assert!(slot.len <= bytes.len());
            }
        }
    }
}

#[test]
fn heads_of_earlier_versions_open_and_no_later_one() {
    let mut head = head(9, 3);
    head.heartbeat[FIRST_HEARTBEAT_LEN..].fill(0);
    let encoded = encode_head(&exposed(&head));
    let (front, rest) = encoded.expose().split_at(9);
    let (sequence, rest) = rest.split_at(8);
    let (heartbeat, keys) = (&rest[..FIRST_HEARTBEAT_LEN], &rest[HEARTBEAT_LEN..]);
    let second = [&[SECOND_HEAD_VERSION], &front[1..], sequence, heartbeat, keys].concat();
    assert_eq!(encode_head(&exposed(&decode_head(9, &second).unwrap())).expose(), encoded.expose());
    let first = [&[FIRST_HEAD_VERSION], &front[1..], heartbeat, keys].concat();
    let opened = decode_head(9, &first).unwrap();
    assert_eq!((opened.serial_limit, opened.ledger_sequence), (77, 0));
    assert_eq!(encode_head(&exposed(&Head { ledger_sequence: 88, ..opened })).expose(), encoded.expose());
    assert!(decode_head(9, &[&[HEAD_VERSION + 1], &encoded.expose()[1..]].concat()).is_none());
}

#[test]
fn a_head_that_does_not_fit_is_refused() {
    assert!(seal_head(&exposed(&head(1, 3000)), &[], &"hk-1".parse().unwrap(), &root(1, b"")).unwrap().is_none());
}

#[test]
fn a_page_opens_as_itself_only() {
    let vault: VaultId = "hk-1".parse().unwrap();
    let (key, hour) = (Secret::random().unwrap(), Hour::new(5).unwrap());
    let (gone, alive) = (Serial::new(7).unwrap(), Serial::new(8).unwrap());
    let mut tree = Tree::from_seed(&Secret::random().unwrap());
    tree.puncture(gone..=gone);
    let page = seal_page(&tree, &vault, (hour, 4), &key).unwrap();
    let mut opened = open_page(&page, &vault, (hour, 4), &key).unwrap();
    assert_eq!(opened.leaf(alive).unwrap().expose(), tree.leaf(alive).unwrap().expose());
    assert!(!opened.covers(gone));
    assert!(open_page(&page, &vault, (hour, 5), &key).is_none());
    assert!(open_page(&page, &vault, (hour.plus(1), 4), &key).is_none());
}
