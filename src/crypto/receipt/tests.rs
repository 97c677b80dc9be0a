//! Receipts as tenants send them, and as they must not.

use std::sync::LazyLock;

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::json;

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signer, SigningKey};

use super::*;
use crate::crypto::json;
use crate::domain::category::Category;
use crate::domain::purpose::Purpose;
use crate::domain::receipt::{ConsentType, GrantDecision, LawfulBasis, SubjectClass};

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[42; 32]));
static P256_KEY: LazyLock<p256::ecdsa::SigningKey> = LazyLock::new(|| p256::ecdsa::SigningKey::from_slice(&[42; 32]).unwrap());
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let ed25519 = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": encode(KEY.verifying_key().as_bytes()) });
    let point = P256_KEY.verifying_key().to_sec1_point(false);
    let (x, y) = (encode(point.x().unwrap()), encode(point.y().unwrap()));
    let p256 = json!({ "kty": "EC", "crv": "P-256", "kid": "p1", "x": x, "y": y });
    KeySet::parse(&json!({ "keys": [ed25519, p256] }).to_string()).unwrap()
});
static TENANT: LazyLock<TenantId> = LazyLock::new(|| "acme".parse().unwrap());
static VAULT: LazyLock<VaultId> = LazyLock::new(|| "vault-1".parse().unwrap());

fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

fn check(compact: &str) -> Result<Receipt, JwsError> {
    verify(compact, &KEYS, &Expected { issuer: &TENANT, audience: &VAULT })
}

fn claims() -> Value {
    json!({
        "schema": "idvault.consent/1", "iss": "acme", "aud": "vault-1", "jti": "0190a6e0-7b6c-4d3e-8f00-000000000001",
        "iat": 1_800_000_000, "nbf": 1_800_000_001, "exp": 1_900_000_000, "subject_ref": "subject-7",
        "subject_class": "minor", "jurisdiction": "SG",
        "notice": { "id": "n", "version": "2", "sha256": "0F".repeat(32), "language": "en" },
        "event": { "time": "2027-01-15T16:00:00+08:00", "method": "in_app", "actor": "guardian" },
        "grants": [
            { "purpose": "TRAIN_LIVENESS", "categories": ["LIVENESS_VIDEO", "MRZ"], "decision": "given",
              "consent_type": "explicit", "lawful_basis": "consent", "recipients": ["acme labs"], "regions": ["sg-1", "hk-1"],
              "ui_element_id": "toggle-3" },
            { "purpose": "REVIEW_QUALITY", "categories": [], "decision": "refused", "consent_type": "deemed",
              "lawful_basis": "legitimate_interest", "recipients": [], "regions": [], "basis_ref": "b" },
        ],
        "guardian_ref": "guardian-1", "binding": { "call_id": "call-1" }, "evidence": { "sha256": 1 }, "unknown": [null, 1.5],
    })
}

/// The claims with the member at `pointer` replaced, or removed.
fn with(pointer: &str, value: Option<Value>) -> String {
    let mut claims = claims();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = claims.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(name.to_owned(), value),
        None => Some(parent.remove(name).expect("the claim to remove is there")),
    };
    sign(&claims, "k1", &*KEY)
}

/// A receipt whose header and payload are exactly these texts, rightly signed.
fn signed(header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()));
    let signature = encode(&KEY.sign(signed.as_bytes()).to_bytes());
    format!("{signed}.{signature}")
}

fn malformed(compact: &str) -> String {
    match check(compact) {
        Err(JwsError::Malformed(what)) => what,
        other => panic!("not malformed: {other:?}"),
    }
}

