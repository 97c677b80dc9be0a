//! A connection to a vault and everyone who calls over it, each by the SPIFFE id in the metadata; and what a refusal says.

use std::net::SocketAddr;
use std::time::Duration;

use idvault::config::Roles;
use idvault::domain::ids::Identity;
use idvault::proto::consent_service_client::ConsentServiceClient;
use idvault::proto::record_service_client::RecordServiceClient;
use idvault::proto::retention_service_client::RetentionServiceClient;
use idvault::proto::tenant_service_client::TenantServiceClient;
use idvault::proto::training_service_client::TrainingServiceClient;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

pub(crate) const TRUST_DOMAIN: &str = "example.test";
pub(crate) const OPERATOR: &str = "person/olga";
pub(crate) const REQUESTER: &str = "person/rita";
pub(crate) const OFFICER: &str = "person/paul";
/// A second privacy officer.
pub(crate) const DEPUTY: &str = "person/pia";
pub(crate) const MODEL_OWNER: &str = "person/mona";
pub(crate) const WORKLOAD: &str = "workload/trainer";
/// Somebody of the trust domain without any role.
pub(crate) const STRANGER: &str = "person/sam";
/// Sends nothing that says who it is.
pub(crate) const NOBODY: &str = "";

/// A stream's window: small, so that what a slow reader has not asked for stays with the server.
const WINDOW: u32 = 65_535;
/// The deadline of a call: far beyond what any takes, so that a call that hangs fails its test.
const DEADLINE: Duration = Duration::from_mins(1);

/// Who has which role. Rita and Paul hold a second one each, so that only four eyes stand between them and an approval.
pub(crate) fn roles() -> Roles {
    let identities = |paths: &[&str]| paths.iter().map(|path| path.parse::<Identity>().unwrap()).collect();
    Roles {
        operator: identities(&[OPERATOR]),
        requester: identities(&[REQUESTER]),
        privacy_officer: identities(&[OFFICER, DEPUTY, REQUESTER]),
        model_owner: identities(&[MODEL_OWNER, OFFICER]),
        auditor: Vec::new(),
    }
}

/// A connection to a vault.
#[derive(Clone)]
pub(crate) struct Client {
    channel: Channel,
}

/// The caller that each request names.
#[derive(Clone)]
pub(crate) struct As(String);

impl Interceptor for As {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if self.0 != NOBODY {
            request.metadata_mut().insert("idvault-caller", spiffe_id(&self.0).parse().unwrap());
        }
        request.set_timeout(DEADLINE);
        Ok(request)
    }
}

impl Client {
    /// A connection of its own to the vault at `address`.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let endpoint = endpoint.initial_stream_window_size(WINDOW).initial_connection_window_size(16 * WINDOW);
        Ok(Self { channel: endpoint.connect().await? })
    }

    /// The vault at the other end of `channel`.
    pub(crate) fn over(channel: Channel) -> Self {
        Self { channel }
    }

    /// The connection itself.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn tenants(&self, who: &str) -> TenantServiceClient<InterceptedService<Channel, As>> {
        TenantServiceClient::with_interceptor(self.channel.clone(), As(who.to_owned()))
    }

    pub(crate) fn records(&self, who: &str) -> RecordServiceClient<InterceptedService<Channel, As>> {
        RecordServiceClient::with_interceptor(self.channel.clone(), As(who.to_owned()))
    }

    pub(crate) fn consents(&self, who: &str) -> ConsentServiceClient<InterceptedService<Channel, As>> {
        ConsentServiceClient::with_interceptor(self.channel.clone(), As(who.to_owned()))
    }

    pub(crate) fn training(&self, who: &str) -> TrainingServiceClient<InterceptedService<Channel, As>> {
        TrainingServiceClient::with_interceptor(self.channel.clone(), As(who.to_owned()))
    }

    pub(crate) fn retention(&self, who: &str) -> RetentionServiceClient<InterceptedService<Channel, As>> {
        RetentionServiceClient::with_interceptor(self.channel.clone(), As(who.to_owned()))
    }
}

/// The SPIFFE id of `path`.
pub(crate) fn spiffe_id(path: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/{path}")
}

/// The code and the reason of a refusal, `domain` and retry information checked.
pub(crate) fn reason_of(status: &Status) -> (Code, String) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "idvault");
    let passes = status.code() == Code::Unavailable || info.reason == "TOO_MANY_UPLOADS";
    assert_eq!(status.get_details_retry_info().is_some(), passes, "{status:?}");
    (status.code(), info.reason)
}

/// Fails unless `answer` is a refusal with this code for this reason.
#[track_caller]
pub(crate) fn refused<T>(answer: Result<Response<T>, Status>, code: Code, reason: &str) {
    match answer {
        Ok(_) => panic!("it was not refused; wanted {reason}"),
        Err(status) => assert_eq!(reason_of(&status), (code, reason.to_owned()), "{status:?}"),
    }
}

/// Fails unless `answer` is a refusal of exactly this field.
#[track_caller]
pub(crate) fn invalid<T>(answer: Result<Response<T>, Status>, field: &str) {
    let Err(status) = answer else { panic!("it was not refused; wanted {field} to be invalid") };
    assert_eq!(reason_of(&status), (Code::InvalidArgument, "INVALID_FIELD".to_owned()), "{status:?}");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations.into_iter().map(|violation| violation.field).collect::<Vec<_>>(), [field]);
}
