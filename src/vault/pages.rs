//! Pages of a list: the rows of a table in the order of their keys, some at a time.
//!
//! A page token is the key after which the next page begins, with a MAC over it and the list that it belongs to: a token of
//! another list, or one made up, is refused.

use base64ct::{Base64UrlUnpadded, Encoding};
use subtle::ConstantTimeEq;

use super::Vault;
use super::error::Error;

const MAC_LEN: usize = 16;

/// Which page of a list is wanted.
#[derive(Debug, Clone)]
pub struct Page {
    /// How many things at most.
    pub size: usize,
    /// The token of the page before; empty for the first.
    pub token: String,
}

/// A page.
#[derive(Debug)]
pub struct Listed<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// The token of the next page; empty on the last.
    pub next: String,
}

/// A list: which one it is, and what all of its keys begin with.
#[derive(Debug, Clone, Copy)]
pub(super) struct List<'a> {
    /// Its name: a token is good for the list of this name only.
    pub(super) name: &'a [u8],
    /// The beginning that a token leaves out.
    pub(super) prefix: &'a [u8],
}

impl Vault {
    /// A page of what `read` makes of the keys that begin with `prefix`; keys of which it makes nothing are passed over.
    pub(super) fn page<T>(
        &self,
        prefix: &[u8],
        page: &Page,
        read: impl Fn(&[u8]) -> Result<Option<T>, Error>,
    ) -> Result<Listed<T>, Error> {
        self.page_of(List { name: prefix, prefix }, page, |after| self.book.keys_after(prefix, after), read)
    }

    /// The page of a list of the one thing, if any, that `read` makes of `key`.
    pub(super) fn page_of_one<T>(
        &self,
        key: &[u8],
        page: &Page,
        read: impl Fn(&[u8]) -> Result<Option<T>, Error>,
    ) -> Result<Listed<T>, Error> {
        let keys = |after: &[u8]| (after < key).then(|| Ok(key.to_vec())).into_iter();
        self.page_of(List { name: key, prefix: &[] }, page, keys, read)
    }

    /// A page of what `read` makes of some keys, ascending; `keys` gives those that come after one.
    pub(super) fn page_of<T, K: Iterator<Item = Result<Vec<u8>, Error>>>(
        &self,
        of: List<'_>,
        page: &Page,
        keys: impl FnOnce(&[u8]) -> K,
        read: impl Fn(&[u8]) -> Result<Option<T>, Error>,
    ) -> Result<Listed<T>, Error> {
        let mut listed = Listed { items: Vec::new(), next: String::new() };
        let mut last = self.after(of, &page.token)?;
        for key in keys(&last.clone()) {
            let key = key?;
            if listed.items.len() == page.size {
                listed.next = self.page_token(of, &last);
                break;
            }
            // One damaged row is no reason to withhold the rest.
            match read(&key) {
                Err(Error::Damaged) => tracing::error!("a row of a list is damaged"),
                item => listed.items.extend(item?),
            }
            last = key;
        }
        Ok(listed)
    }

    /// The key after which the page of this token begins.
    fn after(&self, of: List<'_>, token: &str) -> Result<Vec<u8>, Error> {
        if token.is_empty() {
            return Ok(of.prefix.to_vec());
        }
        let invalid = || Error::invalid("page_token", "must be the next_page_token of a page of the same list");
        let bytes = Base64UrlUnpadded::decode_vec(token).map_err(|_| invalid())?;
        let (rest, mac) = bytes.split_last_chunk::<MAC_LEN>().ok_or_else(invalid)?;
        let key = [of.prefix, rest].concat();
        if bool::from(self.page_mac(of, &key).ct_eq(mac)) { Ok(key) } else { Err(invalid()) }
    }

    fn page_token(&self, of: List<'_>, last: &[u8]) -> String {
        let rest = last.strip_prefix(of.prefix).unwrap_or_default();
        Base64UrlUnpadded::encode_string(&[rest, &self.page_mac(of, last)].concat())
    }

    fn page_mac(&self, of: List<'_>, last: &[u8]) -> [u8; MAC_LEN] {
        self.book.tag("page", &[of.name, last]).0
    }
}
