//! `idvault job` and `idvault snapshot`: a training job from its spec to the frozen list that it may fetch.

use std::path::PathBuf;
use std::process::ExitCode;

use base64ct::{Base64, Encoding};
use chrono::{SubsecRound, TimeDelta};
use clap::{Subcommand, ValueEnum};

use super::client::{Client, Failure, MAX_PAGE_BYTES, Options, PAGE_SIZE, from_json};
use super::{new_uuid, read_text, timestamp, wall};
use crate::proto::training_service_client::TrainingServiceClient;
use crate::proto::{
    ApproveTrainingJobRequest, ApproverRole, CreateSnapshotRequest, CreateTrainingJobRequest, GetSnapshotRequest,
    GetTrainingJobRequest, ListTrainingJobsRequest, RevokeTrainingJobRequest, SubmitTrainingJobRequest, TrainingJobSpec,
};

/// What to do with training jobs
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Create a job from its spec (requester)
    Create {
        /// The spec: JSON with the fields of the message `TrainingJobSpec`
        spec: PathBuf,
        /// End the job in so many days, when the spec has no `expire_time`
        #[arg(long, default_value_t = 7)]
        days: u8,
        /// Ask for approval at once
        #[arg(long)]
        submit: bool,
        /// Create nothing: show how many records the job would find now, and why not the others
        #[arg(long, conflicts_with = "submit")]
        validate_only: bool,
        #[command(flatten)]
        client: Options,
    },
    /// Ask for approval (the requester of the job)
    Submit {
        /// trainingJobs/JOB
        job: String,
        #[command(flatten)]
        client: Options,
    },
    /// Approve a job (privacy officer, model owner; neither may be the requester)
    Approve {
        /// trainingJobs/JOB
        job: String,
        /// In which role
        #[arg(long, value_enum)]
        role: Role,
        /// The `spec_sha256` of what you read, in base64 as `idvault job show` gives it; without it, what the answer shows
        #[arg(long, value_name = "BASE64")]
        spec_sha256: Option<String>,
        #[command(flatten)]
        client: Options,
    },
    /// End a job for good (privacy officer or model owner): open streams end within a message
    Revoke {
        /// trainingJobs/JOB
        job: String,
        /// Why, for whoever reads the job
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        client: Options,
    },
    /// List all jobs (requester, approvers)
    List {
        #[command(flatten)]
        client: Options,
    },
    /// Show a job (requester, approvers, its workloads)
    Show {
        /// trainingJobs/JOB
        job: String,
        #[command(flatten)]
        client: Options,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Role {
    PrivacyOfficer,
    ModelOwner,
}

/// What to do with snapshots
#[derive(Debug, Subcommand)]
pub(super) enum SnapshotAction {
    /// Freeze the list of records that an active job may receive now
    Create {
        /// trainingJobs/JOB
        job: String,
        #[command(flatten)]
        client: Options,
    },
    /// Show a snapshot
    Show {
        /// trainingJobs/JOB/snapshots/SNAPSHOT
        snapshot: String,
        #[command(flatten)]
        client: Options,
    },
}

pub(super) async fn run(action: Action) -> Result<ExitCode, Failure> {
    match action {
        Action::Create { spec, days, submit, validate_only, client } => {
            let mut spec: TrainingJobSpec = from_json(&read_text(&spec)?, &spec.display().to_string())?;
            let end = wall()?.checked_add_signed(TimeDelta::days(days.into())).unwrap_or_default();
            spec.expire_time.get_or_insert(timestamp(end.trunc_subsecs(0)));
            let client = Client::connect(client).await?;
            let mut training = TrainingServiceClient::new(client.channel.clone());
            let request = CreateTrainingJobRequest { request_id: new_uuid()?, spec: Some(spec), validate_only };
            let created = training.create_training_job(client.request(request)).await?.into_inner();
            if validate_only {
                return client.show(created.eligibility.as_ref());
            }
            let mut job = created.training_job;
            if let Some(draft) = job.as_ref().filter(|_| submit) {
                let request = client.request(SubmitTrainingJobRequest { name: draft.name.clone() });
                job = training.submit_training_job(request).await?.into_inner().training_job;
            }
            client.show(job.as_ref())
        }
        Action::Submit { job, client } => {
            let client = Client::connect(client).await?;
            let request = client.request(SubmitTrainingJobRequest { name: job });
            let answer = TrainingServiceClient::new(client.channel.clone()).submit_training_job(request).await?;
            client.show(answer.into_inner().training_job.as_ref())
        }
        Action::Approve { job, role, spec_sha256, client } => {
            let role = match role {
                Role::PrivacyOfficer => ApproverRole::PrivacyOfficer,
                Role::ModelOwner => ApproverRole::ModelOwner,
            };
            let client = Client::connect(client).await?;
            let mut training = TrainingServiceClient::new(client.channel.clone());
            let spec_sha256 = if let Some(text) = spec_sha256 {
                Base64::decode_vec(&text)
                    .map_err(|_| Failure::usage("--spec-sha256 must be base64, as `idvault job show` gives it"))?
            } else {
                let shown = training.get_training_job(client.request(GetTrainingJobRequest { name: job.clone() })).await?;
                shown.into_inner().training_job.unwrap_or_default().spec_sha256
            };
            let request = client.request(ApproveTrainingJobRequest { name: job, spec_sha256, role: role.into() });
            let answer = training.approve_training_job(request).await?;
            client.show(answer.into_inner().training_job.as_ref())
        }
        Action::Revoke { job, reason, client } => {
            let client = Client::connect(client).await?;
            let request = client.request(RevokeTrainingJobRequest { name: job, reason });
            let answer = TrainingServiceClient::new(client.channel.clone()).revoke_training_job(request).await?;
            client.show(answer.into_inner().training_job.as_ref())
        }
        Action::List { client } => {
            let client = Client::connect(client).await?;
            let mut training = TrainingServiceClient::new(client.channel.clone()).max_decoding_message_size(MAX_PAGE_BYTES);
            let page = async |page_token| {
                let request = client.request(ListTrainingJobsRequest { page_size: PAGE_SIZE, page_token });
                let page = training.list_training_jobs(request).await?.into_inner();
                Ok((page.training_jobs, page.next_page_token))
            };
            client.show_list(page).await
        }
        Action::Show { job, client } => {
            let client = Client::connect(client).await?;
            let request = client.request(GetTrainingJobRequest { name: job });
            let answer = TrainingServiceClient::new(client.channel.clone()).get_training_job(request).await?;
            client.show(answer.into_inner().training_job.as_ref())
        }
    }
}

pub(super) async fn run_snapshot(action: SnapshotAction) -> Result<ExitCode, Failure> {
    match action {
        SnapshotAction::Create { job, client } => {
            let client = Client::connect(client).await?;
            let request = client.request(CreateSnapshotRequest { parent: job, request_id: new_uuid()? });
            let answer = TrainingServiceClient::new(client.channel.clone()).create_snapshot(request).await?;
            client.show(answer.into_inner().snapshot.as_ref())
        }
        SnapshotAction::Show { snapshot, client } => {
            let client = Client::connect(client).await?;
            let request = client.request(GetSnapshotRequest { name: snapshot });
            let answer = TrainingServiceClient::new(client.channel.clone()).get_snapshot(request).await?;
            client.show(answer.into_inner().snapshot.as_ref())
        }
    }
}
