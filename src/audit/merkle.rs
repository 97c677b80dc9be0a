//! Merkle trees over lists of tokens, hashed as RFC 6962 (section 2.1) has it, with proofs that a token is in the list.

use sha2::{Digest, Sha256};

/// Where a token is in a list, and what its root is made of besides: the hashes beside its path, from the leaf up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Its place in the list.
    pub index: u64,
    /// How long the list is.
    pub count: u64,
    /// The hashes.
    pub path: Vec<[u8; 32]>,
}

/// The root of a list. Of an empty one the hash of nothing.
#[must_use]
pub fn root<T: AsRef<[u8]>>(tokens: &[T]) -> [u8; 32] {
    match tokens {
        [] => Sha256::digest([]).into(),
        [token] => leaf(token.as_ref()),
        _ => {
            let (left, right) = tokens.split_at(split(tokens.len()));
            node(&root(left), &root(right))
        }
    }
}

/// The proof that the token at `index` is in the list; `None` when the list is not so long.
#[must_use]
pub fn prove<T: AsRef<[u8]>>(tokens: &[T], index: usize) -> Option<Proof> {
    let mut path = Vec::new();
    let (mut rest, mut at) = (tokens, index);
    while rest.len() > 1 {
        let middle = split(rest.len());
        let (left, right) = rest.split_at(middle);
        if at < middle {
            path.push(root(right));
            rest = left;
        } else {
            path.push(root(left));
            rest = right;
            at = at.saturating_sub(middle);
        }
    }
    path.reverse();
    (index < tokens.len()).then_some(Proof { index: u64::try_from(index).ok()?, count: u64::try_from(tokens.len()).ok()?, path })
}

impl Proof {
    /// The root of the list if this token is where the proof says; `None` when no list has such a proof.
    #[must_use]
    pub fn root(&self, token: &[u8]) -> Option<[u8; 32]> {
        if self.index >= self.count {
            return None;
        }
        // RFC 9162, section 2.1.3.2.
        let (mut index, mut last) = (self.index, self.count.saturating_sub(1));
        let mut hash = leaf(token);
        for beside in &self.path {
            if last == 0 {
                return None;
            }
            if index & 1 == 1 || index == last {
                hash = node(beside, &hash);
                while index & 1 == 0 && index != 0 {
                    index >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node(&hash, beside);
            }
            index >>= 1;
            last >>= 1;
        }
        (last == 0).then_some(hash)
    }
}

/// The largest power of two below a length of at least 2.
fn split(length: usize) -> usize {
    length.next_power_of_two() >> 1
}

fn leaf(token: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update([0]).chain_update(token).finalize().into()
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(hash: [u8; 32]) -> String {
        base16ct::lower::encode_string(&hash)
    }

    /// The vectors of certificate-transparency-go, merkle/testdata: the first leaves are "", 00, 10, 2021, 3031.
    #[test]
    fn roots_are_those_of_rfc_6962() {
        let leaves: [&[u8]; 5] = [b"", b"\x00", b"\x10", b"\x20\x21", b"\x30\x31"];
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        ];
        for (count, wanted) in roots.into_iter().enumerate() {
            assert_eq!(hex(root(&leaves[..count])), wanted, "{count} leaves");
        }
    }

    proptest! {
        #[test]
        fn a_proof_holds_for_its_token_and_no_other(count in 1_usize..70, index in 0_usize..70, other: [u8; 3]) {
            let tokens: Vec<[u8; 3]> = (0..count).map(|number| [1, 2, u8::try_from(number).unwrap()]).collect();
            let index = index % count;
            let proof = prove(&tokens, index).unwrap();
            prop_assert_eq!(proof.root(&tokens[index]), Some(root(&tokens)));
            prop_assume!(other != tokens[index]);
            prop_assert_ne!(proof.root(&other), Some(root(&tokens)));
            for wrong in [
                Proof { index: proof.index + 1, ..proof.clone() },
                Proof { path: proof.path.iter().copied().chain([[0; 32]]).collect(), ..proof.clone() },
                Proof { path: proof.path.iter().copied().skip(1).collect(), ..proof.clone() },
            ] {
                prop_assert!(wrong == proof || wrong.root(&tokens[index]) != Some(root(&tokens)), "{:?}", wrong);
            }
        }
    }
}
