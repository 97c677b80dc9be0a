//! The API: who calls, what they ask in the domain's words, and what the vault's answers are on the wire.
//!
//! Nothing here decides over data and nothing here sees a key. Authorisation comes before validation; every use case runs
//! off the async threads, where a client that hangs up cuts nothing short.

mod budget;
mod caller;
mod connections;
mod consents;
mod convert;
mod names;
mod paced;
mod packed;
mod records;
mod retention;
mod status;
mod tenants;
mod training;
mod uploads;
mod whole;

pub use caller::{Callers, Peer, Proof, Role};
pub use connections::{Connection, connections};
pub use paced::paced_answers;
pub use packed::{Messages, packed};
pub use whole::whole_requests;

use std::sync::Arc;

use tokio::sync::oneshot;
use tonic::Status;

use crate::proto;
use crate::vault::Vault;
use crate::vault::error::Error;
use training::Streams;
use uploads::Uploads;

/// The longest message that is received: 4 MiB of parts and the rest of their request.
const MAX_MESSAGE_BYTES: usize = (4 << 20) + (64 << 10);

/// The API over a vault.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds the vault")]
pub struct Api {
    vault: Arc<Vault>,
    callers: Arc<Callers>,
    uploads: Uploads,
    /// Messages of streams that were made and have not left.
    streams: Streams,
}

impl Api {
    /// The API over this vault for these callers.
    #[must_use]
    pub fn new(vault: Arc<Vault>, callers: Callers) -> Self {
        Self { vault, callers: Arc::new(callers), uploads: Uploads::new(), streams: Streams::default() }
    }

    /// All services.
    #[must_use]
    pub fn routes(self) -> tonic::service::Routes {
        use proto::consent_service_server::ConsentServiceServer;
        use proto::record_service_server::RecordServiceServer;
        use proto::retention_service_server::RetentionServiceServer;
        use proto::tenant_service_server::TenantServiceServer;
        use proto::training_service_server::TrainingServiceServer;
        let mut routes = tonic::service::RoutesBuilder::default();
        routes
            .add_service(TenantServiceServer::new(self.clone()))
            .add_service(RecordServiceServer::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
            .add_service(ConsentServiceServer::new(self.clone()))
            .add_service(TrainingServiceServer::new(self.clone()))
            .add_service(RetentionServiceServer::new(self));
        routes.routes()
    }

    /// Runs a use case off the async threads. One that fails stops the vault.
    async fn run<T: Send + 'static>(
        &self,
        use_case: impl FnOnce(&Vault) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Status> {
        self.run_until_answered(|vault, answer| answer.send(use_case(vault))).await
    }

    /// The same with a use case that answers in its own time, from whatever thread.
    async fn run_until_answered<T: Send + 'static>(
        &self,
        use_case: impl FnOnce(&Vault, Answer<T>) + Send + 'static,
    ) -> Result<T, Status> {
        let vault = Arc::clone(&self.vault);
        let (to, answered) = oneshot::channel();
        let answer = Answer { vault: Arc::clone(&vault), to };
        drop(tokio::task::spawn_blocking(move || use_case(&vault, answer)));
        let panicked = |_| Err(self.vault.stop_if_failed(Error::Failed("a use case panicked".to_owned())));
        Ok(answered.await.unwrap_or_else(panicked)?)
    }
}

/// To whom a use case answers. A failure stops the vault, whether or not somebody is still there to hear of it.
struct Answer<T> {
    vault: Arc<Vault>,
    to: oneshot::Sender<Result<T, Error>>,
}

impl<T> Answer<T> {
    fn send(self, outcome: Result<T, Error>) {
        drop(self.to.send(outcome.map_err(|error| self.vault.stop_if_failed(error))));
    }
}
