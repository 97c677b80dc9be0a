//! Power failures: a vault's history cut at every sync, and what may be left of its directory then opened as a vault of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::client::Client;
use crate::medium::{Left, Medium};
use crate::parallel::{TURN, folder, in_parallel};
use crate::process::Process;
use crate::server::{Clock, Server};
use crate::story::Story;
use crate::trace::{STRACE, calls, command, lines, may_trace};

/// A directory as it may be left.
#[derive(Debug, Clone, Copy)]
struct Image {
    /// Right before this change or sync.
    number: usize,
    left: Left,
}

fn traced(home: &Path, trace: &Path) -> Process {
    Process::run(command(&STRACE, trace), home)
}

/// How often a recording is tried: a kill amid a write leaves something that no trace tells.
const TRIES: usize = 3;

/// Records a vault from its first call to its last.
async fn record() -> (Story, Medium) {
    let mut differences = Vec::new();
    for _ in 0..TRIES {
        match try_record().await {
            (story, medium, None) => return (story, medium),
            (.., Some(difference)) => differences.push(difference),
        }
    }
    panic!("changes were overlooked, each time: {differences:?}");
}

/// The same, once; and the first file, if any, that the trace does not make as it is.
async fn try_record() -> (Story, Medium, Option<PathBuf>) {
    let home = folder();
    let (data, trace) = (home.path().join("data"), home.path().join("trace"));
    let mut story = Story::new(trace.clone(), Clock::new(home.path().join("clock")));
    let process = traced(home.path(), &trace);
    Box::pin(story.begin(&Client::connect(process.address).await.unwrap())).await;
    process.kill();
    let process = traced(home.path(), &trace);
    story.go_on(&Client::connect(process.address).await.unwrap(), &data).await;
    assert!(process.end().await.status.success());
    let trace = fs::read_to_string(trace).unwrap();
    let mut medium = Medium::new(&data);
    let lines = lines(&trace);
    calls(&lines).for_each(|call| medium.apply(&call));
    let image = Image { number: usize::MAX, left: Left::Everything };
    let again = home.path().join("again");
    medium.leave(image.number, image.left, &again);
    let difference = difference(&data, &again);
    (story, medium, difference)
}

/// The first thing that is not the same in both folders: a change was overlooked.
fn difference(one: &Path, other: &Path) -> Option<PathBuf> {
    let names = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    if names(one) != names(other) {
        return Some(one.to_owned());
    }
    names(one).into_iter().find_map(|name| {
        let (one, other) = (one.join(&name), other.join(&name));
        if one.is_dir() {
            return difference(&one, &other);
        }
        (fs::read(&one).unwrap() != fs::read(other).unwrap()).then_some(one)
    })
}

/// Opens an image, twice, and checks what it holds.
async fn open(image: Image, story: &Story, medium: &Medium) {
    let home = Arc::new(folder());
    let data = home.path().join("data");
    medium.leave(image.number, image.left, &data);
    let mut held = story.held(medium.moment(image.number));
    let clock = held.clock(home.path().join("clock"));
    let server = Server::run(home, clock).await;
    held.check(&server.client, &server.acme).await;
    let server = server.restart().await;
    held.check(&server.client, &server.acme).await;
    server.stop().await;
}

/// Opens all images and fails with those that do not hold what they must.
fn open_all(images: Vec<Image>, story: &Story, medium: &Medium) {
    let count = images.len();
    in_parallel(images, async |image| open(image, story, medium).await);
    println!("{count} images");
}

#[tokio::test]
async fn a_power_failure_costs_nothing_that_was_acknowledged() {
    if !may_trace() {
        return println!("skipped: strace is not there or may not trace");
    }
    let _turn = TURN.lock().await;
    let (story, medium) = Box::pin(record()).await;
    let boundaries: Vec<_> = medium.boundaries().collect();
    let images = (0_u64..).zip(&boundaries).map(|(turn, number)| {
        // As a kill leaves it, or a machine that goes down.
        let left = match turn % 3 {
            0 => Left::Everything,
            1 => Left::Nothing,
            _ => Left::Some(turn),
        };
        Image { number: *number, left }
    });
    println!("{} syncs", boundaries.len() - 1);
    open_all(images.collect(), &story, &medium);
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn every_power_failure_costs_nothing_that_was_acknowledged() {
    let _turn = TURN.lock().await;
    let (story, medium) = Box::pin(record()).await;
    let kinds = [Left::Nothing, Left::Everything].into_iter().chain((0..6).map(Left::Some));
    let mut images = Vec::new();
    for (turn, number) in (0_u64..).zip(medium.boundaries()) {
        images.extend(kinds.clone().map(|left| {
            let left = if let Left::Some(seed) = left { Left::Some(1_000_000 + seed * 10_000 + turn) } else { left };
            Image { number, left }
        }));
    }
    open_all(images, &story, &medium);
}
