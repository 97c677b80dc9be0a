//! Who calls, and what they may call.

use std::collections::BTreeMap;

use tonic::Request;
use tonic::metadata::MetadataMap;

use super::names;
use super::status::Denied;
use crate::domain::ids::{Identity, TenantId, TrustDomain};

/// What a caller is besides itself: bound to identities in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Runs the vault: creates tenants.
    Operator,
    /// Asks for training jobs.
    Requester,
    /// Approves jobs and withdraws consents, for the people whose data it is.
    PrivacyOfficer,
    /// Approves jobs, for the models.
    ModelOwner,
    /// Reads the logs.
    Auditor,
}

/// What a caller's word is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A caller is whom the certificate of its connection names: see [`Peer`].
    Certificate,
    /// A caller is whom it names in the metadata: without TLS, on loopback.
    OwnWord,
}

/// Who is at the other end of a connection: what a server under TLS adds to each request of it. None: nobody that this vault knows.
#[derive(Debug, Clone)]
pub struct Peer(pub Option<Identity>);

/// Everyone with a role, the trust domain of all callers, and what shows who they are.
#[derive(Debug)]
pub struct Callers {
    domain: TrustDomain,
    roles: BTreeMap<Identity, Vec<Role>>,
    proof: Proof,
}

/// An identified caller.
#[derive(Debug)]
pub(super) struct Caller {
    /// Who.
    pub(super) identity: Identity,
    roles: Vec<Role>,
}

impl Callers {
    /// Callers of this trust domain; each role with the identities that have it.
    pub fn new(domain: TrustDomain, bindings: impl IntoIterator<Item = (Role, Vec<Identity>)>, proof: Proof) -> Self {
        let mut roles = BTreeMap::<_, Vec<_>>::new();
        for (role, identities) in bindings {
            for identity in identities {
                roles.entry(identity).or_default().push(role);
            }
        }
        Self { domain, roles, proof }
    }

    /// The trust domain of all callers.
    pub(super) fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Who makes this request.
    pub(super) fn identify<T>(&self, request: &Request<T>) -> Result<Caller, Denied> {
        let identity = match self.proof {
            Proof::Certificate => request.extensions().get::<Peer>().and_then(|peer| peer.0.clone()),
            Proof::OwnWord => self.named(request.metadata()),
        };
        let identity = identity.ok_or(Denied::CallerUnknown)?;
        let roles = self.roles.get(&identity).cloned().unwrap_or_default();
        Ok(Caller { identity, roles })
    }

    /// Whom the metadata names, once.
    fn named(&self, metadata: &MetadataMap) -> Option<Identity> {
        let mut named = metadata.get_all("idvault-caller").iter();
        let (Some(uri), None) = (named.next(), named.next()) else { return None };
        Identity::parse(uri.to_str().ok()?, &self.domain).ok()
    }
}

impl Caller {
    /// Whether the caller has one of these roles.
    pub(super) fn is_any(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.roles.contains(role))
    }

    /// Refuses a caller that is no workload and has none of these roles.
    pub(super) fn must_be_or_workload(&self, roles: &[Role]) -> Result<(), Denied> {
        if matches!(self.identity, Identity::Workload(_)) { Ok(()) } else { self.must_be(roles) }
    }

    /// Refuses a caller without one of these roles.
    pub(super) fn must_be(&self, roles: &[Role]) -> Result<(), Denied> {
        if self.is_any(roles) { Ok(()) } else { Err(Denied::NotAllowed) }
    }

    /// Refuses all but the tenant whose name `name` begins with and callers with one of these roles. Returns the tenant.
    pub(super) fn must_be_tenant_of(&self, name: &str, field: &'static str, or: &[Role]) -> Result<TenantId, Denied> {
        let own = match &self.identity {
            Identity::Tenant(own) => Some(own),
            Identity::Workload(_) | Identity::Person(_) => None,
        };
        if own.is_none() && !self.is_any(or) {
            return Err(Denied::NotAllowed);
        }
        let tenant = names::owner(name, field)?;
        if own == Some(&tenant) || self.is_any(or) { Ok(tenant) } else { Err(Denied::NotAllowed) }
    }
}
