//! `RecordService`: records taken in, looked at, shredded.

use tonic::{Request, Response, Status};

use super::{Api, convert, names};
use crate::proto::record_service_server::RecordService;
use crate::proto::{
    CreateRecordRequest, CreateRecordResponse, GetRecordRequest, GetRecordResponse, InlinePart, ShredRecordRequest,
    ShredRecordResponse,
};
use crate::vault::error::Error;

/// How many bytes the parts of a unary upload have in all.
const MAX_INLINE_BYTES: usize = 4 << 20;

#[tonic::async_trait]
impl RecordService for Api {
    async fn create_record(&self, request: Request<CreateRecordRequest>) -> Result<Response<CreateRecordResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let request = request.into_inner();
        let parent = request.header.as_ref().map_or("", |header| header.parent.as_str());
        caller.must_be_tenant_of(parent, "header.parent", &[])?;
        if let Some(part) = first_beyond(&request.parts, MAX_INLINE_BYTES) {
            return Err(Error::PartTooLarge(part).into());
        }
        let upload = convert::upload(request)?;
        let record = self.run(move |vault| vault.create_record(&upload)).await?;
        Ok(Response::new(CreateRecordResponse { record: Some(convert::record(&record)) }))
    }

    async fn get_record(&self, request: Request<GetRecordRequest>) -> Result<Response<GetRecordResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let name = request.into_inner().name;
        let tenant = caller.must_be_tenant_of(&name, "name", &[])?;
        let id = names::record(&name, "name")?;
        let record = self.run(move |vault| vault.record(&tenant, id)).await?;
        Ok(Response::new(GetRecordResponse { record: Some(convert::record(&record)) }))
    }

    async fn shred_record(&self, request: Request<ShredRecordRequest>) -> Result<Response<ShredRecordResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let name = request.into_inner().name;
        let tenant = caller.must_be_tenant_of(&name, "name", &[])?;
        let id = names::record(&name, "name")?;
        let destruction = self.run(move |vault| vault.shred_record(&tenant, id)).await?;
        Ok(Response::new(ShredRecordResponse { destruction: Some(convert::destruction(destruction)) }))
    }
}

/// The first part with which all before it are larger than `limit`.
fn first_beyond(parts: &[InlinePart], limit: usize) -> Option<usize> {
    let mut total = 0_usize;
    parts.iter().position(|part| {
        total = total.saturating_add(part.data.len());
        total > limit
    })
}