#[test]
fn a_receipt_says_what_was_signed() {
    let compact = sign(&claims(), "k1", &*KEY);
    let receipt = check(&compact).unwrap();
    assert_eq!((&receipt.issuer, &receipt.audience), (&*TENANT, &*VAULT));
    assert_eq!(receipt.id.to_string(), "0190a6e0-7b6c-4d3e-8f00-000000000001");
    let times = [receipt.issued_at, receipt.not_before, receipt.expires_at, receipt.event.time].map(|time| time.timestamp());
    assert_eq!(times, [1_800_000_000, 1_800_000_001, 1_900_000_000, 1_800_000_000]);
    assert_eq!((receipt.subject_ref.as_str(), receipt.subject_class), ("subject-7", SubjectClass::Minor));
    assert_eq!((receipt.jurisdiction.as_str(), receipt.guardian_ref.as_deref()), ("SG", Some("guardian-1")));
    assert_eq!(receipt.bound_call_id.as_ref().map(ToString::to_string).as_deref(), Some("call-1"));
    assert_eq!((receipt.notice.version.as_str(), receipt.notice.sha256), ("2", [0x0f; 32]));
    let [given, refused] = receipt.grants.as_slice() else { panic!("two grants") };
    assert_eq!((given.purpose, given.decision), (Purpose::TrainLiveness, GrantDecision::Given));
    assert!(given.categories.iter().eq([Category::LivenessVideo, Category::Mrz]));
    assert_eq!((given.consent_type, given.lawful_basis), (ConsentType::Explicit, LawfulBasis::Consent));
    assert_eq!((given.recipients.concat(), given.regions.concat()), ("acme labs".to_owned(), "sg-1hk-1".to_owned()));
    assert_eq!(given.ui_element_id.as_deref(), Some("toggle-3"));
    assert_eq!((refused.decision, refused.basis_ref.as_deref()), (GrantDecision::Refused, Some("b")));
    assert_eq!((refused.consent_type, refused.lawful_basis), (ConsentType::Deemed, LawfulBasis::LegitimateInterest));
    assert_eq!(parse_stored(&compact), Ok(receipt));
}

#[test]
fn optional_claims_may_be_absent() {
    for pointer in ["/guardian_ref", "/binding", "/evidence", "/grants/1/basis_ref"] {
        assert!(check(&with(pointer, None)).is_ok(), "{pointer}");
    }
}

#[test]
fn required_claims_are_required() {
    let required = [
        "/schema",
        "/iss",
        "/aud",
        "/jti",
        "/iat",
        "/nbf",
        "/exp",
        "/subject_ref",
        "/subject_class",
        "/jurisdiction",
        "/notice",
        "/notice/id",
        "/notice/version",
        "/notice/sha256",
        "/notice/language",
        "/event",
        "/event/time",
        "/event/method",
        "/event/actor",
        "/grants",
        "/grants/0/purpose",
        "/grants/0/categories",
        "/grants/0/decision",
        "/grants/0/consent_type",
        "/grants/0/lawful_basis",
        "/grants/0/recipients",
        "/grants/0/regions",
        "/grants/0/ui_element_id",
        "/binding/call_id",
    ];
    for pointer in required {
        let name = pointer.trim_start_matches('/').replace("/0/", "[0].").replace('/', ".");
        assert!(malformed(&with(pointer, None)).starts_with(&format!("{name} is required")), "{pointer}");
    }
}

#[test]
fn wrong_claims_are_named_and_never_shown() {
    let secret = "SECRET-VALUE-\u{1f511}".repeat(10);
    let wrong = [
        ("/schema", json!("idvault.consent/2")),
        ("/iss", json!("other")),
        ("/aud", json!("other")),
        ("/aud", json!(["vault-1"])),
        ("/jti", json!("0190A6E0-7B6C-4D3E-8F00-000000000001")),
        ("/iat", json!(1.5)),
        ("/iat", json!(1.8e9)),
        ("/nbf", json!(-1)),
        ("/exp", json!(253_402_300_800_i64)),
        ("/exp", json!("1900000000")),
        ("/exp", json!(u64::MAX)),
        ("/subject_ref", json!("")),
        ("/subject_class", json!("Adult")),
        ("/jurisdiction", json!("sg")),
        ("/notice", json!([])),
        ("/notice/sha256", json!("0".repeat(63))),
        ("/notice/sha256", json!("é".repeat(32))),
        ("/event/time", json!("yesterday")),
        ("/event/time", json!(1)),
        ("/grants", json!({})),
        ("/grants/0/purpose", json!("*")),
        ("/grants/0/categories", json!("MRZ")),
        ("/grants/0/categories", json!(["ATTRIBUTES"])),
        ("/grants/0/categories", json!(["*"])),
        ("/grants/0/decision", json!(true)),
        ("/grants/0/consent_type", json!("implied")),
        ("/grants/0/lawful_basis", json!("contract")),
        ("/grants/0/regions", json!([""])),
        ("/grants/0/ui_element_id", json!("")),
        ("/guardian_ref", json!(null)),
        ("/guardian_ref", json!("")),
        ("/binding", json!(null)),
    ];
    for (pointer, value) in wrong {
        let name = pointer.trim_start_matches('/').replace("/0/", "[0].").replace('/', ".");
        let what = malformed(&with(pointer, Some(value)));
        assert!(what.starts_with(&format!("{name} ")), "{pointer}: {what}");
        assert!(!malformed(&with(pointer, Some(json!(secret)))).contains("SECRET"), "{pointer}");
    }
}

