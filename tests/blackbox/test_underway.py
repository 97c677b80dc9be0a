"""What happens while an upload is under way counts for it: it is decided upon when it ends."""

import threading
from datetime import timedelta

import grpc
import pytest
from idvault.v1 import consent_service_pb2 as consents_api
from idvault.v1 import record_service_pb2 as records_api
from idvault.v1 import resources_pb2 as api

from client import DEADLINE_SECONDS, Refused
from paging import everything
from provider import Provider, pieces
from receipts import notice
from refusals import refuses
from server import OPERATOR
from specimens import load

SPECIMEN = load()[1]


class Underway:
    """A stream that has sent all but its last message."""

    def __init__(self, provider, request):
        self._messages = list(pieces(request))
        self._sent, self.finished = threading.Event(), threading.Event()
        self._call = provider.caller.begin_upload(self._held())
        assert self._sent.wait(DEADLINE_SECONDS)

    def _held(self):
        yield from self._messages[:-1]
        self._sent.set()
        self.finished.wait()
        yield self._messages[-1]

    def finish(self):
        self.finished.set()
        try:
            return self._call.result().record
        except grpc.RpcError as error:
            raise Refused(error) from None


@pytest.fixture
def request_underway(provider):
    request = provider.request(SPECIMEN)
    underway = Underway(provider, request)
    yield request, underway
    underway.finished.set()


def test_there_is_no_record_until_it_is_whole(provider, request_underway):
    _, underway = request_underway
    listing = records_api.ListRecordsRequest(parent=provider.name)
    assert everything(provider.caller.records.ListRecords, listing) == []
    assert provider.retention().live_record_count == 0
    record = underway.finish()
    assert everything(provider.caller.records.ListRecords, listing) == [record]


def _withdraw(provider, request):
    register = consents_api.RegisterConsentRequest(parent=provider.name, receipt=request.header.receipt)
    consent = provider.caller.consents.RegisterConsent(register).consent
    provider.caller.consents.WithdrawConsent(consents_api.WithdrawConsentRequest(name=consent.name))


def _erase(provider, request):
    erase = consents_api.EraseSubjectRequest(parent=provider.name, subject_ref=SPECIMEN.subject_ref)
    provider.caller.consents.EraseSubject(erase)


def _revoke_the_key(provider, request):
    end = api.KeyRevocation(kid="receipts-1")
    end.revoke_time.FromDatetime(provider.vault.clock.now - timedelta(hours=1))
    provider.update(key_revocations=[end])


def _register_another_notice(provider, request):
    provider.update(OPERATOR, notices=[api.Notice(**notice("2"))])


def _take_its_call_id(provider, request):
    other = provider.request(SPECIMEN)
    other.header.call_id = request.header.call_id
    provider.create(other)


def _take_its_request_id(provider, request):
    other = provider.request(SPECIMEN)
    other.header.request_id = request.header.request_id
    provider.create(other)


@pytest.mark.parametrize(
    "change, reason, count",
    [
        (_withdraw, "CONSENT_WITHDRAWN", 0),
        (_erase, "CONSENT_WITHDRAWN", 0),
        (_revoke_the_key, "CONSENT_KEY_UNKNOWN", 0),
        (_register_another_notice, "NOTICE_UNKNOWN", 0),
        (_take_its_call_id, "CALL_ID_EXISTS", 1),
        (_take_its_request_id, "REQUEST_ID_REUSED", 1),
    ],
)
def test_what_comes_between_refuses_it(provider, request_underway, change, reason, count):
    request, underway = request_underway
    change(provider, request)
    refuses(underway.finish, reason)
    assert provider.retention().live_record_count == count


def test_it_lives_from_its_beginning(own_vault):
    provider = Provider(own_vault)
    began = own_vault.clock.now
    in_time, too_late = (Underway(provider, provider.large_request(SPECIMEN)) for _ in range(2))
    own_vault.clock.advance(hours=2)
    record = in_time.finish()
    assert record.upload_time.ToDatetime(began.tzinfo) == began
    own_vault.clock.set(record.expire_time.ToDatetime(began.tzinfo))
    refuses(too_late.finish, "RETENTION_TOO_SHORT")
    assert provider.retention().live_record_count == 0


def test_the_same_upload_twice_at_once_is_one_record(provider, request_underway):
    request, first = request_underway
    second = Underway(provider, request)
    record = provider.create(request)
    assert first.finish() == second.finish() == record
    assert provider.retention().live_record_count == 1


def test_uploads_at_once_do_not_mix(provider):
    requests = [provider.request(specimen) for specimen in load()]
    streams = [Underway(provider, request) for request in requests]
    records = [stream.finish() for stream in reversed(streams)]
    records.reverse()
    assert [record.call_id for record in records] == [request.header.call_id for request in requests]
    sizes = [[part.size_bytes for part in record.parts[:-1]] for record in records]
    assert sizes == [[len(file.data) for file in specimen.files] for specimen in load()]
