//! Whom a certificate names: the SPIFFE id that is its only URI (X509-SVID, section 2).
//!
//! Reads certificates that the handshake has found to be signed by the vault's authority and in force; judges neither.

use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::domain::ids::{Identity, TrustDomain};

/// The identity in a certificate (DER). None when it names nobody, more than one, or somebody of another trust domain.
pub(super) fn of(certificate: &[u8], domain: &TrustDomain) -> Option<Identity> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let (_critical, names) = certificate.tbs_certificate().get_extension::<SubjectAltName>().ok()??;
    let mut uris = names.0.iter().filter_map(|name| {
        let GeneralName::UniformResourceIdentifier(uri) = name else { return None };
        Some(uri.as_str())
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Identity::parse(uri, domain).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    fn domain() -> TrustDomain {
        "example.test".parse().unwrap()
    }

    fn certificate(names: &[SanType]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    #[test]
    fn the_only_uri_names_the_caller() {
        let olga = uri("spiffe://example.test/person/olga");
        let named = Some("person/olga".parse().unwrap());
        for (names, wanted) in [
            (vec![olga.clone()], named.clone()),
            (vec![dns("olga.example.test"), olga.clone()], named),
            (vec![], None),
            (vec![dns("olga.example.test")], None),
            (vec![olga.clone(), olga.clone()], None),
            (vec![olga.clone(), uri("https://example.test/")], None),
            (vec![uri("spiffe://other.test/person/olga")], None),
            (vec![uri("spiffe://example.test.other.test/person/olga")], None),
            (vec![uri("spiffe://example.test/person/olga?")], None),
            (vec![uri("spiffe://example.test/robot/olga")], None),
        ] {
            assert_eq!(of(&certificate(&names), &domain()), wanted, "{names:?}");
        }
    }

    proptest! {
        /// Whatever bytes there are, whole or in place of some of a certificate's: they are read or not, without harm.
        #[test]
        fn any_bytes_are_read_without_harm(noise in prop::collection::vec(any::<u8>(), 0..400), at in 0_usize..400) {
            prop_assert_eq!(of(&noise, &domain()), None);
            let mut bytes = certificate(&[uri("spiffe://example.test/person/olga")]);
            for (byte, noise) in bytes.iter_mut().skip(at).zip(noise.iter().take(4)) {
                *byte = *noise;
            }
            let _identity = of(&bytes, &domain());
        }
    }
}
