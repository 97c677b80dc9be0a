"""The largest records: taken in and given back piece by piece, in a server that stays small."""

import functools
import hashlib
import io
import random
from itertools import chain

import pytest
from google_crc32c import extend
from idvault.v1 import record_service_pb2 as records_api
from idvault.v1 import resources_pb2 as api
from idvault.v1 import training_service_pb2 as training_api

from images import MP4_START, large_jpeg, pixels
from provider import LIVENESS, MIB, Provider, inline_part, part_pieces
from refusals import refuses
from server import WORKLOAD
from specimens import load
from training import snapshot_of

VIDEO_MIBS = 50
MEMORY_BYTES = 64 * MIB


def video():
    """An MP4 by its first bytes, noise for the rest: a mebibyte at a time, the same each time."""
    chance = random.Random(50)
    yield MP4_START + chance.randbytes(MIB - len(MP4_START))
    for _ in range(1, VIDEO_MIBS):
        yield chance.randbytes(MIB)


@functools.cache
def video_header():
    checksum = functools.reduce(extend, video(), 0)
    return records_api.PartHeader(
        category=api.CATEGORY_LIVENESS_VIDEO, media_type="video/mp4", size_bytes=VIDEO_MIBS * MIB, crc32c=checksum
    )


def messages(provider):
    """A record of the video and the picture."""
    header = provider.request(load()[1], provider.receipt(load()[1], LIVENESS)).header
    part = inline_part(api.CATEGORY_FACE_IMAGE, "image/jpeg", large_jpeg())
    chunks = (large_jpeg()[at : at + MIB] for at in range(0, len(large_jpeg()), MIB))
    return chain(
        [records_api.UploadRecordRequest(header=header)],
        part_pieces(video_header(), video()),
        part_pieces(part.header, chunks),
    )


def digest(chunks):
    whole = hashlib.sha256()
    for chunk in chunks:
        whole.update(chunk)
    return whole.hexdigest()


def fetch(provider):
    """What the one record of the tenant released: the digest of its video, and its picture."""
    snapshot = snapshot_of(provider, purpose="TRAIN_LIVENESS", categories=("LIVENESS_VIDEO", "FACE_IMAGE"))
    request = training_api.FetchRecordsRequest(snapshot=snapshot.name, world_size=1)
    seen, face, sizes = hashlib.sha256(), io.BytesIO(), [0, 0]
    for message in provider.vault.caller(WORKLOAD).fetch(request):
        for item in message.items:
            assert item.chunk.offset == sizes[item.chunk.part]
            sizes[item.chunk.part] += len(item.chunk.data)
            if item.chunk.category == api.CATEGORY_LIVENESS_VIDEO:
                seen.update(item.chunk.data)
            else:
                face.write(item.chunk.data)
    return seen.hexdigest(), face.getvalue()


def with_peak(vault, call):
    """What `call` gives, and the bytes of memory that the server took for it above what it has when idle."""
    idle = vault.memory("VmRSS")
    vault.forget_peak_memory()
    return call(), vault.memory("VmHWM") - idle


@pytest.mark.parametrize("policy", [api.METADATA_POLICY_STRIP, api.METADATA_POLICY_KEEP], ids=["strip", "keep"])
def test_a_record_of_60_mebibytes_passes_through_a_small_server(own_vault, policy):
    warm, provider = Provider(own_vault, policy), Provider(own_vault, policy)
    warm.stream(warm.request(load()[1]))
    upload = messages(provider)
    record, taking_in = with_peak(own_vault, lambda: provider.send(upload))
    (film, face), fetching = with_peak(own_vault, lambda: fetch(provider))
    assert film == digest(video())
    assert record.parts[0].size_bytes == VIDEO_MIBS * MIB and record.parts[1].size_bytes == len(face)
    if policy == api.METADATA_POLICY_KEEP:
        assert face == large_jpeg()
    else:
        assert b"where and when" not in face
        assert pixels(face) == pixels(large_jpeg())
    assert taking_in < MEMORY_BYTES and fetching < MEMORY_BYTES, (taking_in, fetching)


def test_a_record_is_at_most_64_mebibytes(own_vault):
    """Another 5 mebibytes after a whole one; the vault says so by the part's header, or at its bytes."""
    provider = Provider(own_vault, api.METADATA_POLICY_KEEP)
    more = inline_part(api.CATEGORY_DOCUMENT_FRONT, "image/jpeg", large_jpeg()[: 5 * MIB])
    chunks = (more.data[at : at + MIB] for at in range(0, len(more.data), MIB))
    too_much = chain(messages(provider), part_pieces(more.header, chunks))
    refuses(lambda: provider.send(too_much), "PART_TOO_LARGE", "INVALID_FIELD")
    assert provider.retention().live_record_count == 0
