//! The claims of a receipt: from JSON whose signature holds to a value that follows the rules of its form.
//!
//! What is not known is ignored, so that receipts may say more; what is known must be right.

use chrono::DateTime;

use crate::crypto::json::{self, Malformed, Object};
use crate::domain::category::Category;
use crate::domain::purpose::Purpose;
use crate::domain::receipt::{ConsentAct, ConsentType, Grant, GrantDecision, LawfulBasis, Notice, Receipt, SubjectClass};

/// The only form of claims there is.
const SCHEMA: &str = "idvault.consent/1";

/// Reads the payload of a receipt that the key `kid` signed.
pub(super) fn read(payload: &[u8], kid: String) -> Result<Receipt, Malformed> {
    let document = json::parse(payload).ok_or_else(|| Malformed::new("claims must be JSON, no member twice"))?;
    let claims = Object::document(&document, "claims")?;
    claims.value("schema", "must be idvault.consent/1", |text| (text == SCHEMA).then_some(()))?;
    Ok(Receipt {
        kid,
        issuer: claims.id("iss")?,
        audience: claims.id("aud")?,
        id: claims.id("jti")?,
        issued_at: claims.date("iat")?,
        not_before: claims.date("nbf")?,
        expires_at: claims.date("exp")?,
        subject_ref: claims.id("subject_ref")?,
        subject_class: claims.value("subject_class", "must be adult or minor", |text| match text {
            "adult" => Some(SubjectClass::Adult),
            "minor" => Some(SubjectClass::Minor),
            _ => None,
        })?,
        jurisdiction: claims.id("jurisdiction")?,
        notice: read_notice(&claims.object("notice")?)?,
        event: read_event(&claims.object("event")?)?,
        grants: claims.objects("grants")?.iter().map(read_grant).collect::<Result<_, _>>()?,
        guardian_ref: claims.optional_text("guardian_ref")?,
        bound_call_id: if claims.has("binding") { Some(claims.object("binding")?.id("call_id")?) } else { None },
    })
}

fn read_notice(notice: &Object<'_>) -> Result<Notice, Malformed> {
    Ok(Notice {
        id: notice.text("id")?.to_owned(),
        version: notice.text("version")?.to_owned(),
        sha256: notice.value("sha256", "must be 64 hexadecimal digits", parse_sha256)?,
        language: notice.text("language")?.to_owned(),
    })
}

fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let digits = text.len() == 64;
    base16ct::mixed::decode(text, &mut digest).ok().filter(|_| digits)?;
    Some(digest)
}

fn read_event(event: &Object<'_>) -> Result<ConsentAct, Malformed> {
    let time = event.value("time", "must be a time, RFC 3339", |text| DateTime::parse_from_rfc3339(text).ok())?;
    Ok(ConsentAct { time: time.to_utc(), method: event.text("method")?.to_owned(), actor: event.text("actor")?.to_owned() })
}

fn read_grant(grant: &Object<'_>) -> Result<Grant, Malformed> {
    let category = |name: &&str| Category::from_name(name).filter(|category| category.is_grantable());
    let categories: Option<_> = grant.texts("categories")?.iter().map(category).collect();
    let texts = |name| Ok(grant.texts(name)?.into_iter().map(str::to_owned).collect());
    let read = Grant {
        purpose: grant.value("purpose", "must be a purpose", Purpose::from_name)?,
        categories: categories.ok_or_else(|| grant.wrong("categories", "must be categories that can be granted"))?,
        decision: grant.value("decision", "must be given or refused", |text| match text {
            "given" => Some(GrantDecision::Given),
            "refused" => Some(GrantDecision::Refused),
            _ => None,
        })?,
        consent_type: grant.value("consent_type", "must be explicit, expressed or deemed", |text| match text {
            "explicit" => Some(ConsentType::Explicit),
            "expressed" => Some(ConsentType::Expressed),
            "deemed" => Some(ConsentType::Deemed),
            _ => None,
        })?,
        lawful_basis: grant.value("lawful_basis", "must be consent or legitimate_interest", |text| match text {
            "consent" => Some(LawfulBasis::Consent),
            "legitimate_interest" => Some(LawfulBasis::LegitimateInterest),
            _ => None,
        })?,
        recipients: texts("recipients")?,
        regions: texts("regions")?,
        ui_element_id: grant.optional_text("ui_element_id")?,
        basis_ref: grant.optional_text("basis_ref")?,
    };
    if read.consent_type == ConsentType::Explicit && read.ui_element_id.is_none() {
        return Err(grant.wrong("ui_element_id", "is required where consent is explicit"));
    }
    Ok(read)
}
