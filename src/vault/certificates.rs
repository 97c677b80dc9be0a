//! Certificates of destruction: one for each commit, tenant and reason, signed, kept for two years, with the records' tokens.
//!
//! The certificate of records that were marked is in the transaction that removes their rows. An expiry may have a million records,
//! whose rows go in many transactions: each of these also adds to a draft, and when no row is left the draft becomes a certificate.
//! A start finishes drafts that a crash left behind. So no record goes without a certificate, and none has two.

mod rows;
mod signing;
mod tally;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use super::error::Error;
use super::pages::{Listed, Page};
use super::rows::{stamp, time, uuid};
use super::{Vault, new_uuid};
use crate::audit::certificate::{Certificate, Commit, TOKEN_LEN, token};
use crate::audit::merkle::{self, Proof};
use crate::domain::ids::{CertificateId, Place, RecordId, TenantId};
use crate::domain::retention::Now;
use crate::domain::trigger::Trigger;
use crate::keys::keyring::Committed;
use crate::store::group::Ticket;
use crate::store::ledger::Transaction;
use crate::store::schema;
pub(super) use rows::MarkRow;
use rows::{CertificateRow, DraftRow, TokensRow};
pub(super) use signing::open as open_signer;
pub(super) use tally::{Gone, Tallies};
use tally::{Reason, merge};

/// How many tokens a row has: it stays below 32 KiB.
const TOKENS_OF_A_ROW: usize = 1_000;
/// How many such rows a transaction has.
const ROWS_OF_TOKENS: usize = 100;

/// A certificate, to be shown.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Which.
    pub id: CertificateId,
    /// Of which tenant.
    pub tenant: TenantId,
    /// Why.
    pub trigger: Trigger,
    /// How many records.
    pub records: u64,
    /// When they were destroyed.
    pub destroyed: DateTime<Utc>,
    /// The signed text.
    pub note: String,
}

/// Which certificate the records have that somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Certified(Mutex<HashMap<Place, (TenantId, CertificateId)>>);

impl Certified {
    /// The certificates of records at these places, each once. To be asked once.
    pub(super) fn take(&self, places: &[Place]) -> Vec<(TenantId, CertificateId)> {
        let mut certified = self.0.lock();
        let mut certificates: Vec<_> = places.iter().filter_map(|place| certified.remove(place)).collect();
        certificates.sort_unstable();
        certificates.dedup();
        certificates
    }
}

