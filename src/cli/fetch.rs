//! `idvault fetch`: one rank's share of an epoch into a folder, resumed where it was cut.
//!
//! Each record becomes a folder named by its token, complete from the moment it has that name; a tombstone leaves none. The
//! file `fetch.json` says which epoch the folder holds and from where to go on.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use tonic::transport::Channel;

use super::client::{Client, Failure, Options, json_of};
use super::{hex, new_uuid, progress};
use crate::files;
use crate::proto::fetch_records_response::item::Content;
use crate::proto::fetch_records_response::{Item, Tombstone};
use crate::proto::training_service_client::TrainingServiceClient;
use crate::proto::{CreateSnapshotRequest, FetchRecordsRequest, GetSnapshotRequest};

/// The file that says how far a folder has come.
const STATE: &str = "fetch.json";

/// What to fetch, and where to
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// trainingJobs/JOB/snapshots/SNAPSHOT, or trainingJobs/JOB to make a snapshot first
    #[arg(value_name = "SNAPSHOT")]
    source: String,
    /// The folder; one that an earlier fetch left unfinished is completed
    folder: PathBuf,
    /// Seed of the order
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of the epoch
    #[arg(long, default_value_t = 0)]
    epoch: u32,
    /// This reader among all
    #[arg(long, default_value_t = 0)]
    rank: u32,
    /// How many readers share the epoch
    #[arg(long, default_value_t = 1)]
    world_size: u32,
    #[command(flatten)]
    client: Options,
}

/// Which epoch a folder holds, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    snapshot: String,
    seed: u64,
    epoch: u32,
    rank: u32,
    world_size: u32,
    next_position: u64,
    records: u64,
    gone: u64,
    damaged: u64,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let client = Client::connect(arguments.client).await?;
    let mut training = TrainingServiceClient::new(client.channel.clone()).max_decoding_message_size(4 << 20);
    let begun = Progress {
        snapshot: snapshot_of(arguments.source, &arguments.folder, &client, &mut training).await?,
        seed: arguments.seed,
        epoch: arguments.epoch,
        rank: arguments.rank,
        world_size: arguments.world_size,
        next_position: 0,
        records: 0,
        gone: 0,
        damaged: 0,
    };
    let mut folder = Folder::open(arguments.folder, begun)?;
    let snapshot = client.request(GetSnapshotRequest { name: folder.progress.snapshot.clone() });
    let count = training.get_snapshot(snapshot).await?.into_inner().snapshot.unwrap_or_default().position_count;
    let bar = progress::bar(count, "{pos}/{len} positions, {per_sec}");
    let Progress { snapshot, seed, epoch, rank, world_size, next_position, .. } = folder.progress.clone();
    let request = FetchRecordsRequest {
        snapshot,
        seed,
        epoch,
        rank,
        world_size,
        start_position: next_position,
        ..FetchRecordsRequest::default()
    };
    let mut messages = training.fetch_records(client.request(request)).await?.into_inner();
    loop {
        let message =
            messages.message().await.map_err(|status| Failure::from(status).with("the same command goes on where it stopped"))?;
        let Some(message) = message else { break };
        for item in message.items {
            folder.take(item)?;
        }
        folder.save(message.next_position)?;
        bar.set_position(message.next_position);
    }
    bar.finish_and_clear();
    let Progress { records, gone, damaged, .. } = &folder.progress;
    anstream::println!("{records} records in {}; {gone} gone, {damaged} damaged", folder.path.display());
    Ok(ExitCode::SUCCESS)
}

/// The snapshot to fetch: the one named, the one that the folder holds some of, or a new one of the job named.
async fn snapshot_of(
    source: String,
    folder: &Path,
    client: &Client,
    training: &mut TrainingServiceClient<Channel>,
) -> Result<String, Failure> {
    if source.contains("/snapshots/") {
        return Ok(source);
    }
    let begun = fs::read(folder.join(STATE)).ok().and_then(|text| serde_json::from_slice::<Progress>(&text).ok());
    if let Some(begun) = begun.filter(|begun| begun.snapshot.starts_with(&format!("{source}/"))) {
        return Ok(begun.snapshot);
    }
    let request = client.request(CreateSnapshotRequest { parent: source, request_id: new_uuid()? });
    Ok(training.create_snapshot(request).await?.into_inner().snapshot.unwrap_or_default().name)
}

