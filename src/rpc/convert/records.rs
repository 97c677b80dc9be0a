//! Records: uploads as they are asked for, records as they are shown.

use super::{category, names, request_id, stamp, text, time};
use crate::domain::attributes::{Attributes, Field};
use crate::domain::ids::TenantId;
use crate::domain::media::MediaType;
use crate::domain::metadata::{MetadataKind, Treatment};
use crate::domain::record::{Part, Record};
use crate::proto;
use crate::proto::record_header::ConsentSource as WireSource;
use crate::rpc::status::Denied;
use crate::vault::ingest::{ConsentSource, PartHeader, Plaintext, Upload, UploadHeader, UploadPart};
use crate::vault::records::Which;

/// A whole record to be taken in.
pub(in crate::rpc) fn upload(request: proto::CreateRecordRequest) -> Result<Upload, Denied> {
    // Into wiping buffers first, whatever is wrong with the rest.
    let parts: Vec<_> =
        request.parts.into_iter().map(|part| (part.header.unwrap_or_default(), Plaintext::from(part.data))).collect();
    let part = |(index, (header, data)): (usize, (proto::PartHeader, Plaintext))| {
        Ok(UploadPart { header: part_header(&header, &format!("parts[{index}].header"))?, data })
    };
    Ok(Upload {
        header: upload_header(request.header.unwrap_or_default())?,
        attributes: attributes(request.attributes.unwrap_or_default())?,
        parts: parts.into_iter().enumerate().map(part).collect::<Result<_, Denied>>()?,
    })
}

/// What a record to be taken in is.
pub(in crate::rpc) fn upload_header(header: proto::RecordHeader) -> Result<UploadHeader, Denied> {
    let tenant = names::tenant(&header.parent, "header.parent")?;
    Ok(UploadHeader {
        request: request_id(&header.request_id, "header.request_id")?,
        call_id: text(&header.call_id, "header.call_id")?,
        collect_time: time(header.collect_time, "header.collect_time")?,
        consent: consent_source(header.consent_source.ok_or(Denied::ReceiptRequired)?, &tenant)?,
        tenant,
    })
}

fn consent_source(source: WireSource, tenant: &TenantId) -> Result<ConsentSource, Denied> {
    match source {
        WireSource::Consent(name) if names::owner(&name, "header.consent")? != *tenant => {
            Err(Denied::invalid("header.consent", "must be a consent of the record's tenant"))
        }
        WireSource::Consent(name) => Ok(ConsentSource::Registered(names::consent(&name, "header.consent")?)),
        WireSource::Receipt(text) => Ok(ConsentSource::Receipt(receipt(text)?)),
    }
}

/// A receipt that is there; what it must be like, its parser knows.
pub(in crate::rpc) fn receipt(text: String) -> Result<String, Denied> {
    if text.is_empty() { Err(Denied::ReceiptRequired) } else { Ok(text) }
}

/// What a part to be taken in is; `path` is where its header stands.
pub(in crate::rpc) fn part_header(header: &proto::PartHeader, path: &str) -> Result<PartHeader, Denied> {
    let field = |name: &str| format!("{path}.{name}");
    let category = category(header.category, &field("category"))?;
    if !category.is_file() {
        return Err(Denied::invalid(field("category"), "must be that of a file; attributes come in their own field"));
    }
    let rule = "must be image/jpeg, image/png, image/webp, image/heic, application/pdf, video/mp4 or video/webm";
    let media_type = MediaType::from_name(&header.media_type).ok_or_else(|| Denied::invalid(field("media_type"), rule))?;
    Ok(PartHeader { category, media_type, size: header.size_bytes, crc32c: header.crc32c })
}

/// What a document says.
pub(in crate::rpc) fn attributes(wire: proto::Attributes) -> Result<Attributes, Denied> {
    let fields = [
        (Field::Surname, wire.surname),
        (Field::GivenNames, wire.given_names),
        (Field::NativeName, wire.native_name),
        (Field::Address, wire.address),
        (Field::IdNumber, wire.id_number),
        (Field::IdType, wire.id_type),
        (Field::Expires, wire.expires),
        (Field::Country, wire.country),
        (Field::Nationality, wire.nationality),
        (Field::DateOfBirth, wire.date_of_birth),
        (Field::Sex, wire.sex),
    ];
    let mrz = wire.mrz.into_iter().map(|line| (Field::Mrz, line));
    Attributes::new(fields.into_iter().chain(mrz))
        .map_err(|invalid| Denied::invalid(format!("attributes.{}", invalid.field.name()), invalid.rule))
}

/// Which records of a list are wanted.
pub(in crate::rpc) fn which(call_id: &str, subject_ref: &str) -> Result<Which, Denied> {
    match (call_id, subject_ref) {
        ("", "") => Ok(Which::All),
        (call_id, "") => Ok(Which::OfCall(text(call_id, "call_id")?)),
        ("", subject_ref) => Ok(Which::OfSubject(text(subject_ref, "subject_ref")?)),
        _ => Err(Denied::invalid("subject_ref", "must be left out where call_id is said")),
    }
}

/// A record on the wire.
pub(in crate::rpc) fn record(record: &Record) -> proto::Record {
    let name = names::of_record(&record.tenant, record.id);
    proto::Record {
        call_id: record.call_id.to_string(),
        consent: names::of_consent(&record.tenant, record.consent),
        upload_time: Some(stamp(record.upload_time)),
        expire_time: Some(stamp(record.expire_time)),
        parts: record.parts.iter().map(|part| part_of(part, &name)).collect(),
        name,
    }
}

fn part_of(part: &Part, record: &str) -> proto::Part {
    let removed = |kind: &MetadataKind| i32::from(kind.number());
    let (treatment, metadata_removed) = match &part.treatment {
        Treatment::Unknown => (proto::MetadataTreatment::Unspecified, Vec::new()),
        Treatment::Stripped(kinds) => (proto::MetadataTreatment::Stripped, kinds.iter().map(removed).collect()),
        Treatment::Kept => (proto::MetadataTreatment::Kept, Vec::new()),
        Treatment::Untouched => (proto::MetadataTreatment::Untouched, Vec::new()),
    };
    proto::Part {
        name: format!("{record}/parts/{}", part.number),
        category: i32::from(part.category.number()),
        media_type: part.media_type.name().to_owned(),
        size_bytes: part.size,
        metadata_treatment: treatment.into(),
        metadata_removed,
    }
}
