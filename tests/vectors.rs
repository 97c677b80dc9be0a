//! The vectors that an independent reference made: the key tree, sealing, and the order of snapshots.
//!
//! `IDVAULT_VECTORS` names another folder of the same three files. Every case of each is checked; a file without cases fails.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::path::PathBuf;

use idvault::crypto::seal::{self, OpenError, PartKey, Salt};
use idvault::crypto::secret::Secret;
use idvault::domain::ids::Serial;
use idvault::domain::order::Order;
use idvault::keys::tree::Tree;
use serde_json::Value;
use sha2::{Digest, Sha256};

#[test]
fn the_key_tree() {
    let vectors = read("keytree.json");
    let mut tree = Tree::from_seed(&secret(&vectors["seed"]));
    for case in cases(&vectors["leaves"]) {
        assert_eq!(leaf(&mut tree, case), bytes(&case["leaf"]), "serial {}", case["serial"]);
    }
    for step in cases(&vectors["punctures"]) {
        tree.puncture(serial(&step["first"])..=serial(&step["last"]));
        let frontier: Vec<_> = tree.frontier().map(|(prefix, depth, node)| (prefix, depth, node.to_vec())).collect();
        let node = |node: &Value| {
            let prefix = u64::from_str_radix(text(&node["prefix"]), 16).unwrap();
            (prefix, number(&node["depth"]), bytes(&node["node"]).unwrap())
        };
        assert_eq!(frontier, cases(&step["frontier"]).iter().map(node).collect::<Vec<_>>(), "after {}", step["first"]);
    }
    for case in cases(&vectors["after"]) {
        assert_eq!(leaf(&mut tree, case), bytes(&case["leaf"]), "serial {}", case["serial"]);
        assert_eq!(tree.covers(serial(&case["serial"])), !case["leaf"].is_null());
    }
}

#[test]
fn sealing() {
    let vectors = read("sealing.json");
    for case in cases(&vectors) {
        let name = format!("{} ({} bytes)", case["name"], case["length"]);
        let part = u16::try_from(case["part"].as_u64().unwrap()).unwrap();
        let key = PartKey::derive(&secret(&case["leaf"]), part);
        let context = bytes(&case["context"]).unwrap();
        if case["expect"] == "ok" {
            let sealed = sealed_as_wanted(case, &key, &context, &name);
            assert_eq!(seal::check(&key, &context, &sealed), Ok(()), "{name}");
        } else {
            let wanted = match text(&case["expect"]) {
                "truncated" => OpenError::Truncated,
                "commitment" => OpenError::Commitment,
                "tag" => OpenError::Tag,
                other => panic!("{name}: no failure is called {other}"),
            };
            assert_eq!(seal::check(&key, &context, &bytes(&case["sealed"]).unwrap()), Err(wanted), "{name}");
        }
    }
}

/// Seals what the case seals, compares with all that it tells of the outcome, opens it again, and returns it.
fn sealed_as_wanted(case: &Value, key: &PartKey, context: &[u8], name: &str) -> Vec<u8> {
    let length = case["length"].as_u64().unwrap();
    let plaintext = python_random_bytes(usize::try_from(length).unwrap());
    assert!(bytes(&case["plaintext"]).is_none_or(|wanted| wanted == plaintext), "{name}: plaintext");
    assert_eq!(Sha256::digest(&plaintext).to_vec(), bytes(&case["plaintext_sha256"]).unwrap(), "{name}: plaintext");

    let salt = Salt::from_bytes(bytes(&case["salt"]).unwrap().try_into().unwrap());
    let sealed = seal::seal_part(key, &salt, context, &plaintext);
    assert!(bytes(&case["sealed"]).is_none_or(|wanted| wanted == sealed), "{name}: sealed");
    assert_eq!(Sha256::digest(&sealed).to_vec(), bytes(&case["sealed_sha256"]).unwrap(), "{name}: sealed");
    assert_eq!(sealed[..56], bytes(&case["sealed_prefix"]).unwrap(), "{name}: salt and commitment");
    assert_eq!(Some(seal::sealed_len(length)), case["sealed_length"].as_u64(), "{name}: length");

    let part_key = secret(&case["part_key"]);
    assert!(seal::seal(&part_key, &salt, context, &plaintext) == sealed, "{name}: part key");
    let opened = seal::open(&part_key, context, &sealed).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(opened.expose() == plaintext, "{name}: opened");
    sealed
}

