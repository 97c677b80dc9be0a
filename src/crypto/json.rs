//! JSON as receipts and key sets need it: no member twice, and errors that name a member and its rule, never its value.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::domain::ids::InvalidId;

/// How many characters a text has at most.
const MAX_TEXT: usize = 128;

const TEXT_RULE: &str = "must be a text of 1 to 128 characters";

/// The last second of the year 9999.
const MAX_DATE: i64 = 253_402_300_799;

/// A text that is not what it must be: which member or part of it, and the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(String);

impl Malformed {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// Reads a JSON text in which no object, at any depth, has a member twice.
pub(super) fn parse(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok().map(|Strict(value)| value)
}

/// A value without duplicate members; `serde_json` takes the last of them.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(entry)) = entries.next_element()? {
            list.push(entry);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom("duplicate member"));
            }
            let Strict(value) = members.next_value()?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// An object that knows where it stands in its document.
pub(super) struct Object<'a> {
    /// What comes before a member's name in an error: empty, or the path to this object and a dot.
    prefix: String,
    members: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    /// The document itself; `name` is what an error calls it.
    pub(super) fn document(value: &'a Value, name: &str) -> Result<Self, Malformed> {
        Ok(Self { prefix: String::new(), members: members(value, name)? })
    }

    fn nested(value: &'a Value, path: &str) -> Result<Self, Malformed> {
        Ok(Self { prefix: format!("{path}."), members: members(value, path)? })
    }

    /// The error that a member breaks its rule.
    pub(super) fn wrong(&self, name: &str, rule: &str) -> Malformed {
        Malformed(format!("{} {rule}", self.path(name)))
    }

    /// Whether a member is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Result<&'a str, Malformed> {
        as_text(self.required(name)?).ok_or_else(|| self.wrong(name, TEXT_RULE))
    }

    /// A text that may be absent.
    pub(super) fn optional_text(&self, name: &str) -> Result<Option<String>, Malformed> {
        if self.has(name) { self.text(name).map(|text| Some(text.to_owned())) } else { Ok(None) }
    }

    /// A text that stands for a value.
    pub(super) fn value<T>(&self, name: &str, rule: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, Malformed> {
        self.required(name)?.as_str().and_then(read).ok_or_else(|| self.wrong(name, rule))
    }

    /// An identifier.
    pub(super) fn id<T: FromStr<Err = InvalidId>>(&self, name: &str) -> Result<T, Malformed> {
        let text = self.required(name)?.as_str().ok_or_else(|| self.wrong(name, "must be text"))?;
        text.parse().map_err(|InvalidId(rule)| self.wrong(name, rule))
    }

    /// A `NumericDate` (RFC 7519) in whole seconds.
    pub(super) fn date(&self, name: &str) -> Result<DateTime<Utc>, Malformed> {
        let seconds = self.required(name)?.as_i64().filter(|seconds| (0..=MAX_DATE).contains(seconds));
        let date = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        date.ok_or_else(|| self.wrong(name, "must be a whole number of seconds since 1970, until the year 9999"))
    }

    /// An object.
    pub(super) fn object(&self, name: &str) -> Result<Object<'a>, Malformed> {
        Object::nested(self.required(name)?, &self.path(name))
    }

    /// A list of objects.
    pub(super) fn objects(&self, name: &str) -> Result<Vec<Object<'a>>, Malformed> {
        let nested = |(index, entry)| Object::nested(entry, &format!("{}[{index}]", self.path(name)));
        self.list(name)?.iter().enumerate().map(nested).collect()
    }

    /// A list of texts.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<&'a str>, Malformed> {
        let texts: Option<_> = self.list(name)?.iter().map(as_text).collect();
        texts.ok_or_else(|| self.wrong(name, "must be a list of texts of 1 to 128 characters"))
    }

    fn list(&self, name: &str) -> Result<&'a Vec<Value>, Malformed> {
        self.required(name)?.as_array().ok_or_else(|| self.wrong(name, "must be a list"))
    }

    fn required(&self, name: &str) -> Result<&'a Value, Malformed> {
        self.members.get(name).ok_or_else(|| self.wrong(name, "is required"))
    }

    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

fn members<'a>(value: &'a Value, path: &str) -> Result<&'a Map<String, Value>, Malformed> {
    value.as_object().ok_or_else(|| Malformed(format!("{path} must be an object")))
}

fn as_text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| (1..=MAX_TEXT).contains(&text.chars().count()))
}
