//! `idvault demo`: the whole story on real images, from upload to oblivion, in a temporary vault over real gRPC, on a clock
//! that the demo moves. It tells what it does, checks every promise it makes, and fails if one does not hold.

mod account;
mod attacker;
mod parties;
mod specimens;
mod trainer;

use std::process::ExitCode;

use chrono::{DateTime, TimeDelta};

use self::account::Account;
use self::parties::{
    Caller, Failure, Host, MODEL_OWNER, OPERATOR, PRIVACY_OFFICER, Provider, REQUESTER, TENANT, WORKLOAD, reason,
};
use self::specimens::Specimen;
use self::trainer::{Epoch, Sample};
use super::{EX_SOFTWARE, fail};
use crate::proto::consent_service_client::ConsentServiceClient;
use crate::proto::record_service_client::RecordServiceClient;
use crate::proto::retention_service_client::RetentionServiceClient;
use crate::proto::tenant_service_client::TenantServiceClient;
use crate::proto::{
    CreateTenantRequest, GetCertificateRequest, GetRecordRequest, GetRetentionStatusRequest, GetRetentionStatusResponse,
    MetadataPolicy, Record, ShredRecordRequest, Tenant, WithdrawConsentRequest,
};

/// The demo begins at 2026-03-01T09:00:00Z.
const BEGIN: i64 = 1_772_355_600;
/// Those who consent to their check alone, by their place among the specimens.
const DECLINED: [usize; 3] = [3, 6, 10];
/// How often the demo looks whether the vault has done what its clock asks for, and how long between looks.
const LOOKS: u32 = 400;
const BETWEEN_LOOKS: std::time::Duration = std::time::Duration::from_millis(25);

/// The demo takes no arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

/// A record that the vault took in.
struct Uploaded {
    specimen: Specimen,
    record: Record,
}

pub(super) async fn run(Arguments {}: Arguments) -> ExitCode {
    match story().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => fail(EX_SOFTWARE, &"the demo was not as promised"),
        Err(failure) => fail(EX_SOFTWARE, &failure),
    }
}

/// Tells the story. Whether every promise held.
async fn story() -> Result<bool, Failure> {
    let mut account = Account::begin();
    let begin = DateTime::from_timestamp(BEGIN, 0).ok_or("no such time")?;
    let mut host = Host::start(begin).await?;
    let provider = Provider::new()?;
    account.chapter("A vault, a tenant, twelve checks");
    account.tell(format!("a new vault serves at {}, its clock says {}", host.address(), host.now().to_rfc3339()));
    let uploaded = upload_all(&mut account, &host, &provider).await?;
    let job = approve_job(&mut account, &host).await?;
    let withdrawn = train_and_withdraw(&mut account, &host, &job, &uploaded).await?;
    let shredded = shred_one(&mut account, &host, &uploaded, &withdrawn).await?;
    attacker::after_shredding(&mut account, &host, &uploaded, &[withdrawn, shredded])?;
    let late = pass_thirty_days(&mut account, &mut host, &provider, &uploaded).await?;
    attacker::after_expiry(&mut account, &host, &uploaded, &late)?;
    let held = account.end();
    host.stop().await?;
    Ok(held)
}