#[test]
fn the_order_of_snapshots() {
    let vectors = read("order.json");
    for case in cases(&vectors) {
        let count = case["n"].as_u64().unwrap();
        let order = Order::new(text(&case["seed"]).parse().unwrap(), number(&case["epoch"]), count);
        for (position, index) in (0..).zip(cases(&case["indices"])) {
            assert_eq!(order.index(position), index.as_u64(), "position {position} of {count}");
        }
        assert_eq!(order.index(count), None);
    }
}

/// One of the three files.
fn read(name: &str) -> Value {
    #[expect(clippy::disallowed_methods, reason = "a setting of this test, not of the vault")]
    let folder = std::env::var_os("IDVAULT_VECTORS");
    let folder = folder.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"), PathBuf::from);
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The cases in a list: never none.
fn cases(list: &Value) -> &[Value] {
    let cases = list.as_array().unwrap();
    assert!(!cases.is_empty());
    cases
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

/// The bytes in hexadecimal; none for null.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    let pairs = value.as_str()?.as_bytes().chunks(2);
    Some(pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect())
}

fn secret(value: &Value) -> Secret {
    Secret::from_slice(&bytes(value).unwrap()).unwrap()
}

fn serial(value: &Value) -> Serial {
    Serial::new(u64::from_str_radix(text(value), 16).unwrap()).unwrap()
}

fn leaf(tree: &mut Tree, case: &Value) -> Option<Vec<u8>> {
    tree.leaf(serial(&case["serial"])).map(|leaf| leaf.expose().to_vec())
}

/// What Python's `random.Random(length).randbytes(length)` gives, of which the vectors keep only a hash when it is long: the
/// Mersenne Twister MT19937 (Matsumoto and Nishimura, ACM TOMACS 1998), seeded with an array of one number.
fn python_random_bytes(length: usize) -> Vec<u8> {
    const N: usize = 624;
    let seed = u32::try_from(length).unwrap();
    let mut state = [19_650_218_u32; N];
    for i in 1..N {
        state[i] = (state[i - 1] ^ state[i - 1] >> 30).wrapping_mul(1_812_433_253).wrapping_add(u32::try_from(i).unwrap());
    }
    for step in 0..2 * N - 1 {
        let i = 1 + step % (N - 1);
        let previous = state[i - 1] ^ state[i - 1] >> 30;
        state[i] = if step < N {
            (state[i] ^ previous.wrapping_mul(1_664_525)).wrapping_add(seed)
        } else {
            (state[i] ^ previous.wrapping_mul(1_566_083_941)).wrapping_sub(u32::try_from(i).unwrap())
        };
        if i == N - 1 {
            state[0] = state[i];
        }
    }
    state[0] = 1 << 31;

    let mut out = Vec::new();
    while out.len() < length {
        for i in 0..N {
            let joined = state[i] & 1 << 31 | state[(i + 1) % N] & !(1 << 31);
            state[i] = state[(i + 397) % N] ^ joined >> 1 ^ if joined & 1 == 1 { 0x9908_b0df } else { 0 };
        }
        for word in state {
            let word = word ^ word >> 11;
            let word = word ^ word << 7 & 0x9d2c_5680;
            let word = word ^ word << 15 & 0xefc6_0000;
            let word = word ^ word >> 18;
            // A last word of which fewer bytes are wanted gives its high ones.
            let wanted = length.saturating_sub(out.len()).min(4);
            out.extend_from_slice(&word.to_le_bytes()[4 - wanted..]);
        }
    }
    out
}