impl Vault {
    /// A certificate.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn certificate(&self, tenant: &TenantId, id: CertificateId) -> Result<Issued, Error> {
        self.now()?;
        let row =
            self.book.get::<CertificateRow>(&schema::certificate(self.book.tenant_tag(tenant), id))?.ok_or(Error::NotFound)?;
        issued(tenant, id, row)
    }

    /// The proof that a record is one of a certificate's.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such certificate, or the record is none of its.
    pub fn prove_membership(&self, tenant: &TenantId, id: CertificateId, record: RecordId) -> Result<Proof, Error> {
        self.certificate(tenant, id)?;
        let tokens = self.tokens(&schema::certificate_tokens(self.book.tenant_tag(tenant), id))?;
        let index = tokens.binary_search(&token(tenant, record)).map_err(|_| Error::NotFound)?;
        merkle::prove(&tokens, index).ok_or(Error::NotFound)
    }

    /// A page of a tenant's certificates, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such tenant, [`Error::Invalid`] when the token is not one of this list.
    pub fn certificates(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Issued>, Error> {
        self.tenant(tenant)?;
        self.page(&schema::certificates_of(self.book.tenant_tag(tenant)), page, |key| {
            let id = schema::certificate_of(key).ok_or(Error::Damaged)?;
            self.book.get::<CertificateRow>(key)?.map(|row| issued(tenant, id, row)).transpose()
        })
    }

    /// The key that certificates are verified with, as a signed note's verifier key.
    #[must_use]
    pub fn verifier_key(&self) -> String {
        self.signer.verifier().to_vkey()
    }

    /// What a commit of the keyring is to be certified with.
    pub(super) fn statement(&self, committed: Committed, time: DateTime<Utc>) -> Commit {
        let Committed { before, generation, evidence } = committed;
        Commit {
            generations: (before, generation),
            time,
            custody: evidence.custody.to_owned(),
            place: evidence.place,
            method: evidence.method,
            class: evidence.class.to_string(),
            keyrings: self.keyrings,
            last_release_sequence: self.gate.last(),
        }
    }

    /// Why a record at a place is being destroyed, if it is marked. Marks of earlier versions do not say it.
    pub(super) fn reason_at(&self, place: Place) -> Result<Option<Reason>, Error> {
        match self.book.get::<MarkRow>(&schema::marked(place)) {
            // An empty mark, or a damaged one: destruction does not wait for it.
            Err(Error::Damaged) => Ok(Some(Reason { trigger: Trigger::RecordShredded, since: None })),
            row => row?.map(|row| Ok(Reason { trigger: row.trigger()?, since: Some(row.time()?) })).transpose(),
        }
    }

    /// Puts the certificates of records that were marked.
    pub(super) fn certify(&self, transaction: &mut Transaction, tallies: Tallies, commit: &Commit) -> Result<(), Error> {
        for ((tenant, trigger), mut tally) in tallies.0 {
            let id = new_certificate_id(commit)?;
            tally.tokens.sort_unstable();
            for (key, row) in token_rows(&schema::certificate_tokens(self.book.tenant_tag(&tenant), id), &tally.tokens) {
                self.put_two_years(transaction, key, &row, commit.time)?;
            }
            self.certified.0.lock().extend(tally.places.into_iter().map(|place| (place, (tenant.clone(), id))));
            let (vault, tokens, commit) = (self.id.clone(), merkle::root(&tally.tokens), commit.clone());
            let certificate = Certificate { id, vault, tenant, trigger, destroyed: tally.destroyed, tokens, commit };
            self.put_certificate(transaction, &certificate)?;
        }
        Ok(())
    }

    /// Adds to the drafts of an expiry.
    pub(super) fn draft(&self, transaction: &mut Transaction, tallies: Tallies, commit: &Commit) -> Result<(), Error> {
        for ((tenant, _), tally) in tallies.0 {
            let tag = self.book.tenant_tag(&tenant);
            let key = schema::draft(tag, commit.generations.1);
            let mut draft = match self.book.get::<DraftRow>(&key)? {
                Some(draft) => draft,
                None => DraftRow::new(new_certificate_id(commit)?.0.as_bytes().to_vec(), &tenant, commit),
            };
            let mut destroyed = draft.destroyed()?;
            merge(&mut destroyed, &tally.destroyed);
            draft.set_destroyed(&destroyed);
            for tokens in tally.tokens.chunks(TOKENS_OF_A_ROW) {
                let row = TokensRow { tokens: tokens.concat() };
                self.book.put(transaction, schema::draft_piece(tag, commit.generations.1, draft.pieces), &row)?;
                draft.pieces = draft.pieces.saturating_add(1);
            }
            self.book.put(transaction, key, &draft)?;
        }
        Ok(())
    }

    /// Makes certificates of the drafts that there are. Done again after a crash it makes the same.
    pub(super) fn certify_drafts(&self) -> Result<Option<Ticket>, Error> {
        let drafts: Vec<_> = self.book.scan::<DraftRow>(&schema::drafts()).collect::<Result<_, _>>()?;
        let mut last = None;
        for (key, draft) in drafts {
            let (tenant, id) = (draft.tenant()?, CertificateId(uuid(&draft.id)?));
            let commit = draft.commit()?;
            let pieces = schema::draft_pieces(&key);
            let tokens = self.tokens(&pieces)?;
            let rows = token_rows(&schema::certificate_tokens(self.book.tenant_tag(&tenant), id), &tokens);
            for rows in rows.chunks(ROWS_OF_TOKENS) {
                let mut transaction = Transaction::default();
                for (key, row) in rows {
                    self.put_two_years(&mut transaction, key.clone(), row, commit.time)?;
                }
                self.book.apply(transaction)?;
            }
            let mut transaction = Transaction::default();
            let (vault, trigger, destroyed) = (self.id.clone(), Trigger::RetentionExpired, draft.destroyed()?);
            let certificate = Certificate { id, vault, tenant, trigger, destroyed, tokens: merkle::root(&tokens), commit };
            self.put_certificate(&mut transaction, &certificate)?;
            for piece in self.book.keys(&pieces) {
                transaction.remove(piece?);
            }
            transaction.remove(key);
            last = Some(self.book.apply(transaction)?);
        }
        Ok(last)
    }

    /// Signs and puts a certificate.
    fn put_certificate(&self, transaction: &mut Transaction, certificate: &Certificate) -> Result<(), Error> {
        let Certificate { id, tenant, trigger, destroyed, commit, .. } = certificate;
        let row = CertificateRow {
            note: self.signer.sign(&certificate.to_text()),
            trigger: trigger.number().into(),
            records: destroyed.records,
            destroyed: Some(stamp(commit.time)),
        };
        tracing::info!(%tenant, certificate = %id, trigger = trigger.name(), records = destroyed.records, "certified");
        self.put_two_years(transaction, schema::certificate(self.book.tenant_tag(tenant), *id), &row, commit.time)
    }

    /// The tokens in the rows whose keys begin so, sorted.
    fn tokens(&self, prefix: &[u8]) -> Result<Vec<[u8; TOKEN_LEN]>, Error> {
        let mut tokens = Vec::new();
        for row in self.book.scan::<TokensRow>(prefix) {
            let row = row?.1.tokens;
            let (of_row, rest) = row.as_chunks::<TOKEN_LEN>();
            if !rest.is_empty() {
                return Err(Error::Damaged);
            }
            tokens.extend_from_slice(of_row);
        }
        tokens.sort_unstable();
        Ok(tokens)
    }
}

fn new_certificate_id(commit: &Commit) -> Result<CertificateId, Error> {
    new_uuid(Now { lo: commit.time, hi: commit.time }).map(CertificateId)
}

/// The rows of these tokens, with their keys.
fn token_rows(prefix: &[u8], tokens: &[[u8; TOKEN_LEN]]) -> Vec<(Vec<u8>, TokensRow)> {
    let rows = (0_u32..).zip(tokens.chunks(TOKENS_OF_A_ROW));
    rows.map(|(piece, tokens)| ([prefix, &piece.to_be_bytes()].concat(), TokensRow { tokens: tokens.concat() })).collect()
}

fn issued(tenant: &TenantId, id: CertificateId, row: CertificateRow) -> Result<Issued, Error> {
    let trigger = u8::try_from(row.trigger).ok().and_then(Trigger::from_number).ok_or(Error::Damaged)?;
    Ok(Issued { id, tenant: tenant.clone(), trigger, records: row.records, destroyed: time(row.destroyed)?, note: row.note })
}
