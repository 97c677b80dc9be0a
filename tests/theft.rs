//! A theft of keyring and root cell at one moment: what the thief opens of what is uploaded later.
//!
//! Each hourly commit gives a fresh seed to every hour ahead that no record uses yet. So a thief opens nothing that is uploaded two
//! hours later into an hour that was unused at the theft. With 30 days of retention that is everything; with a shorter one an hour may
//! be in use already, by records that were uploaded earlier and live longer: what joins them there is exposed.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod scene;

use chrono::TimeDelta;
use idvault::domain::record::Record;
use idvault::domain::retention::Retention;
use idvault::forensic::{Archive, Attack};
use idvault::vault::tenants::TenantUpdate;

use scene::{Scene, tenant, vault_id};

/// A vault that is stolen from.
struct Robbed {
    scene: Scene,
    archive: Archive,
    stolen: Vec<u8>,
}

impl Robbed {
    /// What is there is stolen now.
    fn steal(scene: Scene) -> Self {
        let mut archive = Archive::default();
        archive.take(&scene.data()).unwrap();
        let stolen = std::fs::read(scene.data().join("root.cell")).unwrap();
        Self { scene, archive, stolen }
    }

    /// Hours pass, each with what its keeper does.
    fn pass(&self, hours: u32) {
        for _ in 0..hours {
            self.scene.clock.pass(TimeDelta::hours(1));
            self.scene.vault().tick().unwrap();
        }
    }

    /// Whether the thief, who also gets every file there is now, opens each of these.
    fn opens(&mut self, records: &[&Record]) -> Vec<bool> {
        self.archive.take(&self.scene.data()).unwrap();
        let attack = Attack::mount(&self.archive, &self.stolen, &vault_id()).unwrap();
        for record in records {
            assert!(attack.records().any(|known| known.id == record.id), "the thief never saw the row of a record");
        }
        records.iter().map(|record| !attack.open(record.id).is_empty()).collect()
    }
}

fn retain(scene: &Scene, days: u8) {
    let retention = Retention::from_days(days);
    assert!(retention.is_some());
    scene.vault().update_tenant(&tenant(), TenantUpdate { retention, ..TenantUpdate::default() }).unwrap();
}

#[test]
fn a_thief_opens_nothing_uploaded_two_hours_later_into_an_unused_hour() {
    for days in [30, 1] {
        let scene = Scene::new();
        retain(&scene, days);
        let before = scene.record();
        let mut robbed = Robbed::steal(scene);
        robbed.pass(2);
        let later = robbed.scene.record();
        assert_ne!(later.place.hour, before.place.hour);
        assert_eq!(robbed.opens(&[&before, &later]), [true, false], "{days} days");
    }
}

#[test]
fn a_thief_opens_what_joins_records_of_before_in_their_hour() {
    let scene = Scene::new();
    let mut robbed = {
        let early = scene.record();
        // 29 days later an upload that is kept for one day joins the early one in its hour.
        for _ in 0..29 * 24 - 2 {
            scene.clock.pass(TimeDelta::hours(1));
            scene.vault().tick().unwrap();
        }
        retain(&scene, 1);
        let robbed = Robbed::steal(scene);
        robbed.pass(2);
        let joins = robbed.scene.record();
        assert_eq!(joins.place.hour, early.place.hour);
        robbed.pass(1);
        let alone = robbed.scene.record();
        let mut robbed = robbed;
        assert_eq!(robbed.opens(&[&early, &joins, &alone]), [true, true, false]);
        robbed
    };
    // With 30 days no upload joins an hour that was in use two hours before.
    retain(&robbed.scene, 30);
    let late = robbed.scene.record();
    assert_eq!(robbed.opens(&[&late]), [false]);
}
