//! Gone means gone: whoever holds every file that ever was in the vault's directory, and the root cell as it is now, opens
//! everything that is alive and nothing that was shredded, withdrawn or has expired.
//!
//! Each test has its positive controls: the same attack opens live records, and with an older content of the root cell it
//! opens the shredded one. A vault whose root cell fails to forget is caught by the same test.
//! `IDVAULT_STORY_SEED` begins a story that was seen to fail again.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure fails the test; the story that failed is begun again by the environment"
)]

#[path = "crash/random.rs"]
mod random;
#[path = "forensic/sabotage.rs"]
mod sabotage;
#[expect(dead_code, reason = "other tests use the rest")]
mod scene;
mod story;

use std::collections::BTreeMap;
use std::env::var;
use std::fs::{File, read_to_string};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use chrono::TimeDelta;
use idvault::domain::purpose::PurposeSet;
use idvault::domain::record::Record;
use idvault::forensic::secrets::Secrets;
use idvault::forensic::{Archive, Attack};
use idvault::keys::root::{Custody, Evidence, Handle, Root};
use idvault::vault::{Blueprint, Vault};
use parking_lot::Mutex;

use scene::{FACE, Scene, tenant, vault_id};
use story::Story;

/// How many things happen in the story.
const STORY: usize = 40;

#[test]
fn a_shredded_record_is_out_of_reach() {
    let watched = Watched::new(honest);
    let (alive, gone) = (watched.record(), watched.record());
    watched.vault().shred_record(&tenant(), gone.id).unwrap();
    watched.judge(&[&alive], &[&gone]);
}

#[test]
fn a_withdrawn_record_is_out_of_reach() {
    let watched = Watched::new(honest);
    let (alive, gone) = (watched.record(), watched.record());
    watched.vault().withdraw_consent(&tenant(), gone.consent, PurposeSet::default()).unwrap();
    watched.judge(&[&alive], &[&gone]);
}

#[test]
fn an_expired_record_is_out_of_reach() {
    let watched = Watched::new(honest);
    let (first, second) = (watched.record(), watched.record());
    watched.scene.clock.pass(TimeDelta::days(30));
    watched.vault().tick().unwrap();
    watched.judge(&[&watched.record()], &[&first, &second]);
}

#[test]
fn many_shreds_of_one_hour_leave_the_rest() {
    let watched = Watched::new(honest);
    let records: Vec<_> = (0..12).map(|_| watched.record()).collect();
    let (gone, alive): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.place.serial.number() % 3 == 0);
    for record in &gone {
        watched.vault().shred_record(&tenant(), record.id).unwrap();
    }
    watched.judge(&alive, &gone);
}

#[test]
fn a_root_that_is_not_replaced_is_caught() {
    let watched = Watched::new(|cell| Box::new(Forgetless(cell)));
    let (alive, gone) = (watched.record(), watched.record());
    watched.vault().shred_record(&tenant(), gone.id).unwrap();
    let attack = mount(&watched.archive.lock(), &watched.root_cell());
    assert!(is_open(&attack, &alive));
    assert!(is_open(&attack, &gone), "the attack must notice that the old root is still in the cell");
}

#[test]
fn whatever_happens_nothing_shredded_opens_and_no_dropped_secret_is_left() {
    let _alone = LOOK.lock();
    let archive = Arc::new(Mutex::new(Archive::default()));
    let watching = Arc::clone(&archive);
    let seed = var("IDVAULT_STORY_SEED").map_or_else(|_| uuid::Uuid::new_v4().as_u64_pair().0, |seed| seed.parse().unwrap());
    println!("IDVAULT_STORY_SEED={seed}");
    let mut story = Story::begin(seed, Arc::new(move |data| watching.lock().take(data).unwrap()));
    for _ in 0..STORY {
        story.go_on();
        archive.lock().take(&story.data()).unwrap();
    }
    // Whoever derives other leaves has the stack as it is in service.
    story.check_release();
    let memory = memory();
    let archive = archive.lock();
    let cell = std::fs::read(story.data().join("root.cell")).unwrap();
    let attack = mount(&archive, &cell);
    for record in story.alive() {
        assert!(is_open(&attack, record), "what is alive does not open: {:?}", attack.tried());
    }
    for record in story.gone() {
        assert!(attack.open(record.id).is_empty(), "what is gone opens: {:?}", attack.tried());
    }

    let places: Vec<_> = story.gone().iter().map(|record| record.place).collect();
    // With ways: an hour that lost its records to a restored backup has a new seed, under which their serials were never drawn.
    let alive = Secrets::opened_by(&archive, &cell, &vault_id(), &places);
    let mut known = Secrets::default();
    for cell in archive.root_cells() {
        known.extend(Secrets::opened_by(&archive, cell, &vault_id(), &places));
    }
    let dropped = known.without(&alive);
    assert!(dropped.count() > 1_000 && alive.count() > 500, "{} dropped, {} alive", dropped.count(), alive.count());
    assert!(dropped.found_in_files(&archive).is_empty() && alive.found_in_files(&archive).is_empty(), "a secret is in a file");
    assert!(alive.found_in(&memory).values().sum::<usize>() > 500, "the search does not even find what is alive");
    assert_eq!(dropped.found_in(&memory), BTreeMap::new(), "of {} dropped secrets:\n{}", dropped.count(), story.trace());
    // What the search would find.
    let mut planted = Secrets::default();
    planted.add("planted", &[0xa5; 32]);
    assert_eq!(planted.found_in(&[&[0; 33][..], &[0xa5; 32], &[1; 9]].concat()), [("planted", 1)].into());
}

