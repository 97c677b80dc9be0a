//! `kill -9` at each numbered step of a commit: a process of its own makes a vault and dies at the step, and the vault that
//! it leaves behind is opened. What was acknowledged before is there and opens; what was marked does not.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod scene;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use idvault::domain::ids::{Identity, RecordId};
use idvault::domain::purpose::PurposeSet;
use idvault::domain::retention::Now;
use idvault::domain::shredding::{ShredState, Word};
use idvault::domain::trigger::Trigger;
use idvault::keys::keyring::Step;
use idvault::vault::error::Error;
use idvault::vault::pages::Page;

use scene::{Fetched, Hand, Scene, new_tenant, tenant};

const STEPS: [Step; 5] = [Step::Marked, Step::Written, Step::Durable, Step::Settled, Step::Finished];
const HOME: &str = "IDVAULT_STEPS_HOME";
const WHAT: &str = "IDVAULT_STEPS_WHAT";

#[test]
fn a_shred_killed_at_any_step_is_finished() {
    for step in STEPS {
        killed_at(step, "shred");
    }
}

#[test]
fn a_withdrawal_killed_at_any_step_is_finished() {
    for step in STEPS {
        killed_at(step, "withdraw");
    }
}

#[test]
fn an_expiry_killed_at_any_step_is_finished() {
    // Nothing is marked for an expiry: the hours themselves say what is due.
    for step in STEPS.into_iter().filter(|step| *step != Step::Marked) {
        killed_at(step, "expire");
    }
}

#[test]
fn the_shredding_of_a_tenant_killed_at_any_step_is_finished() {
    for step in STEPS {
        let home = tempfile::tempdir().unwrap();
        die_at(home.path(), step, "tenant");
        let scene = Scene::at(home.path(), Hand::new(), |blueprint| blueprint);
        scene.vault().tick().unwrap();
        let stands = scene.vault().shred_tenant(&tenant(), word("olga", false)).unwrap();
        assert_eq!((stands.state, stands.left), (ShredState::Shredded, 0), "{step:?}");
        for name in ["stays", "goes"] {
            let record: RecordId = std::fs::read_to_string(home.path().join(name)).unwrap().parse().unwrap();
            assert!(matches!(scene.vault().record(&tenant(), record), Err(Error::RecordGone)), "{step:?}");
        }
        let page = Page { size: 10, token: String::new() };
        let certificates = scene.vault().certificates(&tenant(), &page).unwrap().items;
        let said: Vec<_> = certificates.iter().map(|certificate| (certificate.trigger, certificate.records)).collect();
        assert_eq!(said, [(Trigger::TenantShredded, 2)], "{step:?}");
    }
}

/// A person's word.
fn word(name: &str, is_officer: bool) -> impl FnOnce(Now) -> Word {
    let by = Identity::Person(name.to_owned());
    move |now| Word { by, is_officer, time: now.hi }
}

fn killed_at(step: Step, what: &str) {
    let home = tempfile::tempdir().unwrap();
    die_at(home.path(), step, what);
    let clock = Hand::new();
    if what == "expire" {
        clock.pass(TimeDelta::days(30));
    }
    let scene = Scene::at(home.path(), clock, |blueprint| blueprint);
    let acknowledged: RecordId = std::fs::read_to_string(home.path().join("stays")).unwrap().parse().unwrap();
    let gone: RecordId = std::fs::read_to_string(home.path().join("goes")).unwrap().parse().unwrap();
    if what == "expire" {
        assert!(matches!(scene.vault().record(&tenant(), acknowledged), Err(Error::RecordGone)), "{step:?}");
        assert_eq!(std::fs::read_dir(scene.data().join("volumes")).unwrap().count(), 0, "{step:?}");
    } else {
        scene.vault().record(&tenant(), acknowledged).unwrap();
        let fetched = scene.fetch(scene.job()).unwrap();
        assert_eq!(fetched, Fetched { served: 1, ..Fetched::default() }, "{what} at {step:?}");
    }
    assert!(matches!(scene.vault().record(&tenant(), gone), Err(Error::RecordGone)), "{what} at {step:?}");
    assert_eq!(scene.vault().retention_status(None).unwrap().backlog, 0, "{what} at {step:?}");
    let expected = match what {
        "shred" => (Trigger::RecordShredded, 1),
        "withdraw" => (Trigger::ConsentWithdrawn, 1),
        _ => (Trigger::RetentionExpired, 2),
    };
    let page = Page { size: 10, token: String::new() };
    let certificates = scene.vault().certificates(&tenant(), &page).unwrap().items;
    let said: Vec<_> = certificates.iter().map(|certificate| (certificate.trigger, certificate.records)).collect();
    assert_eq!(said, [expected], "{what} at {step:?}: one certificate for what was destroyed");
    scene.vault().prove_membership(&tenant(), certificates.first().unwrap().id, gone).unwrap();
}

/// Has a process of its own make a vault in `home`, begin this and die at this step.
fn die_at(home: &Path, step: Step, what: &str) {
    let mut victim = Command::new(std::env::current_exe().unwrap());
    victim.args(["--exact", "victim", "--ignored", "--nocapture"]).env(HOME, home).env(WHAT, format!("{what} {step:?}"));
    let outcome = victim.output().unwrap();
    assert_eq!(outcome.status.signal(), Some(9), "{what} at {step:?}: {}", String::from_utf8_lossy(&outcome.stderr));
}

#[test]
#[ignore = "the process that the other tests start and that dies"]
#[expect(clippy::disallowed_methods, reason = "a test tells its victim what to do by the environment")]
fn victim() {
    let (home, task) = (std::env::var(HOME).unwrap(), std::env::var(WHAT).unwrap());
    let home = Path::new(&home);
    let (what, step) = task.split_once(' ').unwrap();
    let step = STEPS.into_iter().find(|known| format!("{known:?}") == step).unwrap();
    let armed = Arc::new(AtomicBool::new(false));
    let trigger = Arc::clone(&armed);
    let scene = Scene::at(home, Hand::new(), |mut blueprint| {
        blueprint.observer = Box::new(move |reached| {
            if reached == step && trigger.load(Ordering::SeqCst) {
                die();
            }
        });
        blueprint
    });
    scene.vault().create_tenant(&tenant(), new_tenant()).unwrap();
    let (stays, goes) = (scene.record(), scene.record());
    std::fs::write(home.join("stays"), stays.id.to_string()).unwrap();
    std::fs::write(home.join("goes"), goes.id.to_string()).unwrap();
    armed.store(true, Ordering::SeqCst);
    match what {
        "shred" => drop(scene.vault().shred_record(&tenant(), goes.id).unwrap()),
        "tenant" => {
            scene.vault().shred_tenant(&tenant(), word("olga", false)).unwrap();
            scene.vault().shred_tenant(&tenant(), word("paul", true)).unwrap();
            scene.vault().tick().unwrap();
        }
        "withdraw" => drop(scene.vault().withdraw_consent(&tenant(), goes.consent, PurposeSet::default()).unwrap()),
        _ => {
            scene.clock.pass(TimeDelta::days(30));
            scene.vault().tick().unwrap();
        }
    }
    panic!("{what} never reached {step:?}");
}

fn die() -> ! {
    Command::new("sh").args(["-c", &format!("kill -9 {}", std::process::id())]).status().unwrap();
    loop {
        std::thread::park();
    }
}
