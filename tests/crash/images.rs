//! An image of the data directory at every numbered step of a commit, as `kill -9` would leave it there; each is then
//! opened as a vault of its own, and imaged again while it recovers.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use idvault::keys::keyring::Step;
use idvault::keys::root::file::roots_in;
use idvault::proto::{Record, TrainingJob};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::expected::{Expected, job, upload};
use crate::server::{Clock, Server, copy, eventually};
use crate::world::time;

/// Takes an image of a directory at each step, while it is on.
#[derive(Clone, Default)]
struct Camera(Arc<Mutex<Vec<Image>>>);

/// A directory as it was at a step.
struct Image {
    step: Step,
    home: Arc<TempDir>,
}

impl Camera {
    /// Takes an image of `data` now.
    fn take(&self, step: Step, data: &Path) {
        let home = Arc::new(tempfile::tempdir().unwrap());
        copy(data, &home.path().join("data"));
        self.0.lock().push(Image { step, home });
    }

    /// The images taken so far.
    fn images(&self) -> Vec<Image> {
        std::mem::take(&mut self.0.lock())
    }
}

/// The clock of an image: at the time of the server that it was taken of.
fn clock_in(home: &TempDir, of: &Server) -> Clock {
    let mut clock = Clock::new(home.path().join("clock"));
    clock.set(of.clock.now());
    clock
}

/// Starts a vault on what is in `home` with a camera on it.
async fn filmed(home: Arc<TempDir>, clock: Clock) -> (Server, Camera) {
    let (camera, data) = (Camera::default(), home.path().join("data"));
    let films = camera.clone();
    let watch = move |step| films.take(step, &data);
    let server = Server::run_as(home, clock, |blueprint| blueprint.observer = Box::new(watch)).await.unwrap();
    (server, camera)
}

/// A vault with a camera, and what it holds: the record that tells 0 is to be destroyed, 1 and 2 share its hour, 3 expires a
/// day later.
struct Scene {
    server: Server,
    camera: Camera,
    expected: Expected,
    job: TrainingJob,
}

impl Scene {
    async fn set() -> Self {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let clock = Clock::new(home.path().join("clock"));
        let (server, camera) = filmed(home, clock).await;
        server.acme.create(&server.client).await;
        let job = job(&server.client, &server.acme, &server.clock).await;
        let mut expected = Expected::default();
        let soon = server.clock.now().timestamp() / 3600 * 3600 + 48 * 3600;
        for mark in 0..4 {
            let end = if mark == 3 { soon + 24 * 3600 } else { soon };
            let request = upload(&server.acme, mark, 5_000, &server.clock, Some(end));
            let record = server.acme.send(&server.client, request.clone()).await.unwrap();
            expected.alive.insert(mark, (request, record));
        }
        camera.images();
        Self { server, camera, expected, job }
    }

    fn record(&self, mark: u64) -> Record {
        self.expected.alive[&mark].1.clone()
    }

    /// Opens the images of these steps, each with the right outcome.
    async fn play(self, steps: &[Step]) {
        let Self { server, camera, expected, job } = self;
        expected.check(&server.client, &server.acme, &job).await;
        let images = camera.images();
        let taken: Vec<_> = images.iter().map(|image| image.step).collect();
        assert!(taken.starts_with(steps), "{taken:?}");
        for Image { step, home } in images {
            let clock = clock_in(&home, &server);
            println!("an image at {step:?}");
            let (again, camera) = filmed(home, clock).await;
            expected.check(&again.client, &again.acme, &job).await;
            assert_eq!(again.volumes().len(), server.volumes().len());
            assert_eq!(roots_in(&fs::read(again.data().join("root.cell")).unwrap()).len(), 1, "an old root is left");
            for Image { step: within, home } in camera.images() {
                let clock = clock_in(&home, &server);
                println!("an image at {within:?} of the recovery from {step:?}");
                let again = Server::run(home, clock).await;
                expected.check(&again.client, &again.acme, &job).await;
                again.stop().await;
            }
            again.stop().await;
        }
        server.stop().await;
    }
}

const OF_A_CALL: [Step; 5] = [Step::Marked, Step::Written, Step::Durable, Step::Settled, Step::Finished];

#[tokio::test]
async fn a_shred_is_finished_from_wherever_it_stood() {
    let mut scene = Scene::set().await;
    let record = scene.record(0);
    assert_eq!(scene.server.acme.shred(&scene.server.client, &record).await.unwrap().record_count, 1);
    scene.expected.alive.remove(&0);
    scene.expected.gone.insert(0, record);
    scene.play(&OF_A_CALL).await;
}

#[tokio::test]
async fn a_withdrawal_is_finished_from_wherever_it_stood() {
    let mut scene = Scene::set().await;
    let record = scene.record(0);
    let answer = scene.server.acme.withdraw(&scene.server.client, &record, &[]).await.unwrap();
    assert_eq!(answer.destruction.unwrap().record_count, 1);
    scene.expected.alive.remove(&0);
    scene.expected.gone.insert(0, record);
    scene.play(&OF_A_CALL).await;
}

#[tokio::test]
async fn an_expiry_is_finished_from_wherever_it_stood() {
    let mut scene = Scene::set().await;
    let due = time(scene.record(0).expire_time);
    scene.server.clock.set(due);
    // Whoever ticks first does it; the other does not wait.
    eventually(async || scene.camera.0.lock().iter().any(|image| image.step == Step::Finished)).await;
    scene.expected.expire(&scene.server.clock);
    assert_eq!((scene.expected.alive.len(), scene.expected.gone.len()), (1, 3));
    scene.play(&OF_A_CALL[1..]).await;
}
