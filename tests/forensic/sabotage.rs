//! Vaults that fail to forget, each in a way of its own, and each is caught: by custodies made for it, and with the feature `sabotage` by
//! a keyring that does wrong.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use idvault::crypto::secret::Secret;
use idvault::domain::record::Record;
use idvault::keys::root::{Custody, Evidence, Handle, Root};
use parking_lot::Mutex;

use crate::scene::{Hand, Scene, new_tenant, tenant};
use crate::{Watched, is_open, mount, watch};

#[test]
fn a_root_that_is_the_old_one_again_is_caught() {
    let watched =
        Watched::new(|inner| Box::new(Wrong { inner, way: Way::SameRoot, armed: Arc::default(), kept: Kept::default() }));
    let (alive, gone) = (watched.record(), watched.record());
    watched.vault().shred_record(&tenant(), gone.id).unwrap();
    assert_is_caught(&watched, &alive, &gone);
}

#[test]
fn a_failed_commits_root_left_in_the_cell_is_caught() {
    let home = tempfile::tempdir().unwrap();
    let (clock, archive, kept, armed) = (Hand::new(), Arc::default(), Kept::default(), Arc::new(AtomicBool::new(false)));
    let open = |way| {
        let (kept, armed) = (Arc::clone(&kept), Arc::clone(&armed));
        let custody = move |inner| -> Box<dyn Custody> { Box::new(Wrong { inner, way, armed, kept }) };
        let scene = Scene::at(home.path(), clock.clone(), |blueprint| watch(blueprint, &archive, custody));
        Watched { scene, archive: Arc::clone(&archive) }
    };
    let watched = open(Way::FailsToPut);
    watched.vault().create_tenant(&tenant(), new_tenant()).unwrap();
    let [alive, gone, first] = std::array::from_fn(|_| watched.record());
    armed.store(true, Ordering::SeqCst);
    watched.vault().shred_record(&tenant(), first.id).unwrap_err();
    drop(watched);
    let watched = open(Way::LeavesFailed);
    watched.vault().shred_record(&tenant(), gone.id).unwrap();
    assert_is_caught(&watched, &alive, &gone);
}

/// Fails unless the attack opens what is gone, with the root cell as it is now.
fn assert_is_caught(watched: &Watched, alive: &Record, gone: &Record) {
    let mut archive = watched.archive.lock();
    archive.take(&watched.scene.data()).unwrap();
    let attack = mount(&archive, &watched.root_cell());
    assert!(is_open(&attack, alive));
    assert!(is_open(&attack, gone), "the attack must open what was not forgotten: {:?}", attack.tried());
}

/// How a custody does wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Every root is the first one again, under another generation.
    SameRoot,
    /// From when it is armed on, a root is made but not put.
    FailsToPut,
    /// The root that was made last before stands beside the one that is settled on.
    LeavesFailed,
}

/// The root that must not be there any more.
type Kept = Arc<Mutex<Option<Root>>>;

struct Wrong {
    inner: Box<dyn Custody>,
    way: Way,
    armed: Arc<AtomicBool>,
    kept: Kept,
}

impl Custody for Wrong {
    fn make(&mut self, generation: u64) -> io::Result<Root> {
        let root = self.inner.make(generation)?;
        if self.way == Way::SameRoot {
            let kept = &mut *self.kept.lock();
            let key = copy(&kept.get_or_insert_with(|| copied(&root)).key);
            return Ok(Root { handle: root.handle, key });
        }
        if self.way == Way::FailsToPut && self.armed.load(Ordering::SeqCst) {
            *self.kept.lock() = Some(copied(&root));
        }
        Ok(root)
    }

    fn open(&self, handle: &Handle) -> io::Result<Option<Root>> {
        self.inner.open(handle)
    }

    fn put(&mut self, root: &Root) -> io::Result<()> {
        if self.way == Way::FailsToPut && self.armed.load(Ordering::SeqCst) {
            return Err(io::Error::other("the test wants it so"));
        }
        self.inner.put(root)
    }

    fn settle(&mut self, kept: &Handle) -> io::Result<Evidence> {
        let evidence = self.inner.settle(kept)?;
        // A cell has two slots, and the one of the current root is its own.
        if let (Way::LeavesFailed, Some(failed)) = (self.way, &*self.kept.lock())
            && failed.handle.generation % 2 != kept.generation % 2
        {
            self.inner.put(failed)?;
        }
        Ok(evidence)
    }

    fn generations(&self) -> io::Result<Vec<u64>> {
        self.inner.generations()
    }

    fn clear(&mut self) -> io::Result<Evidence> {
        self.inner.clear()
    }

    fn describe(&self) -> Evidence {
        self.inner.describe()
    }
}

fn copied(root: &Root) -> Root {
    Root { handle: root.handle.clone(), key: copy(&root.key) }
}

fn copy(secret: &Secret) -> Secret {
    Secret::build(|bytes| bytes.copy_from_slice(secret.expose()))
}

#[cfg(feature = "sabotage")]
mod of_the_keyring {
    use std::collections::BTreeMap;

    use idvault::forensic::secrets::Secrets;
    use idvault::keys::sabotage::{Sabotage, choose};

    use crate::scene::{tenant, vault_id};
    use crate::{LOOK, Watched, honest, memory};

    #[test]
    fn a_page_key_that_is_used_again_is_caught() {
        choose(Sabotage::ReusePageKey);
        let watched = Watched::new(honest);
        let [alive, gone, first] = std::array::from_fn(|_| watched.record());
        watched.vault().shred_record(&tenant(), first.id).unwrap();
        watched.vault().shred_record(&tenant(), gone.id).unwrap();
        super::assert_is_caught(&watched, &alive, &gone);
    }

    #[test]
    fn a_cached_node_that_is_kept_is_caught() {
        choose(Sabotage::KeepCachedNodes);
        let found = dropped_in_memory();
        assert!(found.get("node on the way to a leaf").is_some_and(|nodes| *nodes > 20), "{found:?}");
    }

    #[test]
    fn an_honest_keyring_keeps_nothing_of_it() {
        assert_eq!(dropped_in_memory(), BTreeMap::new());
    }

    /// Shreds a record; what is still in memory of all that no current key opens, and how many of each kind.
    fn dropped_in_memory() -> BTreeMap<&'static str, usize> {
        let _alone = LOOK.lock();
        let watched = Watched::new(honest);
        let gone = [watched.record(), watched.record()][1].clone();
        watched.vault().shred_record(&tenant(), gone.id).unwrap();
        // Whoever derives another leaf has the stack as it is in service.
        watched.record();
        let memory = memory();
        let archive = watched.archive.lock();
        let alive = Secrets::opened_by(&archive, &watched.root_cell(), &vault_id(), &[]);
        let mut known = Secrets::default();
        for cell in archive.root_cells() {
            known.extend(Secrets::opened_by(&archive, cell, &vault_id(), &[gone.place]));
        }
        assert!(alive.found_in(&memory).values().sum::<usize>() > 500, "the search does not find what is alive");
        let dropped = known.without(&alive);
        assert!(dropped.count() > 500, "{} secrets were dropped", dropped.count());
        dropped.found_in(&memory)
    }
}
