"""Uploads that break off: wherever a stream ends before its time, nothing is there."""

import random
import threading
from itertools import islice

import grpc
from idvault.v1 import record_service_pb2 as records_api
from idvault.v1 import resources_pb2 as api

from client import DEADLINE_SECONDS
from images import MP4_START
from provider import LIVENESS, MIB, Provider, inline_part, pieces
from server import eventually
from specimens import load

PLACES = 120
CHUNK_BYTES = 60_000


def request_of(provider, specimen):
    """An upload large enough that some of it is on disk before it ends: a video of 2 MiB before the rest."""
    request = provider.request(specimen, provider.receipt(specimen, LIVENESS))
    video = MP4_START + random.Random(2).randbytes(2 * MIB)
    request.parts.insert(0, inline_part(api.CATEGORY_LIVENESS_VIDEO, "video/mp4", video))
    return request


def send_and_cancel(caller, messages):
    """Sends `messages` and cancels before the stream ends."""
    sent, cancelled = threading.Event(), threading.Event()

    def until_cancelled():
        yield from messages
        sent.set()
        cancelled.wait()

    call = caller.begin_upload(until_cancelled())
    try:
        assert sent.wait(DEADLINE_SECONDS), "not all was sent"
        call.cancel()
    finally:
        cancelled.set()
    assert call.code() == grpc.StatusCode.CANCELLED


def assert_nothing_is_there(provider, why):
    listed = provider.caller.records.ListRecords(records_api.ListRecordsRequest(parent=provider.name))
    assert not listed.records, why
    status = provider.retention()
    assert (status.live_record_count, status.backlog_record_count, len(status.hours)) == (0, 0, 0), why


def test_cancelled_upload_leaves_nothing_wherever_it_breaks_off(own_vault):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    provider = Provider(own_vault)
    requests = [request_of(provider, chance.choice(load())) for _ in range(PLACES)]
    places = []
    for request in requests:
        places.append(chance.randrange(1 + sum(1 for _ in pieces(request, CHUNK_BYTES))))
        send_and_cancel(provider.caller, islice(pieces(request, CHUNK_BYTES), places[-1]))
    why = f"seed {seed}, places {places}"
    assert_nothing_is_there(provider, why)
    assert own_vault.stop() == 0
    own_vault.start()
    assert_nothing_is_there(provider, why)
    names = {provider.stream(request, CHUNK_BYTES).name for request in requests}
    assert len(names) == provider.retention().live_record_count == PLACES, why


def test_upload_cancelled_between_two_parts_leaves_nothing(own_vault):
    provider = Provider(own_vault)
    request = request_of(provider, load()[1])
    messages = list(pieces(request))
    ends = [at for at, message in enumerate(messages) if message.HasField("part")] + [len(messages) - 1, len(messages)]
    assert len(ends) == 6
    for end in ends:
        send_and_cancel(provider.caller, messages[:end])
        assert_nothing_is_there(provider, end)
    own_vault.kill()
    own_vault.start()
    assert_nothing_is_there(provider, "after a restart")
    assert len(provider.stream(request).parts) == 5


def test_bytes_of_a_cancelled_upload_go_with_their_hour(own_vault):
    provider = Provider(own_vault)
    send_and_cancel(provider.caller, pieces(request_of(provider, load()[0])))
    eventually(lambda: own_vault.files("volumes"))
    own_vault.clock.advance(days=30)
    eventually(lambda: not own_vault.files("volumes"))


def test_upload_cancelled_over_and_over_keeps_no_memory(own_vault):
    """Each stream is cancelled with more than a mebibyte under way."""
    provider = Provider(own_vault)
    request = request_of(provider, load()[0])
    provider.stream(request)
    idle = own_vault.memory("VmRSS")
    for _ in range(PLACES):
        send_and_cancel(provider.caller, islice(pieces(request, CHUNK_BYTES), 20))
    eventually(lambda: own_vault.memory("VmRSS") < idle + (32 << 20))


def test_server_killed_amid_an_upload_keeps_nothing_of_it(own_vault):
    provider = Provider(own_vault)
    request = request_of(provider, load()[0])
    messages = list(pieces(request, CHUNK_BYTES))
    killed = threading.Event()

    def until_killed():
        yield from messages[:-1]
        own_vault.kill()
        killed.set()

    call = provider.caller.begin_upload(until_killed())
    assert killed.wait(DEADLINE_SECONDS)
    assert call.code() != grpc.StatusCode.OK
    own_vault.start()
    assert_nothing_is_there(provider, "killed")
    assert provider.stream(request).call_id == request.header.call_id
