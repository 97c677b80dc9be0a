//! `RetentionService`: what is alive and until when, and certificates of what was destroyed.

use tonic::{Request, Response, Status};

use super::caller::Role;
use super::{Api, convert, names};
use crate::domain::retention::Now;
use crate::domain::shredding::Word;
use crate::proto::get_retention_status_response::Hour;
use crate::proto::retention_service_server::RetentionService;
use crate::proto::{
    GetCertificateRequest, GetCertificateResponse, GetRetentionStatusRequest, GetRetentionStatusResponse,
    ListCertificatesRequest, ListCertificatesResponse, ShredTenantRequest, ShredTenantResponse,
};

/// Who may see the counts and certificates of all tenants, and have one shredded.
const OVERSEERS: [Role; 2] = [Role::Operator, Role::PrivacyOfficer];

#[tonic::async_trait]
impl RetentionService for Api {
    async fn get_retention_status(
        &self,
        request: Request<GetRetentionStatusRequest>,
    ) -> Result<Response<GetRetentionStatusResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let parent = request.into_inner().parent;
        let tenant = if caller.is_any(&OVERSEERS) && parent == "tenants/-" {
            None
        } else {
            caller.must_be_tenant_of(&parent, "parent", &OVERSEERS)?;
            Some(names::tenant(&parent, "parent")?)
        };
        let status = self.run(move |vault| vault.retention_status(tenant.as_ref())).await?;
        let hour = |(time, count): &(_, crate::vault::Count)| Hour {
            expire_time: Some(convert::stamp(*time)),
            record_count: count.records,
            sealed_bytes: count.sealed_bytes,
        };
        Ok(Response::new(GetRetentionStatusResponse {
            live_record_count: status.hours.iter().map(|(_, count)| count.records).sum(),
            next_shred_time: status.hours.first().map(|(time, _)| convert::stamp(*time)),
            trusted_time: Some(convert::stamp(status.trusted_time)),
            keyring_generation: status.keyring_generation,
            hours: status.hours.iter().map(hour).collect(),
            backlog_record_count: status.backlog,
        }))
    }

    async fn list_certificates(
        &self,
        request: Request<ListCertificatesRequest>,
    ) -> Result<Response<ListCertificatesResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let ListCertificatesRequest { parent, page_size, page_token } = request.into_inner();
        caller.must_be_tenant_of(&parent, "parent", &OVERSEERS)?;
        let tenant = names::tenant(&parent, "parent")?;
        let page = convert::page(page_size, page_token);
        let listed = self.run(move |vault| vault.certificates(&tenant, &page)).await?;
        let certificates = listed.items.into_iter().map(convert::certificate).collect();
        Ok(Response::new(ListCertificatesResponse { certificates, next_page_token: listed.next }))
    }

    async fn get_certificate(&self, request: Request<GetCertificateRequest>) -> Result<Response<GetCertificateResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let GetCertificateRequest { name, record } = request.into_inner();
        let tenant = caller.must_be_tenant_of(&name, "name", &OVERSEERS)?;
        let id = names::certificate(&name, "name")?;
        let record = convert::record_of(&tenant, &record)?;
        let run = move |vault: &crate::vault::Vault| {
            let certificate = vault.certificate(&tenant, id)?;
            let prove = |record| vault.prove_membership(&tenant, id, record).map(|proof| (record, proof));
            let proved = record.map(prove).transpose()?;
            Ok((certificate, proved))
        };
        let (certificate, proved) = self.run(run).await?;
        let proof = proved.map(|(record, proof)| convert::membership(&certificate.tenant, record, proof));
        Ok(Response::new(GetCertificateResponse { certificate: Some(convert::certificate(certificate)), proof }))
    }

    async fn shred_tenant(&self, request: Request<ShredTenantRequest>) -> Result<Response<ShredTenantResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        caller.must_be(&OVERSEERS)?;
        let tenant = names::tenant(&request.into_inner().name, "name")?;
        let (by, is_officer) = (caller.identity.clone(), caller.is_any(&[Role::PrivacyOfficer]));
        let word = move |now: Now| Word { by, is_officer, time: now.hi };
        let shredding = self.run(move |vault| vault.shred_tenant(&tenant, word)).await?;
        Ok(Response::new(convert::tenant_shredding(&shredding, self.callers.domain())))
    }
}
