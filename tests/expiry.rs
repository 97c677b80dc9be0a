//! An expiry of more records than go in one transaction: one certificate, with every record in it.

#[expect(dead_code, reason = "other tests use the rest")]
mod scene;

use chrono::TimeDelta;
use idvault::domain::trigger::Trigger;
use idvault::vault::error::Error;
use idvault::vault::pages::Page;

use scene::{Scene, tenant};

/// More than the rows of one transaction.
const RECORDS: u64 = 2_100;
const UPLOADERS: u64 = 8;

#[test]
fn many_records_of_an_hour_go_under_one_certificate() {
    let scene = Scene::new();
    let each = RECORDS.div_ceil(UPLOADERS);
    let records: Vec<_> = std::thread::scope(|scope| {
        let uploaders: Vec<_> =
            (0..UPLOADERS).map(|_| scope.spawn(|| (0..each).map(|_| scene.record()).collect::<Vec<_>>())).collect();
        uploaders.into_iter().flat_map(|uploader| uploader.join().unwrap()).collect()
    });
    scene.clock.pass(TimeDelta::days(30));
    scene.vault().tick().unwrap();
    let certificates = scene.vault().certificates(&tenant(), &Page { size: 10, token: String::new() }).unwrap().items;
    let said: Vec<_> = certificates.iter().map(|certificate| (certificate.trigger, certificate.records)).collect();
    assert_eq!(said, [(Trigger::RetentionExpired, u64::try_from(records.len()).unwrap())]);
    let id = certificates.first().unwrap().id;
    for record in records.iter().step_by(300) {
        assert!(matches!(scene.vault().record(&tenant(), record.id), Err(Error::RecordGone)));
        scene.vault().prove_membership(&tenant(), id, record.id).unwrap();
    }
}