#[test]
fn members_given_twice_are_refused_at_any_depth() {
    let text = claims().to_string();
    let header = r#"{"alg":"EdDSA","typ":"consent-receipt+jwt","kid":"k1"}"#;
    assert!(check(&signed(header, &text)).is_ok());
    for (name, twice) in [
        (r#""aud":"#, r#""aud":"other","aud":"#),
        (r#""aud":"#, r#""\u0061ud":"other","aud":"#),
        (r#""decision":"given""#, r#""decision":"refused","decision":"given""#),
        (r#""unknown":[null"#, r#""unknown":[{"a":1,"a":1}"#),
    ] {
        assert!(text.contains(name), "{name}");
        assert_eq!(malformed(&signed(header, &text.replacen(name, twice, 1))), "claims must be JSON, no member twice");
    }
    assert_eq!(
        malformed(&signed(&header.replace("\"kid\"", "\"kid\":\"k2\",\"kid\""), &text)),
        "header must be JSON, no member twice"
    );
}

#[test]
fn headers_ask_for_nothing_else() {
    let header = |name: &str, value: Value| {
        let mut header = json!({ "alg": "EdDSA", "typ": "consent-receipt+jwt", "kid": "k1" });
        header[name] = value;
        signed(&header.to_string(), &claims().to_string())
    };
    assert!(check(&header("alg", json!("Ed25519"))).is_ok());
    assert!(check(&header("cty", json!("unknown parameters are ignored"))).is_ok());
    assert_eq!(check(&header("kid", json!("k2"))), Err(JwsError::KeyUnknown));
    let refused = [
        ("alg", "none"),
        ("alg", "HS256"),
        ("alg", "ES256"),
        ("alg", "eddsa"),
        ("typ", "JWT"),
        ("typ", "idvault-key-proof+jwt"),
        ("kid", ""),
        ("jku", "https://a.test"),
        ("jwk", "x"),
        ("x5u", "https://a.test"),
        ("x5c", "x"),
        ("crit", "b64"),
    ];
    for (name, value) in refused {
        assert!(malformed(&header(name, json!(value))).starts_with(name), "{name} {value}");
    }
    assert!(malformed(&header("crit", json!([]))).starts_with("crit"));
    for header in ["[]", "null", "", r#"{"alg":"EdDSA","kid":"k1"}"#, r#"{"typ":"consent-receipt+jwt","kid":"k1"}"#] {
        malformed(&signed(header, &claims().to_string()));
    }
}

#[test]
fn only_the_registered_key_signs() {
    let other = SigningKey::from_bytes(&[43; 32]);
    assert_eq!(check(&sign(&claims(), "k1", &other)), Err(JwsError::SignatureInvalid));
    let (signed, _) = sign(&claims(), "k1", &*KEY).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(check(&format!("{signed}.{}", encode(&[0; 64]))), Err(JwsError::SignatureInvalid));
    assert_eq!(malformed(&format!("{signed}.{}", encode(&[0; 63]))), "signature must be 64 bytes");
    // Nothing is said about claims that nobody signed.
    assert_eq!(check(&sign(&json!({}), "k1", &other)), Err(JwsError::SignatureInvalid));
}

#[test]
fn each_key_signs_in_its_own_way() {
    let compact = sign(&claims(), "p1", &*P256_KEY);
    let receipt = check(&sign(&claims(), "k1", &*KEY)).unwrap();
    assert_eq!(check(&compact), Ok(Receipt { kid: "p1".to_owned(), ..receipt }));
    // The other key's algorithm, the other key's name, somebody else's key.
    assert_eq!(malformed(&sign(&claims(), "k1", &*P256_KEY)), "alg must be that of the key");
    assert_eq!(malformed(&sign(&claims(), "p1", &*KEY)), "alg must be that of the key");
    let other = p256::ecdsa::SigningKey::from_slice(&[43; 32]).unwrap();
    assert_eq!(check(&sign(&claims(), "p1", &other)), Err(JwsError::SignatureInvalid));
    let (signed, _) = compact.rsplit_once('.').unwrap();
    for bytes in [[0; 64], [255; 64]] {
        assert_eq!(check(&format!("{signed}.{}", encode(&bytes))), Err(JwsError::SignatureInvalid));
    }
}

#[test]
fn es256_is_that_of_rfc_7515() {
    // Appendix A.3: header and payload, the key, the signature.
    let signed =
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let key = json!({
        "kty": "EC", "crv": "P-256", "kid": "a", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let keys = KeySet::parse(&json!({ "keys": [key] }).to_string()).unwrap();
    let signature: [u8; 64] = Base64UrlUnpadded::decode_vec(signature).unwrap().try_into().unwrap();
    assert!(keys.get("a").unwrap().verifies(signed.as_bytes(), &signature));
    assert!(!keys.get("a").unwrap().verifies(b"another", &signature));
}

#[test]
fn the_other_signature_of_a_p256_receipt_makes_another_receipt() {
    let compact = sign(&claims(), "p1", &*P256_KEY);
    let (signed, signature) = compact.rsplit_once('.').unwrap();
    let signature = p256::ecdsa::Signature::from_slice(&Base64UrlUnpadded::decode_vec(signature).unwrap()).unwrap();
    let (r, s) = signature.split_scalars();
    let other = p256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    let twin = format!("{signed}.{}", encode(&other.to_bytes()));
    // As good as the first, and of the same id; but a vault that knows one of the two refuses the other by this digest.
    assert_eq!(check(&twin).unwrap().id, check(&compact).unwrap().id);
    assert_ne!(sha256(&twin), sha256(&compact));
}

#[test]
fn there_is_one_encoding() {
    let compact = sign(&claims(), "k1", &*KEY);
    // The last character of 64 bytes carries four bits of nothing: they must be zero.
    let last = compact.chars().last().unwrap();
    let stray: Vec<_> = ('A'..='Z').chain('a'..='z').filter(|c| *c != last).collect();
    for last in stray {
        let mut compact = compact.clone();
        compact.pop();
        compact.push(last);
        assert!(check(&compact).is_err(), "{last}");
    }
    for compact in [
        format!("{compact}="),
        format!("{compact}\n"),
        format!(" {compact}"),
        format!("{compact}."),
        String::new(),
        "..".to_owned(),
    ] {
        malformed(&compact);
    }
    assert_eq!(malformed(&"a".repeat(jws::MAX_BYTES + 1)), "it must have at most 16 KiB");
}

proptest! {
    #[test]
    fn no_changed_byte_is_accepted(place in any::<prop::sample::Index>(), byte in any::<u8>(), es256: bool) {
        let compact = if es256 { sign(&claims(), "p1", &*P256_KEY) } else { sign(&claims(), "k1", &*KEY) };
        let mut changed = compact.clone().into_bytes();
        *place.get_mut(&mut changed) = byte;
        if let Some(changed) = String::from_utf8(changed).ok().filter(|changed| *changed != compact) {
            prop_assert!(check(&changed).is_err());
        }
    }

    #[test]
    fn no_signed_text_does_harm(cut in any::<prop::sample::Index>(), length in 0usize..40, junk in "[\\[\\]{}\":,0-9a-z\\\\ué]{0,12}") {
        let text: Vec<char> = claims().to_string().chars().collect();
        let cut = cut.index(text.len());
        let changed: String = text[..cut].iter().copied().chain(junk.chars()).chain(text.iter().copied().skip(cut + length)).collect();
        let header = r#"{"alg":"EdDSA","typ":"consent-receipt+jwt","kid":"k1"}"#;
        if let Ok(receipt) = check(&signed(header, &changed)) {
            prop_assert!(receipt.expires_at <= DateTime::from_timestamp(253_402_300_799, 0).unwrap());
        }
    }

    #[test]
    fn any_text_is_read_without_harm(text in "\\PC{0,200}", depth in 0usize..6000) {
        prop_assert!(parse_stored(&text).is_err());
        let part = encode(text.as_bytes());
        let parts = [part.clone(), part, encode(&[0; 64])].join(".");
        prop_assert!(parse_stored(&parts).is_err());
        prop_assert!(json::parse("[".repeat(depth).as_bytes()).is_none());
    }
}
