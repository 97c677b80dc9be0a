//! Gone means gone: whoever holds every file that ever was in the vault's directory, and the root cell as it is now, opens
//! everything that is alive and nothing that was shredded, withdrawn or has expired.
//!
//! Each test has its positive controls: the same attack opens live records, and with an older content of the root cell it
//! opens the shredded one. A vault whose root cell fails to forget is caught by the same test.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a failure fails the test")]

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use idvault::clock::{FileSource, Limits};
use idvault::crypto::receipt;
use idvault::crypto::seal::Plaintext;
use idvault::domain::attributes::{Attributes, Field};
use idvault::domain::category::Category;
use idvault::domain::ids::{ConsentId, RecordId, TenantId, VaultId};
use idvault::domain::media::MediaType;
use idvault::domain::purpose::PurposeSet;
use idvault::domain::record::Record;
use idvault::domain::retention::Retention;
use idvault::domain::tenant::MetadataPolicy;
use idvault::forensic::{Archive, Attack};
use idvault::keys::root::file::FileCell;
use idvault::keys::root::{Custody, Root};
use idvault::vault::ingest::{ConsentSource, Upload, UploadPart};
use idvault::vault::tenants::NewTenant;
use idvault::vault::{Blueprint, Vault};
use parking_lot::Mutex;
use serde_json::json;
use uuid::Uuid;

const FACE: &[u8] = include_bytes!("../src/cli/demo/specimens/0002/face.jpg");
const BEGIN: i64 = 1_772_355_600;

#[test]
fn a_shredded_record_is_out_of_reach() {
    let scene = Scene::new(honest);
    let (alive, gone) = (scene.upload("a"), scene.upload("b"));
    scene.vault.shred_record(&tenant(), gone.id).unwrap();
    scene.judge(&[&alive], &[&gone]);
}

#[test]
fn a_withdrawn_record_is_out_of_reach() {
    let scene = Scene::new(honest);
    let (alive, gone) = (scene.upload("a"), scene.upload("b"));
    scene.vault.withdraw_consent(&tenant(), gone.consent, PurposeSet::default()).unwrap();
    scene.judge(&[&alive], &[&gone]);
}

#[test]
fn an_expired_record_is_out_of_reach() {
    let scene = Scene::new(honest);
    let gone = [scene.upload("a"), scene.upload("b")];
    scene.pass(TimeDelta::days(30));
    scene.vault.tick().unwrap();
    let alive = scene.upload("c");
    scene.judge(&[&alive], &[&gone[0], &gone[1]]);
}

#[test]
fn many_shreds_of_one_hour_leave_the_rest() {
    let scene = Scene::new(honest);
    let records: Vec<_> = (0..12).map(|number| scene.upload(&number.to_string())).collect();
    let (gone, alive): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.place.serial.number() % 3 == 0);
    for record in &gone {
        scene.vault.shred_record(&tenant(), record.id).unwrap();
    }
    scene.judge(&alive, &gone);
}

#[test]
fn a_root_that_is_not_replaced_is_caught() {
    let scene = Scene::new(|cell| Box::new(Forgetless(cell)));
    let (alive, gone) = (scene.upload("a"), scene.upload("b"));
    scene.vault.shred_record(&tenant(), gone.id).unwrap();
    let attack = mount(&scene.archive.lock(), &scene.root_cell());
    assert!(is_open(&attack, &alive));
    assert!(is_open(&attack, &gone), "the attack must notice that the old root is still in the cell");
}

/// A cell that keeps the old root beside the new one.
struct Forgetless(FileCell);

impl Custody for Forgetless {
    fn roots(&self) -> io::Result<Vec<Root>> {
        self.0.roots()
    }

    fn put(&mut self, root: &Root) -> io::Result<()> {
        self.0.put(root)
    }

    fn settle(&mut self, _generation: u64) -> io::Result<()> {
        Ok(())
    }
}

fn honest(cell: FileCell) -> Box<dyn Custody> {
    Box::new(cell)
}

/// A vault whose every step of every shred is archived.
struct Scene {
    dir: tempfile::TempDir,
    vault: Vault,
    archive: Arc<Mutex<Archive>>,
    key: SigningKey,
    now: Mutex<DateTime<Utc>>,
}

