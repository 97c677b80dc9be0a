"""Withdrawing and shredding: at once, also in the middle of a stream, and to be seen from outside."""

import pytest
from idvault.v1 import consent_service_pb2 as consents_api
from idvault.v1 import resources_pb2 as api
from idvault.v1 import training_service_pb2 as training_api

from order import order
from receipts import EVERYTHING, grant
from refusals import refuses
from server import PRIVACY_OFFICER
from specimens import load
from training import Epoch, snapshot_of

GONE = training_api.FetchRecordsResponse.TOMBSTONE_GONE
COPIES = 4  # of each specimen: 16 MB in all, far more than the windows between server and reader hold


def sequences_of(epoch, token):
    """The messages that carry a record."""
    return [release.sequence for release in epoch.released if token in release.tokens]


def test_withdrawn_record_is_gone(provider):
    kept, withdrawn = provider.upload(load()[1]), provider.upload(load()[2])
    snapshot = snapshot_of(provider)
    answer = provider.withdraw(withdrawn, by=PRIVACY_OFFICER)
    assert answer.consent.state == api.Consent.STATE_WITHDRAWN
    assert answer.destruction.record_count == 1
    refuses(lambda: provider.get(withdrawn), "RECORD_GONE")
    assert provider.get(kept) == kept
    epoch = Epoch(provider.vault, snapshot).read_all()
    assert sorted(position.tombstone for position in epoch.positions.values()) == [0, GONE]
    assert provider.retention().live_record_count == 1
    assert provider.withdraw(withdrawn).destruction.record_count == 0


def test_withdrawn_receipt_takes_in_nothing(provider):
    receipt = provider.receipt(load()[1])
    provider.withdraw(provider.create(provider.request(load()[1], receipt)))
    refuses(lambda: provider.create(provider.request(load()[1], receipt)), "CONSENT_WITHDRAWN")


def test_purpose_withdrawn_alone_stops_only_itself(provider):
    grants = [grant(purpose, EVERYTHING) for purpose in ("TRAIN_DOCUMENT_OCR", "EVALUATE_BIAS", "VERIFY_IDENTITY")]
    record = provider.upload(load()[1], grants)
    answer = provider.withdraw(record, [api.PURPOSE_TRAIN_DOCUMENT_OCR])
    assert answer.consent.state == api.Consent.STATE_ACTIVE
    assert list(answer.consent.withdrawn_purposes) == [api.PURPOSE_TRAIN_DOCUMENT_OCR]
    assert answer.destruction.record_count == 0
    assert snapshot_of(provider).position_count == 0
    assert snapshot_of(provider, purpose="EVALUATE_BIAS").position_count == 1
    assert provider.withdraw(record, [api.PURPOSE_EVALUATE_BIAS]).destruction.record_count == 1
    refuses(lambda: provider.get(record), "RECORD_GONE")


def test_shredded_record_is_gone(provider):
    record = provider.upload(load()[1])
    assert provider.shred(record).record_count == 1
    refuses(lambda: provider.get(record), "RECORD_GONE")
    refuses(lambda: provider.shred(record), "RECORD_GONE")


def test_registered_consent_serves_an_upload(provider):
    receipt = provider.receipt(load()[1])
    register = consents_api.RegisterConsentRequest(parent=provider.name, receipt=receipt)
    consent = provider.caller.consents.RegisterConsent(register).consent
    assert provider.caller.consents.RegisterConsent(register).consent == consent
    assert consent.state == api.Consent.STATE_ACTIVE
    assert list(consent.granted_purposes) == [api.PURPOSE_TRAIN_DOCUMENT_OCR]
    request = provider.request(load()[1])
    request.header.consent = consent.name
    assert provider.create(request).consent == consent.name
    jti = consent.name.rpartition("/")[2]
    other = provider.receipt(load()[2], jti=jti)
    register.receipt = other
    refuses(lambda: provider.caller.consents.RegisterConsent(register), "CONSENT_ID_REUSED")


@pytest.mark.parametrize("take_back", ["withdraw", "shred"])
def test_open_stream_stops_carrying_what_is_taken_back(provider, take_back):
    """A slow reader: one message read, the rest only after the withdrawal was answered."""
    uploads = [specimen for specimen in load() for _ in range(COPIES)]
    records = [provider.upload(specimen) for specimen in uploads]
    count = len(records)
    snapshot = snapshot_of(provider)
    first = Epoch(provider.vault, snapshot, seed=7).read_all()
    listed = {index: first.positions[number] for number, index in enumerate(order(7, 0, count))}
    listed_after = order(8, 0, count)

    stream = Epoch(provider.vault, snapshot, seed=8)
    assert stream.read()
    sent_token, late_token = (listed[listed_after[number]].token for number in (0, count - 1))
    # Snapshots do not name records: every copy of both specimens is taken back, so that both records surely are.
    faces = {listed[listed_after[number]].file(api.CATEGORY_FACE_IMAGE) for number in (0, count - 1)}
    doomed = [record for record, specimen in zip(records, uploads, strict=True) if specimen.files[0].data in faces]
    doomed_tokens = {place.token for place in listed.values() if place.file(api.CATEGORY_FACE_IMAGE) in faces}
    assert len(doomed) == len(doomed_tokens) and {sent_token, late_token} <= doomed_tokens
    destructions = [
        provider.withdraw(record).destruction if take_back == "withdraw" else provider.shred(record)
        for record in doomed
    ]
    assert all(destruction.record_count == 1 for destruction in destructions)
    last_release = max(destruction.last_release_sequence for destruction in destructions)
    stream.read_all()

    for token in doomed_tokens:
        assert all(sequence <= last_release for sequence in sequences_of(stream, token))
    assert sequences_of(stream, sent_token), "the first record was sent before it was taken back"
    assert not sequences_of(stream, late_token), "the last record was not yet sent"
    assert stream.positions[count - 1].tombstone == GONE
    assert stream.released[-1].sequence > last_release, "the stream went on after the withdrawal"
    assert sorted(stream.positions) == list(range(count))
