//! Compiles the protos without protoc and leaves their descriptors beside the generated code, for server reflection.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

const PROTOS: [&str; 5] = [
    "idvault/v1/consent_service.proto",
    "idvault/v1/record_service.proto",
    "idvault/v1/retention_service.proto",
    "idvault/v1/tenant_service.proto",
    "idvault/v1/training_service.proto",
];

/// Messages that hold identification data or receipts. They get no `Debug` (prost knows no redaction); `src/proto.rs`
/// writes one that shows nothing.
const SECRETIVE: [&str; 17] = [
    "idvault.v1.Attributes",
    "idvault.v1.InlinePart",
    "idvault.v1.RecordHeader",
    "idvault.v1.RecordHeader.consent_source",
    "idvault.v1.CreateRecordRequest",
    "idvault.v1.UploadRecordRequest",
    "idvault.v1.UploadRecordRequest.message",
    "idvault.v1.RegisterConsentRequest",
    "idvault.v1.EraseSubjectRequest",
    "idvault.v1.ListConsentsRequest",
    "idvault.v1.ListRecordsRequest",
    "idvault.v1.ListReleasesRequest",
    "idvault.v1.FetchRecordsResponse",
    "idvault.v1.FetchRecordsResponse.Item",
    "idvault.v1.FetchRecordsResponse.Item.content",
    "idvault.v1.FetchRecordsResponse.Chunk",
    "idvault.v1.Tenant",
];

#[expect(clippy::disallowed_methods, reason = "cargo tells build scripts where to write by the environment")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("idvault.bin"), descriptors.encode_to_vec())?;
    let mut messages = tonic_prost_build::Config::new();
    messages.enable_type_names();
    tonic_prost_build::configure()
        .skip_debug(SECRETIVE)
        .bytes("idvault.v1.FetchRecordsResponse.Chunk.data")
        .emit_rerun_if_changed(false)
        .compile_fds_with_config(descriptors, messages)?;
    Ok(())
}
