//! Resource names, read and written.

use std::str::FromStr;

use super::status::Denied;
use crate::domain::ids::{CertificateId, ConsentId, JobId, RecordId, SnapshotId, TenantId};

/// The tenant that a name begins with.
pub(super) fn owner(name: &str, field: &'static str) -> Result<TenantId, Denied> {
    let rest = name.strip_prefix("tenants/").ok_or(Denied::invalid(field, "must begin with tenants/{tenant}"))?;
    let (tenant, _) = rest.split_once('/').unwrap_or((rest, ""));
    tenant.parse().map_err(|_| Denied::invalid(field, "must begin with tenants/{tenant}, a tenant being 1 to 63 of [a-z0-9-]"))
}

/// Stands for all tenants where their names may, and is no tenant.
pub(super) const ALL: &str = "-";

/// The tenant of exactly this name.
pub(super) fn tenant(name: &str, field: &'static str) -> Result<TenantId, Denied> {
    let [tenant] = parse(name, ["tenants"]).unwrap_or_default();
    if tenant == ALL { None } else { id(tenant) }.ok_or(Denied::invalid(field, "must be tenants/{tenant}, of one tenant"))
}

/// The record of a record's name.
pub(super) fn record(name: &str, field: &'static str) -> Result<RecordId, Denied> {
    let [_, record] = parse(name, ["tenants", "records"]).unwrap_or_default();
    id(record).ok_or(Denied::invalid(field, "must be tenants/{tenant}/records/{record}"))
}

/// The consent of a consent's name.
pub(super) fn consent(name: &str, field: &'static str) -> Result<ConsentId, Denied> {
    let [_, consent] = parse(name, ["tenants", "consents"]).unwrap_or_default();
    id(consent).ok_or(Denied::invalid(field, "must be tenants/{tenant}/consents/{consent}"))
}

/// The certificate of a certificate's name.
pub(super) fn certificate(name: &str, field: &'static str) -> Result<CertificateId, Denied> {
    let [_, certificate] = parse(name, ["tenants", "certificates"]).unwrap_or_default();
    id(certificate).ok_or(Denied::invalid(field, "must be tenants/{tenant}/certificates/{certificate}"))
}

/// The job of a job's name.
pub(super) fn job(name: &str, field: &'static str) -> Result<JobId, Denied> {
    let [job] = parse(name, ["trainingJobs"]).unwrap_or_default();
    id(job).ok_or(Denied::invalid(field, "must be trainingJobs/{job}"))
}

/// The job and the snapshot of a snapshot's name.
pub(super) fn snapshot(name: &str, field: &'static str) -> Result<(JobId, SnapshotId), Denied> {
    let [job, snapshot] = parse(name, ["trainingJobs", "snapshots"]).unwrap_or_default();
    id(job).zip(id(snapshot)).ok_or(Denied::invalid(field, "must be trainingJobs/{job}/snapshots/{snapshot}"))
}

/// The ids in a name of these collections.
fn parse<'a, const N: usize>(name: &'a str, collections: [&str; N]) -> Option<[&'a str; N]> {
    let mut segments = name.split('/');
    let mut ids = [""; N];
    for (collection, id) in collections.into_iter().zip(&mut ids) {
        if segments.next() != Some(collection) {
            return None;
        }
        *id = segments.next()?;
    }
    if segments.next().is_none() { Some(ids) } else { None }
}

fn id<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// The name of a tenant.
pub(super) fn of_tenant(tenant: &TenantId) -> String {
    format!("tenants/{tenant}")
}

/// The name of a record.
pub(super) fn of_record(tenant: &TenantId, record: RecordId) -> String {
    format!("tenants/{tenant}/records/{record}")
}

/// The name of a consent.
pub(super) fn of_consent(tenant: &TenantId, consent: ConsentId) -> String {
    format!("tenants/{tenant}/consents/{consent}")
}

/// The name of a certificate.
pub(super) fn of_certificate(tenant: &TenantId, certificate: CertificateId) -> String {
    format!("tenants/{tenant}/certificates/{certificate}")
}

/// The name of a job.
pub(super) fn of_job(job: JobId) -> String {
    format!("trainingJobs/{job}")
}

/// The name of a snapshot.
pub(super) fn of_snapshot(job: JobId, snapshot: SnapshotId) -> String {
    format!("trainingJobs/{job}/snapshots/{snapshot}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const JOB: &str = "0190f5e4-7c1a-7abc-8def-0123456789ab";

    #[test]
    fn names_are_read_whole_or_refused() {
        assert_eq!(tenant("tenants/acme", "name").unwrap().as_str(), "acme");
        assert_eq!(job(&format!("trainingJobs/{JOB}"), "name").unwrap().to_string(), JOB);
        assert!(snapshot(&format!("trainingJobs/{JOB}/snapshots/{JOB}"), "name").is_ok());
        for bad in [
            "",
            "tenants",
            "tenants/",
            "tenants/-",
            "tenants/Acme",
            "tenants/acme/",
            "tenants/acme/records",
            "tenant/acme",
            "/tenants/acme",
        ] {
            assert!(tenant(bad, "name").is_err(), "{bad}");
        }
        for bad in ["tenants/acme/records/1", "tenants/acme/records/0190F5E4-7C1A-7ABC-8DEF-0123456789AB"] {
            assert!(record(bad, "name").is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(name in "(tenants|trainingJobs|records|/|[a-z]|\\PC){0,12}") {
            let _read = (owner(&name, "n"), tenant(&name, "n"), record(&name, "n"), consent(&name, "n"), job(&name, "n"), snapshot(&name, "n"));
        }
    }
}