/// Held by whoever looks into memory, as long as its vault lives: the look of another is a copy of what will be dropped.
static LOOK: Mutex<()> = Mutex::new(());

/// All that this process can write to, but for what its files are mapped to.
fn memory() -> Vec<u8> {
    let (maps, memory) = (read_to_string("/proc/self/maps").unwrap(), File::open("/proc/self/mem").unwrap());
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw-p ") && !line.contains('/')) {
        let (begin, rest) = line.split_once('-').unwrap();
        let [begin, end] = [begin, rest.split(' ').next().unwrap()].map(|place| u64::from_str_radix(place, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end.checked_sub(begin).unwrap()).unwrap()];
        if memory.read_exact_at(&mut bytes, begin).is_ok() {
            all.append(&mut bytes);
        }
    }
    all
}

/// A cell that keeps the old root beside the new one.
struct Forgetless(Box<dyn Custody>);

impl Custody for Forgetless {
    fn make(&mut self, generation: u64) -> io::Result<Root> {
        self.0.make(generation)
    }

    fn open(&self, handle: &Handle) -> io::Result<Option<Root>> {
        self.0.open(handle)
    }

    fn put(&mut self, root: &Root) -> io::Result<()> {
        self.0.put(root)
    }

    fn settle(&mut self, _kept: &Handle) -> io::Result<Evidence> {
        Ok(self.0.describe())
    }

    fn generations(&self) -> io::Result<Vec<u64>> {
        self.0.generations()
    }

    fn clear(&mut self) -> io::Result<Evidence> {
        Ok(self.0.describe())
    }

    fn describe(&self) -> Evidence {
        self.0.describe()
    }
}

fn honest(custody: Box<dyn Custody>) -> Box<dyn Custody> {
    custody
}

/// A vault whose every step of every shred is archived.
struct Watched {
    scene: Scene,
    archive: Arc<Mutex<Archive>>,
}

impl Watched {
    fn new(custody: impl FnOnce(Box<dyn Custody>) -> Box<dyn Custody> + Send + 'static) -> Self {
        let archive = Arc::default();
        let scene = Scene::with(|blueprint| watch(blueprint, &archive, custody));
        Self { scene, archive }
    }

    fn vault(&self) -> &Vault {
        self.scene.vault()
    }

    fn record(&self) -> Record {
        let record = self.scene.record();
        self.archive.lock().take(&self.scene.data()).unwrap();
        record
    }

    fn root_cell(&self) -> Vec<u8> {
        std::fs::read(self.scene.data().join(Path::new("root.cell"))).unwrap()
    }

    /// Plays the attacker against the vault as it is now, with both controls.
    fn judge(&self, alive: &[&Record], gone: &[&Record]) {
        let mut archive = self.archive.lock();
        archive.take(&self.scene.data()).unwrap();
        let attack = mount(&archive, &self.root_cell());
        for record in alive {
            assert!(is_open(&attack, record), "the attack does not even open what is alive: {:?}", attack.tried());
        }
        for record in gone {
            assert!(attack.records().any(|known| known.id == record.id), "the attacker never saw the row of what is gone");
            assert!(attack.open(record.id).is_empty(), "a record that is gone opens: {:?}", attack.tried());
        }
        let older: Vec<_> = archive.root_cells().iter().rev().skip(1).map(|cell| mount(&archive, cell)).collect();
        for record in gone {
            assert!(older.iter().any(|attack| is_open(attack, record)), "no old root opens what is gone: not the root protects");
        }
    }
}

/// A vault with this custody, of which the archive takes an image at each step.
fn watch(
    mut blueprint: Blueprint,
    archive: &Arc<Mutex<Archive>>,
    custody: impl FnOnce(Box<dyn Custody>) -> Box<dyn Custody> + Send + 'static,
) -> Blueprint {
    let (watching, data) = (Arc::clone(archive), blueprint.data_dir.clone());
    blueprint.custody = Box::new(custody);
    blueprint.observer = Box::new(move |_| watching.lock().take(&data).unwrap());
    blueprint
}

fn mount(archive: &Archive, root_cell: &[u8]) -> Attack {
    Attack::mount(archive, root_cell, &vault_id()).unwrap()
}

fn is_open(attack: &Attack, record: &Record) -> bool {
    let parts = attack.open(record.id);
    parts.len() == record.parts.len() && parts.get(&0).is_some_and(|face| face.expose() == FACE)
}
