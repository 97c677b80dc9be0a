//! `TenantService`: who may upload, and with which receipt keys.

use tonic::{Request, Response, Status};

use super::caller::Role;
use super::{Api, convert, names};
use crate::proto::tenant_service_server::TenantService;
use crate::proto::{
    CreateTenantRequest, CreateTenantResponse, GetTenantRequest, GetTenantResponse, ListTenantsRequest, ListTenantsResponse,
};

#[tonic::async_trait]
impl TenantService for Api {
    async fn create_tenant(&self, request: Request<CreateTenantRequest>) -> Result<Response<CreateTenantResponse>, Status> {
        self.callers.identify(&request)?.must_be(&[Role::Operator])?;
        let new = convert::new_tenant(request.into_inner())?;
        let tenant = self.run(|vault| vault.create_tenant(new)).await?;
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
        Ok(Response::new(GetTenantResponse { tenant: Some(convert::tenant(tenant, self.vault.id())) }))
    }
}
