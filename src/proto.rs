//! The API as generated from `proto/`, and what the generator leaves to us: `Debug` that shows no identification data.

#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::as_conversions,
    clippy::large_enum_variant,
    clippy::pedantic,
    unused_qualifications,
    reason = "generated code"
)]
mod generated {
    tonic::include_proto!("idvault.v1");
}

use std::fmt;

pub use generated::*;

/// The descriptors of all protos, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/idvault.bin"));

/// Gives messages a `Debug` of their name alone.
macro_rules! redacted {
    ($($message:ty => $name:literal),* $(,)?) => {
        $(impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($name, " { .. }"))
            }
        })*
    };
}

redacted! {
    Attributes => "Attributes",
    InlinePart => "InlinePart",
    RecordHeader => "RecordHeader",
    record_header::ConsentSource => "ConsentSource",
    CreateRecordRequest => "CreateRecordRequest",
    UploadRecordRequest => "UploadRecordRequest",
    upload_record_request::Message => "Message",
    RegisterConsentRequest => "RegisterConsentRequest",
    EraseSubjectRequest => "EraseSubjectRequest",
    ListConsentsRequest => "ListConsentsRequest",
    ListRecordsRequest => "ListRecordsRequest",
    ListReleasesRequest => "ListReleasesRequest",
    FetchRecordsResponse => "FetchRecordsResponse",
    fetch_records_response::Item => "Item",
    fetch_records_response::item::Content => "Content",
    fetch_records_response::Chunk => "Chunk",
    Tenant => "Tenant",
}
