//! A story: what may happen to a vault, chosen by a seed, beside a plain list of what must be there after each thing that happened.
//!
//! Uploads, shreds, withdrawals, erasures, hours and days, walls set wrong, restarts, reboots, crashes at any step of a commit, backups
//! and what happens when one is put back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use idvault::domain::purpose::PurposeSet;
use idvault::domain::record::Record;
use idvault::keys::Setting;
use idvault::keys::keyring::Step;
use idvault::vault::error::Error;
use idvault::vault::restore::{back_up, complete, restore};
use idvault::vault::{Blueprint, Vault};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::random::Random;
use crate::scene::{Fetched, Hand, Scene, new_tenant, tenant, vault_id};

const STEPS: [Step; 5] = [Step::Marked, Step::Written, Step::Durable, Step::Settled, Step::Finished];
const PEOPLE: u64 = 4;

/// What happens at each step of a commit.
pub(crate) type Watch = Arc<dyn Fn(&Path) + Send + Sync>;

/// An image of the directory, to be taken at a step.
type Cut = Arc<Mutex<Option<(Step, PathBuf)>>>;

/// A vault and what must be in it.
pub(crate) struct Story {
    /// Every home that the vault has had: a crash moves it to the next.
    homes: Vec<TempDir>,
    scene: Option<Scene>,
    clock: Hand,
    cut: Cut,
    watch: Watch,
    random: Random,
    boots: u8,
    /// Records by the story's own numbers, with the person of each.
    alive: BTreeMap<usize, (u64, Record)>,
    gone: Vec<Record>,
    backup: Option<(TempDir, Vec<usize>)>,
    count: usize,
    /// What has happened, to be shown when it went wrong.
    told: Vec<String>,
}

impl Story {
    /// A new vault.
    pub(crate) fn begin(seed: u64, watch: Watch) -> Self {
        let mut story = Self {
            homes: vec![tempfile::tempdir().unwrap()],
            scene: None,
            clock: Hand::new(),
            cut: Cut::default(),
            watch,
            random: Random(seed),
            boots: 1,
            alive: BTreeMap::new(),
            gone: Vec::new(),
            backup: None,
            count: 0,
            told: Vec::new(),
        };
        story.open();
        story.vault().create_tenant(&tenant(), new_tenant()).unwrap();
        story
    }

    pub(crate) fn vault(&self) -> &Vault {
        self.scene().vault()
    }

    pub(crate) fn scene(&self) -> &Scene {
        self.scene.as_ref().unwrap()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.homes.last().unwrap().path().join("data")
    }

    pub(crate) fn alive(&self) -> impl Iterator<Item = &Record> {
        self.alive.values().map(|(_, record)| record)
    }

    pub(crate) fn gone(&self) -> &[Record] {
        &self.gone
    }

    fn open(&mut self) {
        let (cut, watch, data) = (Arc::clone(&self.cut), Arc::clone(&self.watch), self.data());
        let observer = move |step: Step| {
            watch(&data);
            if cut.lock().as_ref().is_some_and(|(at, _)| *at == step) {
                let (_, to) = cut.lock().take().unwrap();
                copy(&data, &to.join("data"));
            }
        };
        let plan = move |blueprint| Blueprint { observer: Box::new(observer), ..blueprint };
        self.scene = Some(Scene::at(self.homes.last().unwrap().path(), self.clock.clone(), plan));
    }

    fn close(&mut self) {
        self.scene = None;
    }

    /// One thing happens, and all is as it must be after it.
    pub(crate) fn go_on(&mut self) {
        match self.random.below(20) {
            0..=6 => self.upload(),
            7..=11 => self.destroy(),
            12 => self.crash(),
            13 => self.erase(),
            14..=15 => self.pass(),
            16 => self.set_wall_wrong(),
            17 => self.restart(),
            18 => self.back_up(),
            _ => self.put_back(),
        }
        self.check();
    }

    fn tell(&mut self, what: String) {
        self.told.push(what);
    }

    fn upload(&mut self) {
        for _ in 0..=self.random.below(3) {
            let person = self.random.below(PEOPLE);
            // One in three lives for some hours only, the others for a month.
            let hours = if self.random.below(3) == 0 { 2 + self.random.below(30) } else { 24 * 365 };
            let until = self.clock.now() + TimeDelta::hours(i64::try_from(hours).unwrap());
            let scene = self.scene();
            let receipt = scene.receipt_until(&format!("person-{person}"), until);
            let record = scene.vault().create_record(scene.upload_under(receipt)).unwrap();
            self.tell(format!("upload {} of person {person} for {hours} hours", self.count));
            self.alive.insert(self.count, (person, record));
            self.count += 1;
        }
    }

    /// One that is alive.
    fn any(&mut self) -> Option<(usize, Record)> {
        let numbers: Vec<_> = self.alive.keys().copied().collect();
        if numbers.is_empty() {
            return None;
        }
        let number = numbers[self.random.index(numbers.len())];
        Some((number, self.alive[&number].1.clone()))
    }

    fn destroy(&mut self) {
        let Some((number, record)) = self.any() else { return };
        if self.random.below(2) == 0 {
            self.tell(format!("shred {number}"));
            self.vault().shred_record(&tenant(), record.id).unwrap();
        } else {
            self.tell(format!("withdraw {number}"));
            self.vault().withdraw_consent(&tenant(), record.consent, PurposeSet::default()).unwrap();
        }
        self.alive.remove(&number);
        self.gone.push(record);
    }