impl Scene {
    fn new(custody: impl FnOnce(FileCell) -> Box<dyn Custody> + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = DateTime::from_timestamp(BEGIN, 0).unwrap();
        std::fs::write(dir.path().join("clock"), now.to_rfc3339()).unwrap();
        let source = Box::new(FileSource::open(&dir.path().join("clock")).unwrap());
        let limits = Limits { max_jump: TimeDelta::hours(1), max_gap: TimeDelta::days(7) };
        let data = dir.path().join("data");
        let archive = Arc::new(Mutex::new(Archive::default()));
        let mut blueprint = Blueprint::new(vault_id(), data.clone(), source, limits);
        blueprint.custody = Box::new(custody);
        let watched = Arc::clone(&archive);
        blueprint.observer = Box::new(move |_| watched.lock().take(&data).unwrap());
        let vault = blueprint.open().unwrap();
        let key = SigningKey::from_bytes(&[7; 32]);
        vault.create_tenant(new_tenant(&key)).unwrap();
        Self { dir, vault, archive, key, now: Mutex::new(now) }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn root_cell(&self) -> Vec<u8> {
        std::fs::read(self.data().join("root.cell")).unwrap()
    }

    fn pass(&self, time: TimeDelta) {
        let mut now = self.now.lock();
        *now += time;
        std::fs::write(self.dir.path().join("clock"), now.to_rfc3339()).unwrap();
    }

    fn upload(&self, call_id: &str) -> Record {
        let now = *self.now.lock();
        let upload = Upload {
            tenant: tenant(),
            request: Uuid::new_v4().to_string().parse().unwrap(),
            call_id: call_id.parse().unwrap(),
            collect_time: now,
            consent: ConsentSource::Receipt(sign(&self.key, now)),
            parts: vec![UploadPart {
                category: Category::FaceImage,
                media_type: MediaType::from_name("image/jpeg").unwrap(),
                size: FACE.len().try_into().unwrap(),
                crc32c: crc32c::crc32c(FACE),
                data: Plaintext::from(FACE.to_vec()),
            }],
            attributes: Attributes::new([(Field::Surname, "SPECIMEN".to_owned())]).unwrap(),
        };
        let record = self.vault.create_record(&upload).unwrap();
        self.archive.lock().take(&self.data()).unwrap();
        record
    }

    /// Plays the attacker against the vault as it is now, with both controls.
    fn judge(&self, alive: &[&Record], gone: &[&Record]) {
        let mut archive = self.archive.lock();
        archive.take(&self.data()).unwrap();
        let attack = mount(&archive, &self.root_cell());
        for record in alive {
            assert!(is_open(&attack, record), "the attack does not even open what is alive: {:?}", attack.tried());
        }
        for record in gone {
            assert!(attack.records().any(|known| known.id == record.id), "the attacker never saw the row of what is gone");
            assert!(attack.open(record.id).is_empty(), "a record that is gone opens: {:?}", attack.tried());
        }
        let cells = archive.root_cells();
        let before = cells.iter().rev().skip(1).map(|cell| mount(&archive, cell));
        let opened_before: BTreeMap<RecordId, bool> = before.fold(BTreeMap::new(), |mut opened, attack| {
            for record in gone {
                *opened.entry(record.id).or_default() |= is_open(&attack, record);
            }
            opened
        });
        assert!(opened_before.values().all(|opened| *opened), "no old root opens what is gone: it is not the root that protects");
    }
}

fn mount(archive: &Archive, root_cell: &[u8]) -> Attack {
    Attack::mount(archive, root_cell, &vault_id()).unwrap()
}

fn is_open(attack: &Attack, record: &Record) -> bool {
    let parts = attack.open(record.id);
    parts.len() == record.parts.len() && parts[&0].expose() == FACE
}

fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

fn vault_id() -> VaultId {
    "forensic".parse().unwrap()
}

fn new_tenant(key: &SigningKey) -> NewTenant {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let x = Base64UrlUnpadded::encode_string(key.verifying_key().as_bytes());
    NewTenant {
        id: tenant(),
        jwks: json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "1", "x": x }] }).to_string(),
        retention: Retention::MAX,
        metadata_policy: MetadataPolicy::Keep,
    }
}

fn sign(key: &SigningKey, now: DateTime<Utc>) -> String {
    let claims = json!({
        "schema": "idvault.consent/1", "iss": "acme", "aud": "forensic", "jti": ConsentId(Uuid::new_v4()).to_string(),
        "iat": now.timestamp(), "nbf": now.timestamp(), "exp": now.timestamp() + 90 * 86_400,
        "subject_ref": "subject", "subject_class": "adult", "jurisdiction": "SG",
        "notice": { "id": "training", "version": "1", "sha256": "5a".repeat(32), "language": "en" },
        "event": { "time": now.to_rfc3339(), "method": "tick-box", "actor": "subject" },
        "grants": [{
            "purpose": "TRAIN_FACE_MATCH", "categories": ["FACE_IMAGE", "NAME"], "decision": "given", "consent_type": "explicit",
            "lawful_basis": "consent", "recipients": ["Models Ltd"], "regions": ["sg-1"], "ui_element_id": "tick",
        }],
    });
    receipt::sign(&claims, "1", key)
}