/// The folder that records go into.
struct Folder {
    path: PathBuf,
    progress: Progress,
}

impl Folder {
    /// The folder as an earlier fetch of the same left it, or a new one.
    fn open(path: PathBuf, begun: Progress) -> Result<Self, Failure> {
        fs::create_dir_all(&path).map_err(|error| Failure::file(&path, &error))?;
        let state = path.join(STATE);
        let progress = match fs::read(&state) {
            Ok(text) => serde_json::from_slice::<Progress>(&text)
                .map_err(|error| Failure::usage(format!("{}: {error}", state.display())))?,
            Err(_) if is_empty(&path)? => begun.clone(),
            Err(_) => return Err(Failure::usage(format!("{} holds something else: name an empty folder", path.display()))),
        };
        let same = Progress {
            next_position: progress.next_position,
            records: progress.records,
            gone: progress.gone,
            damaged: progress.damaged,
            ..begun
        };
        if progress != same {
            return Err(Failure::usage(format!("{} holds another epoch: name another folder", path.display())));
        }
        let folder = Self { path, progress };
        folder.clear_partial()?;
        folder.save_progress()?;
        Ok(folder)
    }

    /// Takes an item: to the record under way, which is moved to its place when it is whole.
    fn take(&mut self, item: Item) -> Result<(), Failure> {
        let partial = self.partial();
        match item.content {
            Some(Content::Tombstone(kind)) => {
                let damaged = kind == i32::from(Tombstone::Damaged);
                let count = if damaged { &mut self.progress.damaged } else { &mut self.progress.gone };
                *count = count.saturating_add(1);
                return self.clear_partial();
            }
            Some(Content::Chunk(chunk)) => {
                let extension = chunk.media_type.rsplit('/').next().unwrap_or("bin");
                self.append(&partial.join(format!("{}.{extension}", chunk.part)), chunk.offset, &chunk.data)?;
            }
            Some(Content::Attributes(attributes)) => {
                let text = format!("{:#}\n", json_of(&attributes)?);
                self.append(&partial.join("attributes.json"), 0, text.as_bytes())?;
            }
            None => {}
        }
        if item.last {
            let whole = self.path.join(hex(&item.record_token));
            // A record sent again after a cut is the same one.
            if whole.exists() {
                fs::remove_dir_all(&whole).map_err(|error| Failure::file(&whole, &error))?;
            }
            fs::rename(&partial, &whole).map_err(|error| Failure::file(&whole, &error))?;
            self.progress.records = self.progress.records.saturating_add(1);
        }
        Ok(())
    }

    fn append(&self, path: &Path, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
        let failure = |error| Failure::file(path, &error);
        fs::create_dir_all(self.partial()).map_err(failure)?;
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(failure)?;
        if file.metadata().map_err(failure)?.len() != offset {
            return Err(Failure::refused(format!("{}: the stream has a gap", path.display())));
        }
        file.write_all(bytes).map_err(failure)
    }

    /// Where the record under way is.
    fn partial(&self) -> PathBuf {
        self.path.join("partial")
    }

    fn clear_partial(&self) -> Result<(), Failure> {
        let partial = self.partial();
        if partial.exists() { fs::remove_dir_all(&partial).map_err(|error| Failure::file(&partial, &error)) } else { Ok(()) }
    }

    /// Says that all smaller positions are here.
    fn save(&mut self, next_position: u64) -> Result<(), Failure> {
        if next_position > self.progress.next_position {
            self.progress.next_position = next_position;
            self.save_progress()?;
        }
        Ok(())
    }

    fn save_progress(&self) -> Result<(), Failure> {
        let state = self.path.join(STATE);
        let text = serde_json::to_vec_pretty(&self.progress).map_err(|error| Failure::refused(error.to_string()))?;
        files::replace(&state, &text).map_err(|error| Failure::file(&state, &error))
    }
}

fn is_empty(path: &Path) -> Result<bool, Failure> {
    let mut entries = fs::read_dir(path).map_err(|error| Failure::file(path, &error))?;
    Ok(entries.next().is_none())
}