    fn erase(&mut self) {
        let person = self.random.below(PEOPLE);
        self.tell(format!("erase person {person}"));
        self.vault().erase_subject(&tenant(), &format!("person-{person}").parse().unwrap()).unwrap();
        let (gone, alive) = std::mem::take(&mut self.alive).into_iter().partition(|(_, (of, _))| *of == person);
        self.alive = alive;
        self.lose(gone);
        // What a person said before is refused from now on, at the same time too.
        self.clock.pass(TimeDelta::seconds(1));
    }

    fn lose(&mut self, gone: BTreeMap<usize, (u64, Record)>) {
        self.gone.extend(gone.into_values().map(|(_, record)| record));
    }

    /// The process dies in the middle of a destruction: what is on the disk at that moment is opened.
    fn crash(&mut self) {
        let step = STEPS[self.random.index(STEPS.len())];
        let next = tempfile::tempdir().unwrap();
        *self.cut.lock() = Some((step, next.path().to_owned()));
        self.tell(format!("crash at {step:?} of:"));
        self.destroy();
        if self.cut.lock().take().is_some() {
            return;
        }
        self.close();
        self.homes.push(next);
        self.open();
    }

    fn pass(&mut self) {
        let hours = if self.random.below(4) == 0 { 24 * (1 + self.random.below(6)) } else { 1 + self.random.below(9) };
        self.tell(format!("{hours} hours"));
        self.clock.pass(TimeDelta::hours(i64::try_from(hours).unwrap()));
        self.expire();
    }

    /// What is due goes.
    fn expire(&mut self) {
        self.vault().tick().unwrap();
        let now: DateTime<Utc> = self.vault().clock().times().hi;
        let (gone, alive) = std::mem::take(&mut self.alive).into_iter().partition(|(_, (_, record))| record.expire_time <= now);
        self.alive = alive;
        self.lose(gone);
    }

    fn set_wall_wrong(&mut self) {
        let minutes = if self.random.below(2) == 0 { 10 } else { -600 };
        self.tell(format!("the wall is {minutes} minutes wrong, and is put right"));
        self.clock.set_wall(TimeDelta::minutes(minutes));
        self.expire();
        self.check();
        self.clock.set_wall(TimeDelta::minutes(-minutes));
    }

    fn restart(&mut self) {
        self.close();
        if self.random.below(2) == 0 {
            self.boots += 1;
            let off = TimeDelta::minutes(i64::try_from(self.random.below(600)).unwrap());
            self.tell(format!("reboot after {off}"));
            self.clock.reboot(self.boots, off);
        } else {
            self.tell("restart".to_owned());
        }
        self.open();
        self.expire();
    }

    fn back_up(&mut self) {
        let backup = tempfile::tempdir().unwrap();
        let to = backup.path().join("backup");
        back_up(&vault_id(), &self.data(), &to, self.clock.now(), &mut |_| ()).unwrap();
        self.tell("back up".to_owned());
        self.backup = Some((backup, self.alive.keys().copied().collect()));
    }

    /// The last backup is put back: what came after it is lost, and nothing comes back that went after it.
    fn put_back(&mut self) {
        let Some((backup, held)) = self.backup.take() else { return };
        self.tell("put the backup back".to_owned());
        self.close();
        let data = self.data();
        restore(&vault_id(), &data, &Setting::in_directory(&data), &backup.path().join("backup"), &mut |_| ()).unwrap();
        self.open();
        assert!(matches!(self.scene().try_job(), Err(Error::Restored)) || self.vault().is_restored(), "{}", self.trace());
        let (alive, gone) = std::mem::take(&mut self.alive).into_iter().partition(|(number, _)| held.contains(number));
        self.alive = alive;
        self.lose(gone);
        complete(&data).unwrap();
        self.expire();
    }

    /// Fails unless all is there that must be, and nothing else.
    pub(crate) fn check(&self) {
        for (number, (_, record)) in &self.alive {
            assert!(self.vault().record(&tenant(), record.id).is_ok(), "{number} is lost\n{}", self.trace());
        }
        for record in &self.gone {
            let looked = self.vault().record(&tenant(), record.id);
            assert!(matches!(looked, Err(Error::RecordGone)), "{} is there\n{}", record.id, self.trace());
        }
        let status = self.vault().retention_status(None).unwrap();
        let live: u64 = status.hours.iter().map(|(_, count)| count.records).sum();
        assert_eq!((live, status.backlog), (u64::try_from(self.alive.len()).unwrap(), 0), "{}", self.trace());
    }

    /// Fails unless everything that is alive is released whole, and nothing else.
    pub(crate) fn check_release(&self) {
        let wanted = Fetched { served: self.alive.len(), ..Fetched::default() };
        match self.scene().try_job() {
            Ok(job) => assert_eq!(self.scene().fetch(job).unwrap(), wanted, "{}", self.trace()),
            Err(error) => panic!("{error}\n{}", self.trace()),
        }
    }

    /// What has happened.
    pub(crate) fn trace(&self) -> String {
        self.told.join("\n")
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            // The index removes files that it no longer needs whenever it likes.
            std::fs::copy(entry.path(), target).map(drop).unwrap_or_default();
        }
    }
}
