//! The async threads are never held up: a task among them that wants to run each millisecond does, whatever the vault is at.

use std::time::Duration;

use chrono::TimeDelta;
use idvault::proto::CreateRecordRequest;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::cancel::{png, strip};
use crate::client::Client;
use crate::server::{Server, eventually, together};
use crate::stream::{Epoch, whole};
use crate::world::{messages, snapshot_of};

/// How late the task may be, the time not counted for which its thread could have run and other processes had its core.
const LATEST: Duration = Duration::from_millis(50);
const PERIOD: Duration = Duration::from_millis(1);
const MIB: usize = 1 << 20;

/// For how long this thread has waited for a core so far.
fn waited_for_core() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').nth(1).unwrap().parse().unwrap())
}

/// How late a task on this runtime was at the latest while it was watched.
struct Watchdog {
    over: watch::Sender<bool>,
    latest: JoinHandle<Duration>,
}

impl Watchdog {
    fn start(runtime: &Runtime) -> Self {
        let (over, is_over) = watch::channel(false);
        let latest = runtime.spawn(async move {
            let mut ticks = interval(PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let (mut latest, mut waited) = (Duration::ZERO, waited_for_core());
            while !*is_over.borrow() {
                let late = ticks.tick().await.elapsed();
                let for_core = waited_for_core();
                latest = latest.max(late.saturating_sub(for_core.saturating_sub(waited)));
                waited = for_core;
            }
            latest
        });
        Self { over, latest }
    }

    async fn end(self) -> Duration {
        self.over.send_replace(true);
        self.latest.await.unwrap()
    }
}

/// Everything that a vault does, at once and one after the other.
async fn everything(server: &mut Server, client: &Client) {
    let (acme, now) = (server.acme.clone(), server.clock.now());
    let (large, small) = (png(10 * MIB), png(200_000));
    let uploads = (0..30).map(|mark| {
        let (client, acme) = (client.clone(), acme.clone());
        let parts = vec![if mark < 3 { large.clone() } else { small.clone() }];
        async move {
            let upload = CreateRecordRequest { parts, ..acme.upload_face(mark, 20, now) };
            acme.stream(&client, messages(upload, MIB)).await.unwrap()
        }
    });
    let records = together(uploads.collect::<Vec<_>>()).await;
    let spec = acme.spec(now);
    for _ in 0..3 {
        let list = snapshot_of(client, spec.clone()).await;
        assert_eq!(Epoch::read(client, whole(&list)).await.unwrap().faces().len(), records.len());
    }
    let list = snapshot_of(client, spec).await;
    let mut epoch = Epoch::open(client, whole(&list)).await.unwrap();
    assert!(epoch.read_one().await.unwrap());
    for (number, record) in records.iter().take(10).enumerate() {
        if number % 2 == 0 {
            acme.withdraw(client, record, &[]).await.unwrap();
        } else {
            acme.shred(client, record).await.unwrap();
        }
    }
    epoch.read_all().await.unwrap();
    server.clock.advance(TimeDelta::days(31));
    eventually(async || {
        acme.status(client).await;
        server.volumes().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_holds_up_the_async_threads() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut server = runtime.spawn(Server::start()).await.unwrap();
    strip(&server).await;
    let client = server.connect().await;
    let idle = Watchdog::start(&runtime);
    for _ in 0..200 {
        server.acme.status(&client).await;
    }
    let idle = idle.end().await;
    let busy = Watchdog::start(&runtime);
    everything(&mut server, &client).await;
    let busy = busy.end().await;
    println!("late by {busy:?} at the most, {idle:?} when there was little to do");
    assert!(busy < LATEST, "something held the async threads up for {busy:?}, against {idle:?} when there was little to do");
    server.stop().await;
    runtime.shutdown_background();
}
