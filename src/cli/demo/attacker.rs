//! The attacker of the demo: has every file that ever was in the vault's directory, and the root cell as it is now.

use crate::crypto::seal::Plaintext;
use crate::domain::ids::RecordId;
use crate::forensic::Attack;

use super::Uploaded;
use super::account::Account;
use super::parties::{Failure, Host};

/// Attacks after a withdrawal and a shred: the rest opens, these two do not; with an old root one of them does.
pub(super) fn after_shredding(account: &mut Account, host: &Host, uploaded: &[Uploaded], gone: &[String]) -> Result<(), Failure> {
    account.chapter("The attacker, with every file there ever was and the current root");
    let attack = mount(account, host)?;
    let (gone, alive): (Vec<_>, Vec<_>) = uploaded.iter().partition(|uploaded| gone.contains(&uploaded.record.name));
    let opened = count_open(&attack, &alive)?;
    account
        .promise(format!("the attack works: it opens {opened} of {} records that are alive", alive.len()), opened == alive.len());
    account
        .promise(format!("it opens none of the {} that were withdrawn or shredded", gone.len()), nothing_opens(&attack, &gone)?);
    old_root_opens_one(account, host, &gone)
}

/// Attacks after thirty days: the late record opens, nothing of then does; with an old root one of them does.
pub(super) fn after_expiry(account: &mut Account, host: &Host, uploaded: &[Uploaded], late: &Uploaded) -> Result<(), Failure> {
    account.chapter("The attacker again, thirty days later");
    let attack = mount(account, host)?;
    let gone: Vec<_> = uploaded.iter().collect();
    let opened = count_open(&attack, &[late])?;
    account.promise("the attack works: it opens the record that is alive", opened == 1);
    account.promise(format!("it opens none of the {} records of then", gone.len()), nothing_opens(&attack, &gone)?);
    old_root_opens_one(account, host, &gone)
}

fn mount(account: &Account, host: &Host) -> Result<Attack, Failure> {
    let root_cell = host.root_cell()?;
    let (images, files) = host.with_archive(crate::forensic::Archive::size)?;
    let attack = host.with_archive(|archive| Attack::mount(archive, &root_cell, &Host::vault()?).map_err(Failure::from))??;
    let tried = attack.tried();
    account.tell(format!("{images} images of the directory, {files} different files"));
    account.tell(format!("heads tried {}, opened {}", tried.heads, tried.heads_opened));
    account.tell(format!("pages tried {}, opened {}", tried.pages, tried.pages_opened));
    account.tell(format!(
        "ledgers tried {}, opened {}, naming {} records",
        tried.ledgers,
        tried.ledgers_opened,
        attack.records().count()
    ));
    Ok(attack)
}

/// Shows that it is the root that protects: with the one from before, a record that is gone opens.
fn old_root_opens_one(account: &mut Account, host: &Host, gone: &[&Uploaded]) -> Result<(), Failure> {
    let reached = host.with_archive(|archive| -> Result<Option<usize>, Failure> {
        for (back, cell) in archive.root_cells().iter().rev().skip(1).enumerate() {
            let attack = Attack::mount(archive, cell, &Host::vault()?)?;
            if count_open(&attack, gone)? > 0 {
                return Ok(Some(back.saturating_add(1)));
            }
        }
        Ok(None)
    })??;
    let text = match reached {
        Some(back) => {
            format!("given the root that the cell held {back} contents ago, it opens one: so the root is what protects")
        }
        None => "no old root opens one: the attack proves nothing".to_owned(),
    };
    account.promise(text, reached.is_some());
    Ok(())
}

/// How many of these records open whole, every image as it was uploaded.
fn count_open(attack: &Attack, records: &[&Uploaded]) -> Result<usize, Failure> {
    let mut count = 0_usize;
    for Uploaded { specimen, record } in records {
        let parts = attack.open(id_of(&record.name)?);
        let images = specimen.files.iter().map(|file| file.bytes);
        let is_whole =
            parts.len() == record.parts.len() && images.eq(parts.values().take(specimen.files.len()).map(Plaintext::expose));
        count = count.saturating_add(usize::from(is_whole));
    }
    Ok(count)
}

/// Whether no part of any of these records opens, although each is known to the attacker.
fn nothing_opens(attack: &Attack, records: &[&Uploaded]) -> Result<bool, Failure> {
    for Uploaded { record, .. } in records {
        let id = id_of(&record.name)?;
        if !attack.records().any(|known| known.id == id) || !attack.open(id).is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn id_of(name: &str) -> Result<RecordId, Failure> {
    Ok(name.rsplit('/').next().unwrap_or_default().parse()?)
}