/// Everyone uploads; those whose receipt grants no training purpose are turned away.
async fn upload_all(account: &mut Account, host: &Host, provider: &Provider) -> Result<Vec<Uploaded>, Failure> {
    let operator = host.caller(OPERATOR).await?;
    let tenant = Tenant {
        jwks: provider.jwks(),
        jwks_proofs: vec![provider.proof()],
        metadata_policy: MetadataPolicy::Keep.into(),
        ..Tenant::default()
    };
    let create = CreateTenantRequest { tenant_id: "kyc-asia".to_owned(), tenant: Some(tenant) };
    TenantServiceClient::new(operator.channel.clone()).create_tenant(operator.request(create)).await?;

    let tenant = host.caller(TENANT).await?;
    let (mut uploaded, mut refused, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
    for (index, specimen) in specimens::all().into_iter().enumerate() {
        let purposes: &[&str] =
            if DECLINED.contains(&index) { &["VERIFY_IDENTITY"] } else { &["VERIFY_IDENTITY", "TRAIN_FACE_MATCH"] };
        match upload(&tenant, host, provider, &specimen, (specimen.call_id, purposes)).await? {
            Ok(record) => {
                bytes = bytes.saturating_add(specimen.files.iter().map(|file| file.bytes.len()).sum());
                uploaded.push(Uploaded { specimen, record });
            }
            Err(reason) => refused.push(reason),
        }
    }
    account.tell(format!("{} checks are sealed and durable, {bytes} bytes of images", uploaded.len()));
    account.promise(
        format!("{} checks without consent to training were refused: CONSENT_PURPOSE_NOT_GRANTED", refused.len()),
        refused.len() == DECLINED.len() && refused.iter().all(|reason| reason == "CONSENT_PURPOSE_NOT_GRANTED"),
    );
    Ok(uploaded)
}

/// Uploads one check under a call id with consent to these purposes. The record, or the reason of its refusal.
async fn upload(
    tenant: &Caller,
    host: &Host,
    provider: &Provider,
    specimen: &Specimen,
    (call_id, purposes): (&str, &[&str]),
) -> Result<Result<Record, String>, Failure> {
    let receipt = provider.receipt(specimen, purposes, host.now())?;
    let request = tenant.request(Provider::upload(specimen, call_id, receipt, host.now())?);
    let answer = RecordServiceClient::new(tenant.channel.clone()).max_encoding_message_size(8 << 20).create_record(request).await;
    match answer {
        Ok(response) => Ok(Ok(response.into_inner().record.ok_or("no record in the answer")?)),
        Err(status) => Ok(Err(reason(&status))),
    }
}

/// A job is asked for, tried with one approval, and approved by the second person.
async fn approve_job(account: &mut Account, host: &Host) -> Result<String, Failure> {
    account.chapter("Four eyes");
    let (requester, officer, owner) =
        (host.caller(REQUESTER).await?, host.caller(PRIVACY_OFFICER).await?, host.caller(MODEL_OWNER).await?);
    let (job, digest) = trainer::ask(&requester, host.now()).await?;
    account.tell("rita asks for faces and documents, and of the attributes only name and date of birth");
    let itself = trainer::approve_as_officer(&requester, &job, &digest).await?;
    account.promise("she may not approve it herself: CALLER_NOT_ALLOWED", itself == Err("CALLER_NOT_ALLOWED".to_owned()));
    trainer::approve_as_officer(&officer, &job, &digest).await??;
    let workload = host.caller(WORKLOAD).await?;
    let early = trainer::snapshot(&workload, &job).await?;
    account.promise("with one approval it gets nothing: JOB_NOT_ACTIVE", early == Err("JOB_NOT_ACTIVE".to_owned()));
    trainer::approve_as_owner(&owner, &job, &digest).await??;
    account.tell("paul, the privacy officer, and mona, the model owner, have approved it");
    Ok(job)
}

/// The job fetches everything; then one person withdraws while a second epoch is streaming. Returns that person's record.
async fn train_and_withdraw(account: &mut Account, host: &Host, job: &str, uploaded: &[Uploaded]) -> Result<String, Failure> {
    account.chapter("Training");
    let workload = host.caller(WORKLOAD).await?;
    let snapshot = trainer::snapshot(&workload, job).await??;
    let mut first = Epoch::open(&workload, &snapshot, 1).await?;
    let samples = first.read_all().await?;
    account.tell(format!("the job fetched {} records", samples.len()));
    let unchanged = |sample: &Sample| uploaded.iter().any(|uploaded| sample.is(&uploaded.specimen));
    let whole = samples.len() == uploaded.len() && samples.values().all(unchanged);
    account.promise("every image is the uploaded one, byte for byte; of the attributes only the fields asked for came", whole);

    account.chapter("A person says no");
    let mut second = Epoch::open(&workload, &snapshot, 2).await?;
    second.read_message().await?;
    let last = first.position_in(&second, second.count().saturating_sub(1)).ok_or("the epochs have no common record")?;
    let sample = samples.get(&last).ok_or("a record is missing in the first epoch")?;
    let person = uploaded.iter().find(|uploaded| sample.is(&uploaded.specimen)).ok_or("an unknown record was fetched")?;
    let officer = host.caller(PRIVACY_OFFICER).await?;
    let withdraw = WithdrawConsentRequest { name: person.record.consent.clone(), purposes: Vec::new() };
    let answer =
        ConsentServiceClient::new(officer.channel.clone()).withdraw_consent(officer.request(withdraw)).await?.into_inner();
    let destruction = answer.destruction.ok_or("no destruction in the answer")?;
    account.tell(format!("{} withdrew while a stream was open; the vault answered when it was done", person.specimen.subject()));
    let rest = second.read_all().await?;
    let late = second
        .messages()
        .iter()
        .any(|message| message.sequence > destruction.last_release_sequence && message.tokens.contains(&sample.token));
    account.promise("no message after the answer's release sequence carries the record", !late);
    let tombstones = rest.values().filter(|sample| sample.is_gone).count();
    account
        .promise("the stream went on, with a tombstone in the record's place", tombstones == 1 && rest.len() == uploaded.len());
    Ok(person.record.name.clone())
}

/// The tenant shreds one more record by name.
async fn shred_one(account: &mut Account, host: &Host, uploaded: &[Uploaded], withdrawn: &str) -> Result<String, Failure> {
    let tenant = host.caller(TENANT).await?;
    let name =
        uploaded.iter().map(|uploaded| &uploaded.record.name).find(|name| *name != withdrawn).ok_or("no record is left")?.clone();
    let mut records = RecordServiceClient::new(tenant.channel.clone());
    let answer = records.shred_record(tenant.request(ShredRecordRequest { name: name.clone() })).await?.into_inner();
    let looked = records.get_record(tenant.request(GetRecordRequest { name: name.clone() })).await;
    let gone = looked.is_err_and(|status| reason(&status) == "RECORD_GONE");
    account.promise("a record shredded by its tenant is gone: RECORD_GONE", gone);
    let [certificate] =
        <[String; 1]>::try_from(answer.destruction.unwrap_or_default().certificates).map_err(|_| "no certificate")?;
    let request = tenant.request(GetCertificateRequest { name: certificate, record: String::new() });
    let answer = RetentionServiceClient::new(tenant.channel.clone()).get_certificate(request).await?.into_inner();
    let note = answer.certificate.unwrap_or_default().note;
    let verified = host.verifier()?.open(&note).is_ok();
    account.promise("its certificate of destruction is signed by the vault, and verified without it", verified);
    for line in note.lines().filter(|line| ["trigger", "records", "generation", "class"].iter().any(|key| line.starts_with(key)))
    {
        account.tell(line.to_owned());
    }
    Ok(name)
}

/// Thirty days pass. Returns a record uploaded after them.
async fn pass_thirty_days(
    account: &mut Account,
    host: &mut Host,
    provider: &Provider,
    uploaded: &[Uploaded],
) -> Result<Uploaded, Failure> {
    account.chapter("Thirty days pass");
    host.pass(TimeDelta::days(30))?;
    let operator = host.caller(OPERATOR).await?;
    let mut status = retention(&operator).await?;
    account.promise(format!("at {} nothing of then is served", host.now().to_rfc3339()), status.live_record_count == 0);
    for _ in 0..LOOKS {
        if status.backlog_record_count == 0 {
            break;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
        status = retention(&operator).await?;
    }
    account.promise(
        format!("all of it is destroyed, keyring generation {}", status.keyring_generation),
        status.backlog_record_count == 0,
    );
    let tenant = host.caller(TENANT).await?;
    let mut records = RecordServiceClient::new(tenant.channel.clone());
    let mut gone = 0_usize;
    for Uploaded { record, .. } in uploaded {
        let looked = records.get_record(tenant.request(GetRecordRequest { name: record.name.clone() })).await;
        gone = gone.saturating_add(usize::from(looked.is_err_and(|status| reason(&status) == "RECORD_GONE")));
    }
    account.promise(format!("{gone} of {} records are gone: RECORD_GONE", uploaded.len()), gone == uploaded.len());
    let [specimen, ..] = specimens::all();
    let record = upload(&tenant, host, provider, &specimen, ("check-late", &["TRAIN_FACE_MATCH"])).await??;
    account.tell("one more check is uploaded, so that something is alive");
    Ok(Uploaded { specimen, record })
}

async fn retention(operator: &Caller) -> Result<GetRetentionStatusResponse, Failure> {
    let request = operator.request(GetRetentionStatusRequest { parent: "tenants/-".to_owned() });
    Ok(RetentionServiceClient::new(operator.channel.clone()).get_retention_status(request).await?.into_inner())
}
