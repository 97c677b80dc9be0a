//! `RecordService`: records taken in, looked at, shredded. What arrives as a stream is received in `rpc/uploads.rs`.

use tonic::{Request, Response, Status, Streaming};

use super::{Api, convert, names};
use crate::proto::record_service_server::RecordService;
use crate::proto::{
    CreateRecordRequest, CreateRecordResponse, GetRecordRequest, GetRecordResponse, InlinePart, ListRecordsRequest,
    ListRecordsResponse, ShredRecordRequest, ShredRecordResponse, UploadRecordRequest, UploadRecordResponse,
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
        let record =
            self.run_until_answered(move |vault, answer| vault.take_in(upload, move |outcome| answer.send(outcome))).await?;
        Ok(Response::new(CreateRecordResponse { record: Some(convert::record(&record)) }))
    }

    async fn upload_record(
        &self,
        request: Request<Streaming<UploadRecordRequest>>,
    ) -> Result<Response<UploadRecordResponse>, Status> {
        let record = self.receive(request).await?;
        Ok(Response::new(UploadRecordResponse { record: Some(convert::record(&record)) }))
    }

    async fn list_records(&self, request: Request<ListRecordsRequest>) -> Result<Response<ListRecordsResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let ListRecordsRequest { parent, page_size, page_token, call_id, subject_ref } = request.into_inner();
        caller.must_be_tenant_of(&parent, "parent", &[])?;
        let tenant = names::tenant(&parent, "parent")?;
        let which = convert::which(&call_id, &subject_ref)?;
        let page = convert::page(page_size, page_token);
        let listed = self.run(move |vault| vault.records(&tenant, &which, &page)).await?;
        let records = listed.items.iter().map(convert::record).collect();
        Ok(Response::new(ListRecordsResponse { records, next_page_token: listed.next }))
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
