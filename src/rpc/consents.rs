//! `ConsentService`: receipts taken in, consents looked at and withdrawn.

use tonic::{Request, Response, Status};

use super::caller::Role;
use super::{Api, convert, names};
use crate::domain::purpose::PurposeSet;
use crate::domain::receipt::SubjectRef;
use crate::proto::consent_service_server::ConsentService;
use crate::proto::{
    EraseSubjectRequest, EraseSubjectResponse, GetConsentRequest, GetConsentResponse, ListConsentsRequest, ListConsentsResponse,
    RegisterConsentRequest, RegisterConsentResponse, WithdrawConsentRequest, WithdrawConsentResponse,
};

#[tonic::async_trait]
impl ConsentService for Api {
    async fn register_consent(
        &self,
        request: Request<RegisterConsentRequest>,
    ) -> Result<Response<RegisterConsentResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let RegisterConsentRequest { parent, receipt } = request.into_inner();
        caller.must_be_tenant_of(&parent, "parent", &[Role::PrivacyOfficer])?;
        let (tenant, receipt) = (names::tenant(&parent, "parent")?, convert::receipt(receipt)?);
        let consent = self.run(move |vault| vault.register_consent(&tenant, receipt)).await?;
        Ok(Response::new(RegisterConsentResponse { consent: Some(convert::consent(&consent)) }))
    }

    async fn get_consent(&self, request: Request<GetConsentRequest>) -> Result<Response<GetConsentResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let name = request.into_inner().name;
        let tenant = caller.must_be_tenant_of(&name, "name", &[Role::PrivacyOfficer])?;
        let id = names::consent(&name, "name")?;
        let consent = self.run(move |vault| vault.consent(&tenant, id)).await?;
        Ok(Response::new(GetConsentResponse { consent: Some(convert::consent(&consent)) }))
    }

    async fn list_consents(&self, request: Request<ListConsentsRequest>) -> Result<Response<ListConsentsResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let ListConsentsRequest { parent, page_size, page_token, subject_ref } = request.into_inner();
        caller.must_be_tenant_of(&parent, "parent", &[Role::PrivacyOfficer])?;
        let tenant = names::tenant(&parent, "parent")?;
        let subject: Option<SubjectRef> =
            if subject_ref.is_empty() { None } else { Some(convert::text(&subject_ref, "subject_ref")?) };
        let page = convert::page(page_size, page_token);
        let listed = self.run(move |vault| vault.consents(&tenant, subject.as_ref(), &page)).await?;
        let consents = listed.items.iter().map(convert::consent).collect();
        Ok(Response::new(ListConsentsResponse { consents, next_page_token: listed.next }))
    }

    async fn erase_subject(&self, request: Request<EraseSubjectRequest>) -> Result<Response<EraseSubjectResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let EraseSubjectRequest { parent, subject_ref } = request.into_inner();
        caller.must_be_tenant_of(&parent, "parent", &[Role::PrivacyOfficer])?;
        let tenant = names::tenant(&parent, "parent")?;
        let subject: SubjectRef = convert::text(&subject_ref, "subject_ref")?;
        let destruction = self.run(move |vault| vault.erase_subject(&tenant, &subject)).await?;
        Ok(Response::new(EraseSubjectResponse { destruction: Some(convert::destruction(destruction)) }))
    }

    async fn withdraw_consent(
        &self,
        request: Request<WithdrawConsentRequest>,
    ) -> Result<Response<WithdrawConsentResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let WithdrawConsentRequest { name, purposes } = request.into_inner();
        let tenant = caller.must_be_tenant_of(&name, "name", &[Role::PrivacyOfficer])?;
        let id = names::consent(&name, "name")?;
        let purposes: PurposeSet =
            purposes.iter().map(|number| convert::purpose(*number, "purposes")).collect::<Result<_, _>>()?;
        let (consent, destruction) = self.run(move |vault| vault.withdraw_consent(&tenant, id, purposes)).await?;
        Ok(Response::new(WithdrawConsentResponse {
            consent: Some(convert::consent(&consent)),
            destruction: Some(convert::destruction(destruction)),
        }))
    }
}
