//! What an identity document says about its holder, field by field: fields are released one by one.
//!
//! Encoded as the protobuf message `Attributes` of the contract, so that the sealed bytes are those that go out on the
//! wire. `Debug` names fields and never shows what is in them.

use std::fmt;

use chrono::NaiveDate;

use crate::domain::category::{Category, CategorySet};

mod wire;

/// How many characters a text has at most.
const MAX_TEXT: usize = 256;
/// How many characters an address has at most.
const MAX_ADDRESS: usize = 1024;
/// How many characters a line of a machine-readable zone has at most (ICAO 9303-4, format TD3).
const MAX_MRZ_LINE: usize = 44;
/// How many lines a machine-readable zone has at most (ICAO 9303-5, format TD1).
const MAX_MRZ_LINES: usize = 3;

/// A field, numbered as in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Family name.
    Surname = 1,
    /// Given names.
    GivenNames = 2,
    /// The whole name in its own script.
    NativeName = 3,
    /// Address.
    Address = 4,
    /// Number of the document.
    IdNumber = 5,
    /// Kind of document.
    IdType = 6,
    /// Last day of validity.
    Expires = 7,
    /// Issuing state.
    Country = 8,
    /// Nationality.
    Nationality = 9,
    /// Date of birth.
    DateOfBirth = 10,
    /// Sex.
    Sex = 11,
    /// A line of the machine-readable zone.
    Mrz = 12,
}

impl Field {
    /// All fields, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Surname,
        Self::GivenNames,
        Self::NativeName,
        Self::Address,
        Self::IdNumber,
        Self::IdType,
        Self::Expires,
        Self::Country,
        Self::Nationality,
        Self::DateOfBirth,
        Self::Sex,
        Self::Mrz,
    ];

    /// Its number in the contract.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Surname => 1,
            Self::GivenNames => 2,
            Self::NativeName => 3,
            Self::Address => 4,
            Self::IdNumber => 5,
            Self::IdType => 6,
            Self::Expires => 7,
            Self::Country => 8,
            Self::Nationality => 9,
            Self::DateOfBirth => 10,
            Self::Sex => 11,
            Self::Mrz => 12,
        }
    }

    /// Its name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Surname => "surname",
            Self::GivenNames => "given_names",
            Self::NativeName => "native_name",
            Self::Address => "address",
            Self::IdNumber => "id_number",
            Self::IdType => "id_type",
            Self::Expires => "expires",
            Self::Country => "country",
            Self::Nationality => "nationality",
            Self::DateOfBirth => "date_of_birth",
            Self::Sex => "sex",
            Self::Mrz => "mrz",
        }
    }

    /// The category that releases it.
    #[must_use]
    pub const fn category(self) -> Category {
        match self {
            Self::Surname | Self::GivenNames | Self::NativeName => Category::Name,
            Self::Address => Category::Address,
            Self::IdNumber | Self::IdType | Self::Expires => Category::IdNumber,
            Self::Country | Self::Nationality => Category::Country,
            Self::DateOfBirth => Category::DateOfBirth,
            Self::Sex => Category::Sex,
            Self::Mrz => Category::Mrz,
        }
    }

    /// Holds `value` against the field's rule.
    fn check(self, value: &str) -> Result<(), InvalidAttribute> {
        let (holds, rule) = match self {
            Self::Surname | Self::GivenNames | Self::NativeName | Self::IdNumber | Self::IdType => {
                (is_text(value, MAX_TEXT), "must be at most 256 characters, no control characters")
            }
            Self::Address => (is_text(value, MAX_ADDRESS), "must be at most 1024 characters, no control characters"),
            Self::Expires | Self::DateOfBirth => (is_date(value), "must be a date, YYYY-MM-DD"),
            Self::Country | Self::Nationality => {
                (is_code(value, 3, |b| b.is_ascii_uppercase() || b == b'<'), "must be 1 to 3 characters of [A-Z<]")
            }
            Self::Sex => (is_code(value, 1, |b| b"MFX<".contains(&b)), "must be M, F, X or <"),
            Self::Mrz => (
                is_code(value, MAX_MRZ_LINE, |b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'<'),
                "must be lines of at most 44 characters of [A-Z0-9<]",
            ),
        };
        if holds { Ok(()) } else { Err(InvalidAttribute { field: self, rule }) }
    }
}

fn is_text(value: &str, max: usize) -> bool {
    value.chars().count() <= max && !value.chars().any(char::is_control)
}

