//! `TenantService`: who may upload, and with which receipt keys.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::caller::Role;
use super::convert::TenantField;
use super::status::Denied;
use super::{Api, convert, names};
use crate::domain::ids::Identity;
use crate::proto::tenant_service_server::TenantService;
use crate::proto::{
    CreateTenantRequest, CreateTenantResponse, GetTenantRequest, GetTenantResponse, ListTenantsRequest, ListTenantsResponse,
    UpdateTenantRequest, UpdateTenantResponse,
};

#[tonic::async_trait]
impl TenantService for Api {
    async fn create_tenant(&self, request: Request<CreateTenantRequest>) -> Result<Response<CreateTenantResponse>, Status> {
        self.callers.identify(&request)?.must_be(&[Role::Operator])?;
        let (id, given) = convert::new_tenant(request.into_inner())?;
        let tenant = self.run(move |vault| vault.create_tenant(&id, given)).await?;
        Ok(Response::new(CreateTenantResponse { tenant: Some(convert::tenant(tenant, self.vault.id())) }))
    }

    async fn list_tenants(&self, request: Request<ListTenantsRequest>) -> Result<Response<ListTenantsResponse>, Status> {
        self.callers.identify(&request)?.must_be(&[Role::Operator])?;
        let ListTenantsRequest { page_size, page_token } = request.into_inner();
        let page = convert::page(page_size, page_token);
        let listed = self.run(move |vault| vault.tenants(&page)).await?;
        let tenants = listed.items.into_iter().map(|tenant| convert::tenant(tenant, self.vault.id())).collect();
        Ok(Response::new(ListTenantsResponse { tenants, next_page_token: listed.next }))
    }

    async fn get_tenant(&self, request: Request<GetTenantRequest>) -> Result<Response<GetTenantResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let name = request.into_inner().name;
        caller.must_be_tenant_of(&name, "name", &[Role::Operator])?;
        let id = names::tenant(&name, "name")?;
        let tenant = self.run(move |vault| vault.tenant(&id)).await?;
        Ok(Response::new(GetTenantResponse { tenant: Some(convert::tenant(Arc::unwrap_or_clone(tenant), self.vault.id())) }))
    }

    async fn update_tenant(&self, request: Request<UpdateTenantRequest>) -> Result<Response<UpdateTenantResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let UpdateTenantRequest { tenant, update_mask } = request.into_inner();
        let tenant = tenant.unwrap_or_default();
        let id = caller.must_be_tenant_of(&tenant.name, "tenant.name", &[Role::Operator])?;
        let fields = convert::tenant_fields(update_mask)?;
        let (is_own, is_operator) = (caller.identity == Identity::Tenant(id), caller.is_any(&[Role::Operator]));
        let may_change = |field: &TenantField| match field {
            TenantField::Jwks => is_own,
            TenantField::KeyRevocations => is_own || is_operator,
            TenantField::Notices | TenantField::MetadataPolicy | TenantField::RetentionDays => is_operator,
        };
        if !fields.iter().all(may_change) {
            return Err(Denied::NotAllowed.into());
        }
        let id = names::tenant(&tenant.name, "tenant.name")?;
        let update = convert::tenant_update(&tenant, &fields)?;
        let tenant = self.run(move |vault| vault.update_tenant(&id, update)).await?;
        Ok(Response::new(UpdateTenantResponse { tenant: Some(convert::tenant(tenant, self.vault.id())) }))
    }
}
