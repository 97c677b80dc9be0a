//! `RecordService`: records taken in, looked at, shredded.

use tonic::{Request, Response, Status};

use super::{Api, convert, names};
use crate::proto::record_service_server::RecordService;
use crate::proto::{
    CreateRecordRequest, CreateRecordResponse, GetRecordRequest, GetRecordResponse, ShredRecordRequest, ShredRecordResponse,
};

#[tonic::async_trait]
impl RecordService for Api {
    async fn create_record(&self, request: Request<CreateRecordRequest>) -> Result<Response<CreateRecordResponse>, Status> {
        let caller = self.callers.identify(request.metadata())?;
        let request = request.into_inner();
        let parent = request.header.as_ref().map_or("", |header| header.parent.as_str());
        caller.must_be_tenant_of(parent, "header.parent", &[])?;
        let upload = convert::upload(request)?;
        let record = self.run(move |vault| vault.create_record(&upload)).await?;
        Ok(Response::new(CreateRecordResponse { record: Some(convert::record(&record)) }))
    }

    async fn get_record(&self, request: Request<GetRecordRequest>) -> Result<Response<GetRecordResponse>, Status> {
        let caller = self.callers.identify(request.metadata())?;
        let name = request.into_inner().name;
        let tenant = caller.must_be_tenant_of(&name, "name", &[])?;
        let id = names::record(&name, "name")?;
        let record = self.run(move |vault| vault.record(&tenant, id)).await?;
        Ok(Response::new(GetRecordResponse { record: Some(convert::record(&record)) }))
    }

    async fn shred_record(&self, request: Request<ShredRecordRequest>) -> Result<Response<ShredRecordResponse>, Status> {
        let caller = self.callers.identify(request.metadata())?;
        let name = request.into_inner().name;
        let tenant = caller.must_be_tenant_of(&name, "name", &[])?;
        let id = names::record(&name, "name")?;
        let destruction = self.run(move |vault| vault.shred_record(&tenant, id)).await?;
        Ok(Response::new(ShredRecordResponse { destruction: Some(convert::destruction(destruction)) }))
    }
}
