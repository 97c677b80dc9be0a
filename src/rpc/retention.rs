//! `RetentionService`: what is alive and until when.

use tonic::{Request, Response, Status};

use super::caller::Role;
use super::{Api, convert, names};
use crate::proto::get_retention_status_response::Hour;
use crate::proto::retention_service_server::RetentionService;
use crate::proto::{GetRetentionStatusRequest, GetRetentionStatusResponse};

/// Who may see the counts of all tenants.
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
}
