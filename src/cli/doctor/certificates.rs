//! The server's certificate and key, and whom it serves without them.

use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;

use chrono::{DateTime, TimeDelta, Utc};

use super::finding::Finding;
use crate::config::Config;
use crate::tls;

/// How long before its end a certificate should have a successor.
const NOTICE: TimeDelta = TimeDelta::days(7);
const WHAT: &str = "certificates";

pub(super) fn examine(config: &Config, now: DateTime<Utc>) -> Vec<Finding> {
    let Some(paths) = config.tls.clone() else {
        return vec![without(config.server.listen.ip().is_loopback())];
    };
    let files = tls::Files { authorities: paths.client_ca, chain: paths.cert.clone(), key: paths.key.clone() };
    let usable = tls::Server::new(files, config.trust_domain.clone()).and_then(|_| tls::validity(&paths.cert));
    let of_certificates = match usable {
        Ok(validity) => in_force(&validity, now),
        Err(error) => Finding::fail(WHAT, error.to_string(), "correct cert, key and client_ca of [tls]"),
    };
    let open = std::fs::metadata(&paths.key).is_ok_and(|key| key.permissions().mode() & 0o077 != 0);
    let of_key = open.then(|| {
        let finding = format!("{} is open to others than its owner", paths.key.display());
        Finding::warn(WHAT, finding, "chmod 600: whoever has the key can be the vault")
    });
    [of_certificates].into_iter().chain(of_key).collect()
}

fn without(loopback: bool) -> Finding {
    const NEXT: &str = "write a section [tls]; for trials `idvault dev-certs` makes one";
    if loopback {
        return Finding::warn(WHAT, "no section [tls]: serves only with --insecure-loopback, and believes every caller", NEXT);
    }
    Finding::fail(WHAT, "no section [tls], and server.listen is no loopback address", NEXT)
}

fn in_force(validity: &RangeInclusive<DateTime<Utc>>, now: DateTime<Utc>) -> Finding {
    const NEXT: &str = "put a new certificate and its key in their place; the vault reads them by itself";
    let (begin, end) = (validity.start(), validity.end());
    if now < *begin {
        Finding::fail(WHAT, format!("in force only from {begin}"), "set the clock right, or make the certificate anew")
    } else if now > *end {
        Finding::fail(WHAT, format!("expired on {end}"), NEXT)
    } else if end.signed_duration_since(now) < NOTICE {
        Finding::warn(WHAT, format!("in force only until {end}"), NEXT)
    } else {
        Finding::ok(WHAT, format!("in force until {end}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade;

    #[test]
    fn a_certificate_is_judged_by_its_days() {
        let begin = DateTime::from_timestamp(1_000_000_000, 0).unwrap();
        let validity = begin..=begin + TimeDelta::days(30);
        for (day, grade) in
            [(-1, Grade::Fail), (0, Grade::Ok), (22, Grade::Ok), (24, Grade::Warn), (30, Grade::Warn), (31, Grade::Fail)]
        {
            assert_eq!(in_force(&validity, begin + TimeDelta::days(day)).grade, grade, "day {day}");
        }
    }

    #[test]
    fn without_certificates_only_loopback_is_served() {
        assert_eq!(without(true).grade, Grade::Warn);
        assert_eq!(without(false).grade, Grade::Fail);
    }
}
