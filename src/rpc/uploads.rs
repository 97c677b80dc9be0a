//! `UploadRecord`: a record taken in as a stream, its messages in their order, within bounds of memory and time.
//!
//! What has come of a record is taken in together, off the async threads, while more of it comes. Only images whose metadata
//! is to be removed are held back whole, within a budget. A stream that ends early, in whatever way, drops what it has begun;
//! nobody who cannot go on is kept waiting.

mod messages;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{self, Either};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::{Request, Status, Streaming};

use super::Api;
use super::budget::{Budget, Share, Wait};
use super::caller::Caller;
use super::convert;
use super::status::Denied;
use crate::domain::attributes::Attributes;
use crate::domain::ids::Identity;
use crate::domain::record::Record;
use crate::proto::UploadRecordRequest;
use crate::vault::Vault;
use crate::vault::error::Error;
use crate::vault::ingest::Intake;
use messages::{Batch, End, Messages, Step};

/// How many uploads are under way at once; each holds two messages or so.
const MAX_AT_ONCE: u64 = 64;
/// How many bytes of images are held back at once: six of the largest with what is left of them, or hundreds of the usual.
const MAX_HELD_BACK: u64 = 128 << 20;
/// How a place, or room for an image, is waited for: whoever waits may have sent a window ahead, which the vault holds.
const WAIT: Wait = Wait { longest: Duration::from_secs(1), most: 16 };
/// How long an upload may take to arrive: at the least 110 KB/s for the largest record.
const LONGEST: Duration = Duration::from_mins(10);

/// What uploads share.
#[derive(Debug, Clone)]
pub(super) struct Uploads {
    places: Arc<Budget>,
    held_back: Arc<Budget>,
}

/// A record that is arriving, and its shares: they end when it does, wherever it is then.
struct Arriving {
    caller: Identity,
    intake: Intake,
    attributes: Attributes,
    budget: Arc<Budget>,
    /// Answers when nobody waits for the record any more.
    gone: oneshot::Receiver<Infallible>,
    held_back: Option<Share>,
    place: Share,
}

impl Uploads {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Budget::new(MAX_AT_ONCE, WAIT)), held_back: Arc::new(Budget::new(MAX_HELD_BACK, WAIT)) }
    }
}

impl Api {
    /// Receives a record.
    pub(super) async fn receive(&self, request: Request<Streaming<UploadRecordRequest>>) -> Result<Record, Status> {
        let caller = self.callers.identify(&request)?;
        // Who can own no record takes no place.
        let Identity::Tenant(_) = caller.identity else { return Err(Denied::NotAllowed.into()) };
        let place = self.uploads.places.take(&caller.identity, 1).await.ok_or(Denied::TooManyUploads)?;
        // Dropped with this future: with the call.
        let (_here, gone) = oneshot::channel();
        let arrives = self.arrive(&caller, (place, gone), Messages::new(request.into_inner()));
        let (arriving, last) = timeout(LONGEST, arrives).await.map_err(|_| Denied::Stalled)??;
        // Outside of the time: what has arrived is taken in or refused, and the caller is told which.
        let finished = self.run_until_answered(move |vault, answer| match arriving.take(vault, last) {
            Ok(Ok(Arriving { intake, attributes, held_back, place, .. })) => {
                vault.finish_upload(intake, &attributes, move |outcome| {
                    drop((held_back, place));
                    answer.send(outcome.map(Ok));
                });
            }
            Ok(Err(denied)) => answer.send(Ok(Err(denied))),
            Err(error) => answer.send(Err(error)),
        });
        Ok(finished.await??)
    }

    /// Takes in what comes, up to the last of it.
    async fn arrive(
        &self,
        caller: &Caller,
        (place, gone): (Share, oneshot::Receiver<Infallible>),
        mut messages: Messages,
    ) -> Result<(Arriving, Vec<Step>), Status> {
        let header = messages.header().await?;
        caller.must_be_tenant_of(&header.parent, "header.parent", &[])?;
        let header = convert::upload_header(header)?;
        let intake = self.run(move |vault| vault.begin_upload(header)).await?;
        let (attributes, budget) = (Attributes::default(), Arc::clone(&self.uploads.held_back));
        let caller = caller.identity.clone();
        let mut arriving = Arriving { caller, intake, attributes, budget, gone, held_back: None, place };
        loop {
            let Batch { steps, end } = messages.next().await?;
            if matches!(end, End::Whole) {
                return Ok((arriving, steps));
            }
            arriving = self.run(move |vault| arriving.take(vault, steps)).await??;
            if let End::Denied(denied) = end {
                return Err(denied.into());
            }
        }
    }
}

/// What is waited for, unless whoever wants it is gone.
async fn unless_gone<T>(gone: &mut oneshot::Receiver<Infallible>, wanted: impl Future<Output = Option<T>>) -> Option<T> {
    match future::select(pin!(wanted), gone).await {
        Either::Left((had, _)) => had,
        Either::Right(_) => None,
    }
}

impl Arriving {
    /// Takes in what has come. Denied when there is no room for what it holds back.
    fn take(mut self, vault: &Vault, steps: Vec<Step>) -> Result<Result<Self, Denied>, Error> {
        for step in steps {
            match step {
                Step::Part(header) => {
                    vault.end_part(&mut self.intake)?;
                    self.held_back = None;
                    let bytes = self.intake.held_back(&header);
                    if bytes > 0 {
                        let share = unless_gone(&mut self.gone, self.budget.take(&self.caller, bytes));
                        let share = Handle::current().block_on(share);
                        let Some(share) = share else { return Ok(Err(Denied::TooManyUploads)) };
                        self.held_back = Some(share);
                    }
                    vault.begin_part(&mut self.intake, header)?;
                }
                Step::Bytes(bytes) => vault.add_bytes(&mut self.intake, bytes.expose())?,
                Step::Attributes(attributes) => self.attributes = attributes,
            }
        }
        Ok(Ok(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_gone_waits_for_nothing() {
        let (here, mut gone) = oneshot::channel();
        assert_eq!(unless_gone(&mut gone, future::ready(Some(1))).await, Some(1));
        let waiting = tokio::spawn(async move { unless_gone(&mut gone, future::pending::<Option<u8>>()).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(here);
        assert_eq!(waiting.await.unwrap(), None);
    }
}
