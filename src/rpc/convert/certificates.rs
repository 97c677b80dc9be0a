//! Destructions and their certificates on the wire.

use super::stamp;
use crate::audit::certificate::token;
use crate::audit::merkle::Proof;
use crate::domain::ids::{RecordId, TenantId, TrustDomain};
use crate::domain::shredding::ShredState;
use crate::domain::trigger::Trigger;
use crate::proto;
use crate::rpc::names;
use crate::rpc::status::Denied;
use crate::vault::certificates::Issued;
use crate::vault::shred::Destruction;
use crate::vault::shred_tenant::TenantShredding;

/// A destruction on the wire.
pub(in crate::rpc) fn destruction(destruction: Destruction) -> proto::Destruction {
    let Destruction { record_count, last_release_sequence, certificates } = destruction;
    let certificates = certificates.iter().map(|(tenant, id)| names::of_certificate(tenant, *id)).collect();
    proto::Destruction { record_count, last_release_sequence, certificates }
}

/// A certificate on the wire.
pub(in crate::rpc) fn certificate(issued: Issued) -> proto::Certificate {
    let trigger = match issued.trigger {
        Trigger::RetentionExpired => proto::DestructionTrigger::RetentionExpired,
        Trigger::ConsentWithdrawn => proto::DestructionTrigger::ConsentWithdrawn,
        Trigger::RecordShredded => proto::DestructionTrigger::RecordShredded,
        Trigger::SubjectErased => proto::DestructionTrigger::SubjectErased,
        Trigger::TenantShredded => proto::DestructionTrigger::TenantShredded,
    };
    proto::Certificate {
        name: names::of_certificate(&issued.tenant, issued.id),
        trigger: trigger.into(),
        record_count: issued.records,
        destroy_time: Some(stamp(issued.destroyed)),
        note: issued.note,
    }
}

/// The record of which membership is to be proved, if one is named: it must be the tenant's.
pub(in crate::rpc) fn record_of(tenant: &TenantId, name: &str) -> Result<Option<RecordId>, Denied> {
    if name.is_empty() {
        return Ok(None);
    }
    let record = names::record(name, "record")?;
    if names::owner(name, "record")? == *tenant {
        Ok(Some(record))
    } else {
        Err(Denied::invalid("record", "must be of the same tenant"))
    }
}

/// A proof on the wire.
pub(in crate::rpc) fn membership(tenant: &TenantId, record: RecordId, proof: Proof) -> proto::MembershipProof {
    let path = proof.path.into_iter().map(Vec::from).collect();
    proto::MembershipProof { token: token(tenant, record).to_vec(), index: proof.index, count: proof.count, path }
}

/// The destruction of a tenant on the wire.
pub(in crate::rpc) fn tenant_shredding(shredding: &TenantShredding, domain: &TrustDomain) -> proto::ShredTenantResponse {
    use proto::shred_tenant_response::State;
    let state = match shredding.state {
        ShredState::None => State::Unspecified,
        ShredState::Pending => State::Pending,
        ShredState::Shredding => State::Shredding,
        ShredState::Shredded => State::Shredded,
    };
    proto::ShredTenantResponse {
        state: state.into(),
        approvers: shredding.shredding.words.iter().map(|word| word.by.to_uri(domain)).collect(),
        remaining_record_count: shredding.left,
        finish_time: shredding.shredding.finished.map(stamp),
    }
}