fn is_date(value: &str) -> bool {
    // Parsing alone would take `2030-1-1` too, and years of five digits.
    value.len() == 10 && NaiveDate::parse_from_str(value, "%Y-%m-%d").is_ok_and(|date| date.to_string() == value)
}

fn is_code(value: &str, max: usize, allowed: fn(u8) -> bool) -> bool {
    value.len() <= max && value.bytes().all(allowed)
}

/// A field that breaks its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name} {rule}", name = field.name())]
pub struct InvalidAttribute {
    /// Which field.
    pub field: Field,
    /// What it must be.
    pub rule: &'static str,
}

/// The attributes of a person: what is there, in the order of the field numbers.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    fields: Vec<(Field, String)>,
}

impl Attributes {
    /// Attributes of these fields; empty ones are dropped, lines of the machine-readable zone keep their order.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn new(fields: impl IntoIterator<Item = (Field, String)>) -> Result<Self, InvalidAttribute> {
        let mut fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        fields.sort_by_key(|(field, _)| *field);
        for (field, value) in &fields {
            field.check(value)?;
        }
        for field in fields.chunk_by(|(a, _), (b, _)| a == b) {
            match field {
                [(Field::Mrz, _), ..] if field.len() > MAX_MRZ_LINES => {
                    return Err(InvalidAttribute { field: Field::Mrz, rule: "must be at most 3 lines" });
                }
                [(Field::Mrz, _), ..] | [] | [_] => {}
                [(field, _), ..] => return Err(InvalidAttribute { field: *field, rule: "must be given once" }),
            }
        }
        Ok(Self { fields })
    }

    /// Whether nothing is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The categories of the fields that are there.
    #[must_use]
    pub fn categories(&self) -> CategorySet {
        self.fields.iter().map(|(field, _)| field.category()).collect()
    }

    /// Only the fields that `categories` release.
    #[must_use]
    pub fn retain(mut self, categories: CategorySet) -> Self {
        self.fields.retain(|(field, _)| categories.contains(field.category()));
        self
    }

    /// What is there, in the order of the field numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Field, &str)> {
        self.fields.iter().map(|(field, value)| (*field, value.as_str()))
    }

    /// The protobuf message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (field, value) in self.iter() {
            wire::put(&mut bytes, field.number(), value);
        }
        bytes
    }

    /// The attributes that [`Attributes::encode`] made these bytes of.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let (number, value) = wire::take(&mut rest)?;
            fields.push((Field::ALL.into_iter().find(|field| field.number() == number)?, value.to_owned()));
        }
        Self::new(fields).ok().filter(|attributes| attributes.encode() == bytes)
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.fields.iter().map(|(field, _)| field)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    /// A value that a field may have.
    fn value(field: Field) -> BoxedStrategy<String> {
        match field {
            Field::Expires | Field::DateOfBirth => {
                (1900..2100, 1..=12, 1..=28).prop_map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}")).boxed()
            }
            Field::Country | Field::Nationality => "[A-Z<]{0,3}".boxed(),
            Field::Sex => "[MFX<]?".boxed(),
            Field::Mrz => "[A-Z0-9<]{0,44}".boxed(),
            Field::Address => "\\PC{0,300}".boxed(),
            Field::Surname | Field::GivenNames | Field::NativeName | Field::IdNumber | Field::IdType => "\\PC{0,256}".boxed(),
        }
    }

    fn fields() -> impl Strategy<Value = Vec<(Field, String)>> {
        let once = Field::ALL.into_iter().filter(|field| *field != Field::Mrz).map(|field| (Just(field), value(field)));
        let lines = vec((Just(Field::Mrz), value(Field::Mrz)), 0..=3);
        (once.collect::<Vec<_>>(), lines)
            .prop_map(|(once, lines)| once.into_iter().chain(lines).collect::<Vec<_>>())
            .prop_shuffle()
    }

    proptest! {
        #[test]
        fn attributes_hold_what_is_not_empty_in_order(fields in fields()) {
            let attributes = Attributes::new(fields.clone()).unwrap();
            let mut expected: Vec<_> = fields.iter().filter(|(_, value)| !value.is_empty()).map(|(field, value)| (*field, value.as_str())).collect();
            expected.sort_by_key(|(field, _)| *field);
            prop_assert_eq!(attributes.iter().collect::<Vec<_>>(), expected);
            prop_assert_eq!(Attributes::decode(&attributes.encode()), Some(attributes));
        }

        #[test]
        fn retaining_keeps_exactly_what_the_categories_release(fields in fields(), kept in vec(select(Category::ALL.to_vec()), 0..6)) {
            let kept: CategorySet = kept.into_iter().collect();
            let all = Attributes::new(fields).unwrap();
            let expected: Vec<_> = all.iter().filter(|(field, _)| kept.contains(field.category())).collect();
            let retained = all.clone().retain(kept);
            prop_assert_eq!(retained.iter().collect::<Vec<_>>(), expected);
            prop_assert_eq!(retained.categories(), all.categories().intersection(kept));
        }

        #[test]
        fn what_decodes_is_what_was_encoded(bytes in vec(any::<u8>(), 0..60)) {
            if let Some(attributes) = Attributes::decode(&bytes) {
                prop_assert_eq!(attributes.encode(), bytes);
            }
        }
    }

    #[test]
    fn the_encoding_is_the_contracts() {
        let fields = [(Field::Mrz, "A<"), (Field::Surname, "Ng"), (Field::Sex, ""), (Field::Mrz, "B"), (Field::Country, "HKG")];
        let attributes = Attributes::new(fields.map(|(field, value)| (field, value.to_owned()))).unwrap();
        assert_eq!(attributes.encode(), b"\x0a\x02Ng\x42\x03HKG\x62\x02A<\x62\x01B");
        let long = Attributes::new([(Field::Address, "x".repeat(300))]).unwrap().encode();
        assert_eq!(long[..4], [0x22, 0xac, 0x02, b'x']);
    }

    #[test]
    fn fields_out_of_order_do_not_decode() {
        assert_eq!(Attributes::decode(b"\x42\x03HKG\x0a\x02Ng"), None);
        assert_eq!(Attributes::decode(b"\x0a\x00"), None);
        assert_eq!(Attributes::decode(b"\x6a\x01x"), None);
    }

    #[test]
    fn every_rule_refuses() {
        let broken = [
            (Field::Surname, "a\nb".to_owned()),
            (Field::IdType, "é".repeat(257)),
            (Field::Address, "x".repeat(1025)),
            (Field::Expires, "2030-1-1".to_owned()),
            (Field::DateOfBirth, "1990-02-30".to_owned()),
            (Field::DateOfBirth, "+199-01-01".to_owned()),
            (Field::DateOfBirth, "+12345-01-01".to_owned()),
            (Field::Country, "hkg".to_owned()),
            (Field::Nationality, "HKGX".to_owned()),
            (Field::Sex, "MF".to_owned()),
            (Field::Sex, "A".to_owned()),
            (Field::Mrz, "<".repeat(45)),
            (Field::Mrz, "a".to_owned()),
        ];
        for (field, value) in broken {
            let error = Attributes::new([(Field::GivenNames, "Ann".to_owned()), (field, value)]).unwrap_err();
            assert_eq!(error.field, field);
        }
        let twice = [(Field::Sex, "F".to_owned()), (Field::Sex, "F".to_owned())];
        assert_eq!(Attributes::new(twice).unwrap_err().rule, "must be given once");
        assert_eq!(Attributes::new(vec![(Field::Mrz, "<".to_owned()); 4]).unwrap_err().rule, "must be at most 3 lines");
    }

    #[test]
    fn the_largest_attributes_fit_their_part() {
        let longest = |field| match field {
            Field::Address => "🏠".repeat(MAX_ADDRESS),
            Field::Expires | Field::DateOfBirth => "2030-01-01".to_owned(),
            Field::Country | Field::Nationality => "HKG".to_owned(),
            Field::Sex => "X".to_owned(),
            Field::Mrz => "<".repeat(MAX_MRZ_LINE),
            Field::Surname | Field::GivenNames | Field::NativeName | Field::IdNumber | Field::IdType => "🙂".repeat(MAX_TEXT),
        };
        let fields = Field::ALL.into_iter().chain([Field::Mrz; 2]).map(|field| (field, longest(field)));
        let size = Attributes::new(fields).unwrap().encode().len();
        assert!(u64::try_from(size).unwrap() <= crate::domain::media::MediaType::Attributes.max_bytes());
    }

    #[test]
    fn debug_shows_names_of_fields_only() {
        let attributes = Attributes::new([(Field::Surname, "Secretson".to_owned())]).unwrap();
        assert_eq!(format!("{attributes:?}"), "{Surname}");
    }
}
