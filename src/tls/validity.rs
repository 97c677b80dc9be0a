//! From when until when certificates are in force, for whoever looks ahead. Judges nothing: the handshake does.

use std::ops::RangeInclusive;
use std::path::Path;

use chrono::{DateTime, Utc};
use rustls::CertificateError;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::time::Time;

use super::{TlsError, certificates};

/// When all certificates of a PEM file are in force together; an empty range if they never are.
///
/// # Errors
/// When the file cannot be read, or holds something that is no certificate.
pub fn validity(path: &Path) -> Result<RangeInclusive<DateTime<Utc>>, TlsError> {
    let mut common = DateTime::<Utc>::MIN_UTC..=DateTime::<Utc>::MAX_UTC;
    for der in certificates(path)? {
        let validity = of(&der).ok_or_else(|| {
            let error = rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
            TlsError::Unusable { path: path.to_owned(), error }
        })?;
        common = *common.start().max(validity.start())..=*common.end().min(validity.end());
    }
    Ok(common)
}

fn of(der: &[u8]) -> Option<RangeInclusive<DateTime<Utc>>> {
    let certificate = Certificate::from_der(der).ok()?;
    let validity = certificate.tbs_certificate().validity();
    let time = |time: Time| DateTime::from_timestamp(i64::try_from(time.to_unix_duration().as_secs()).ok()?, 0);
    Some(time(validity.not_before)?..=time(validity.not_after)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn pem(from: u8, to: u8) -> String {
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (date_time_ymd(2026, 5, from), date_time_ymd(2026, 5, to));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn a_chain_is_in_force_while_all_of_it_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pem(1, 9) + &pem(2, 20)).unwrap();
        let day = |day: &str| format!("2026-05-{day}T00:00:00Z").parse::<DateTime<Utc>>().unwrap();
        assert_eq!(validity(file.path()).unwrap(), day("02")..=day("09"));
    }

    #[test]
    fn what_is_no_certificate_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(file.path(), text).unwrap();
            assert!(validity(file.path()).is_err());
        }
    }
}
