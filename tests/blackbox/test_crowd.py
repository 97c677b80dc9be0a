"""Many uploads at once, of images that are held back whole until their metadata is removed: who finds no room is told so,
and nobody waits for ever."""

import threading
from itertools import islice

import grpc
import pytest
from idvault.v1 import resources_pb2 as api

from client import Refused, result
from provider import Provider, pieces
from specimens import load

SPECIMEN = load()[1]
CROWD = 12
ANSWER_SECONDS = 10  # alone each takes a fraction of one


@pytest.fixture
def streams():
    """Streams under way, which end with the test."""
    under_way = []
    yield under_way
    for stream in under_way:
        stream.cancel()


def taken_in(provider, requests, streams):
    """Those of the requests, sent all at once, for which there was room."""
    under_way = [provider.caller.begin_upload(pieces(request)) for request in requests]
    streams.extend(under_way)
    done = []
    for request, stream in zip(requests, under_way, strict=True):
        try:
            assert result(stream, ANSWER_SECONDS).record.parts
            done.append(request)
        except Refused as refusal:
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_UPLOADS")
    return done


def test_large_images_at_once_over_one_connection_are_taken_in(own_vault, streams):
    provider = Provider(own_vault, api.METADATA_POLICY_STRIP)
    waiting = [provider.large_request(SPECIMEN) for _ in range(CROWD)]
    while waiting:
        done = taken_in(provider, waiting, streams)
        assert done, "somebody always gets through"
        waiting = [request for request in waiting if request not in done]
    assert provider.retention().live_record_count == CROWD


def test_streams_that_stand_still_hold_up_nobody_else(own_vault, streams):
    """Each has said that a large image comes, and sends nothing of it."""
    idler, other = (Provider(own_vault, api.METADATA_POLICY_STRIP) for _ in range(2))
    over = threading.Event()

    def standing_still(sent):
        yield from islice(pieces(idler.large_request(SPECIMEN)), 2)
        sent.set()
        over.wait()

    try:
        for _ in range(CROWD):
            sent = threading.Event()
            streams.append(idler.caller.begin_upload(standing_still(sent)))
            assert sent.wait(ANSWER_SECONDS)
        streams.append(other.caller.begin_upload(pieces(other.request(SPECIMEN))))
        assert streams[-1].result(ANSWER_SECONDS).record.parts
    finally:
        over.set()
