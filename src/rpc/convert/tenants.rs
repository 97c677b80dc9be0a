//! Tenants: what is said of them, and how they are shown.

use super::{names, stamp, text, time};
use crate::domain::ids::{TenantId, VaultId};
use crate::domain::retention::Retention;
use crate::domain::tenant::{KeyRevocation, MetadataPolicy, NoticeVersion, Tenant};
use crate::proto;
use crate::rpc::status::Denied;
use crate::vault::tenants::{Keys, NewNotice, TenantUpdate};

/// Something about a tenant that can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rpc) enum TenantField {
    /// `jwks`, with `jwks_proofs`.
    Jwks,
    /// `key_revocations`.
    KeyRevocations,
    /// `notices`.
    Notices,
    /// `metadata_policy`.
    MetadataPolicy,
    /// `retention_days`.
    RetentionDays,
}

/// The fields that an update mask names.
pub(in crate::rpc) fn tenant_fields(mask: Option<prost_types::FieldMask>) -> Result<Vec<TenantField>, Denied> {
    let rule = "must name at least one of jwks, key_revocations, notices, metadata_policy, retention_days, and nothing else";
    let field = |path: &String| match path.as_str() {
        "jwks" => Ok(TenantField::Jwks),
        "key_revocations" => Ok(TenantField::KeyRevocations),
        "notices" => Ok(TenantField::Notices),
        "metadata_policy" => Ok(TenantField::MetadataPolicy),
        "retention_days" => Ok(TenantField::RetentionDays),
        _ => Err(Denied::invalid("update_mask", rule)),
    };
    let fields: Vec<_> = mask.unwrap_or_default().paths.iter().map(field).collect::<Result<_, _>>()?;
    if fields.is_empty() { Err(Denied::invalid("update_mask", rule)) } else { Ok(fields) }
}

/// A tenant to be.
pub(in crate::rpc) fn new_tenant(request: proto::CreateTenantRequest) -> Result<(TenantId, TenantUpdate), Denied> {
    if request.tenant_id == names::ALL {
        return Err(Denied::invalid("tenant_id", "must not be -, which stands for all tenants"));
    }
    let all = [
        TenantField::Jwks,
        TenantField::KeyRevocations,
        TenantField::Notices,
        TenantField::MetadataPolicy,
        TenantField::RetentionDays,
    ];
    Ok((text(&request.tenant_id, "tenant_id")?, tenant_update(&request.tenant.unwrap_or_default(), &all)?))
}

/// What is to be said of a tenant, in these fields.
pub(in crate::rpc) fn tenant_update(tenant: &proto::Tenant, fields: &[TenantField]) -> Result<TenantUpdate, Denied> {
    let mut update = TenantUpdate::default();
    for field in fields {
        match field {
            TenantField::Jwks => {
                update.keys = Some(Keys { jwks: tenant.jwks.clone(), proofs: tenant.jwks_proofs.clone() });
            }
            TenantField::KeyRevocations => {
                update.revocations = tenant.key_revocations.iter().map(revocation).collect::<Result<_, _>>()?;
            }
            TenantField::Notices => update.notices = tenant.notices.iter().map(notice).collect::<Result<_, _>>()?,
            TenantField::MetadataPolicy => update.metadata_policy = Some(metadata_policy(tenant.metadata_policy)?),
            TenantField::RetentionDays => update.retention = Some(retention(tenant.retention_days)?),
        }
    }
    Ok(update)
}

fn retention(days: u32) -> Result<Retention, Denied> {
    let retention = match days {
        0 => Some(Retention::MAX),
        days => u8::try_from(days).ok().and_then(Retention::from_days),
    };
    retention.ok_or(Denied::invalid("tenant.retention_days", "must be 1 to 30, or 0 for 30"))
}

fn metadata_policy(policy: i32) -> Result<MetadataPolicy, Denied> {
    match proto::MetadataPolicy::try_from(policy) {
        Ok(proto::MetadataPolicy::Unspecified | proto::MetadataPolicy::Strip) => Ok(MetadataPolicy::Strip),
        Ok(proto::MetadataPolicy::Keep) => Ok(MetadataPolicy::Keep),
        Err(_) => Err(Denied::invalid("tenant.metadata_policy", "is not a known policy")),
    }
}

fn revocation(wire: &proto::KeyRevocation) -> Result<KeyRevocation, Denied> {
    Ok(KeyRevocation {
        kid: name(&wire.kid, "tenant.key_revocations.kid")?,
        time: time(wire.revoke_time, "tenant.key_revocations.revoke_time")?,
    })
}

fn notice(wire: &proto::Notice) -> Result<NewNotice, Denied> {
    Ok(NewNotice {
        id: name(&wire.id, "tenant.notices.id")?,
        version: name(&wire.version, "tenant.notices.version")?,
        sha256: sha256(&wire.sha256).ok_or(Denied::invalid("tenant.notices.sha256", "must be 64 hexadecimal digits"))?,
        invalidating: wire.invalidating,
    })
}

fn name(text: &str, field: &'static str) -> Result<String, Denied> {
    if (1..=128).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err(Denied::invalid(field, "must be 1 to 128 characters"))
    }
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let digits = text.len() == 64;
    base16ct::mixed::decode(text, &mut digest).ok().filter(|_| digits)?;
    Some(digest)
}

/// A tenant on the wire.
pub(in crate::rpc) fn tenant(tenant: Tenant, vault: &VaultId) -> proto::Tenant {
    let policy = match tenant.metadata_policy {
        MetadataPolicy::Strip => proto::MetadataPolicy::Strip,
        MetadataPolicy::Keep => proto::MetadataPolicy::Keep,
    };
    let revocation = |KeyRevocation { kid, time }| proto::KeyRevocation { kid, revoke_time: Some(stamp(time)) };
    proto::Tenant {
        name: names::of_tenant(&tenant.id),
        jwks: tenant.jwks,
        receipt_audience: vault.to_string(),
        retention_days: u32::from(tenant.retention.days()),
        metadata_policy: policy.into(),
        jwks_proofs: Vec::new(),
        key_revocations: tenant.terms.revocations.into_iter().map(revocation).collect(),
        notices: tenant.terms.notices.into_iter().map(notice_on_wire).collect(),
    }
}

fn notice_on_wire(notice: NoticeVersion) -> proto::Notice {
    let NoticeVersion { id, version, sha256, invalidating, registered_at } = notice;
    let sha256 = base16ct::lower::encode_string(&sha256);
    proto::Notice { id, version, sha256, invalidating, register_time: Some(stamp(registered_at)) }
}
