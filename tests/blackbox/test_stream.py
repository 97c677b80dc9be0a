"""Uploads piece by piece: the same record as in one message, whatever the size of the pieces, and the same refusals."""

import threading
import uuid
from itertools import islice, pairwise

import pytest
from idvault.v1 import record_service_pb2 as records_api
from idvault.v1 import resources_pb2 as api

from provider import MIB, Provider, inline_part, part_pieces, pieces
from receipts import EVERYTHING, grant
from refusals import refuses
from specimens import load
from training import Epoch, assert_released, snapshot_of

Piece = records_api.UploadRecordRequest


def send_and_wait(caller, messages=()):
    """Sends `messages` and leaves the stream open: the vault has to answer to these alone."""
    answered = threading.Event()

    def until_answered():
        yield from messages
        answered.wait()

    try:
        return caller.records.UploadRecord(until_answered())
    finally:
        answered.set()


@pytest.mark.parametrize("specimen", load()[:5], ids=lambda specimen: specimen.subject_ref)
def test_streamed_record_is_as_any_other(provider, specimen):
    unary, streamed = provider.upload(specimen), provider.stream(provider.request(specimen))
    for record in (unary, streamed):
        assert provider.get(record) == record
    assert [part.name for part in streamed.parts] == [f"{streamed.name}/parts/{number}" for number in range(4)]
    for record in (unary, streamed):
        for field in ("name", "call_id", "consent"):
            record.ClearField(field)
        for part in record.parts:
            part.ClearField("name")
    assert streamed == unary


@pytest.mark.parametrize("chunk_bytes", [997, 4_096, 65_537, MIB - 1, MIB])
def test_fetched_are_the_bytes_streamed(provider, chunk_bytes):
    provider.stream(provider.request(load()[0]), chunk_bytes)
    (position,) = Epoch(provider.vault, snapshot_of(provider)).read_all().positions.values()
    assert_released(position, load()[0], EVERYTHING)


def test_pieces_of_one_part_may_differ_in_size(provider):
    request = provider.request(load()[1])
    messages = [Piece(header=request.header)]
    for part in request.parts:
        cuts = pairwise([0, 1, 2, 20_000, 20_001, len(part.data) - 1, len(part.data)])
        messages += part_pieces(part.header, [part.data[start:end] for start, end in cuts])
    provider.send(iter([*messages, Piece(attributes=request.attributes)]))
    (position,) = Epoch(provider.vault, snapshot_of(provider)).read_all().positions.values()
    assert_released(position, load()[1], EVERYTHING)


def test_attributes_alone_and_files_alone_are_records(provider):
    files, attributes = provider.request(load()[1]), provider.request(load()[1])
    files.ClearField("attributes")
    attributes.ClearField("parts")
    assert len(provider.stream(files).parts) == 3
    assert len(provider.stream(attributes).parts) == 1


def test_retry_through_either_method_is_one_upload(provider):
    for first, then in ((provider.create, provider.stream), (provider.stream, provider.create)):
        request = provider.request(load()[1])
        record = first(request)
        assert then(request) == first(request) == record
    assert provider.retention().live_record_count == 2


def test_retry_with_other_pieces_is_the_same_upload(provider):
    request = provider.request(load()[1])
    assert provider.stream(request, 10_000) == provider.stream(request, MIB)


def test_request_id_names_one_body_through_either_method(provider):
    request = provider.request(load()[1])
    record = provider.stream(request)
    request.attributes.sex = "X"
    refuses(lambda: provider.create(request), "REQUEST_ID_REUSED")
    refuses(lambda: provider.stream(request), "REQUEST_ID_REUSED")
    del request.parts[-1]
    refuses(lambda: provider.stream(request), "REQUEST_ID_REUSED")
    assert provider.get(record) == record


def test_call_id_is_unique_among_streams(provider):
    first, second = provider.request(load()[1]), provider.request(load()[2])
    second.header.call_id = first.header.call_id
    provider.create(first)
    refuses(lambda: provider.stream(second), "CALL_ID_EXISTS")


def _without_header(messages):
    del messages[0]


def _header_twice(messages):
    messages.insert(1, messages[0])


def _header_last(messages):
    messages.append(messages[0])


def _chunk_before_its_part(messages):
    messages[1], messages[2] = messages[2], messages[1]


def _attributes_first(messages):
    messages.insert(1, messages.pop())


def _attributes_twice(messages):
    messages.append(messages[-1])


def _part_after_attributes(messages):
    messages.append(messages[1])


def _chunk_after_attributes(messages):
    messages.append(messages[2])


def _empty_chunk(messages):
    messages.insert(2, Piece(chunk=b""))


def _empty_message(messages):
    messages.insert(1, Piece())


def _header_alone(messages):
    del messages[1:]


def _nothing(messages):
    messages.clear()


@pytest.mark.parametrize(
    "disorder",
    [
        _without_header,
        _header_twice,
        _header_last,
        _chunk_before_its_part,
        _attributes_first,
        _attributes_twice,
        _part_after_attributes,
        _chunk_after_attributes,
        _empty_chunk,
        _empty_message,
        _header_alone,
        _nothing,
    ],
)
def test_order_of_the_pieces_holds(provider, disorder):
    messages = list(pieces(provider.request(load()[1])))
    disorder(messages)
    refuses(lambda: provider.send(iter(messages)), "INVALID_FIELD")
    assert provider.retention().live_record_count == 0


def test_piece_is_at_most_one_mebibyte(provider):
    request = provider.request(load()[0])
    part = request.parts[0]
    part.data += bytes(MIB + 1 - len(part.data))
    part.header.size_bytes = MIB + 1
    refuses(lambda: provider.stream(request, MIB + 1), "INVALID_FIELD")


def test_declared_part_must_be_true_in_a_stream(provider):
    for field, value, reason in (
        ("crc32c", 1, "PART_CHECKSUM_MISMATCH"),
        ("size_bytes", 1, "PART_SIZE_MISMATCH"),
        ("media_type", "image/png", "PART_TYPE_MISMATCH"),
        ("media_type", "image/tiff", "INVALID_FIELD"),
        ("category", api.CATEGORY_ATTRIBUTES, "INVALID_FIELD"),
    ):
        request = provider.request(load()[1])
        setattr(request.parts[0].header, field, value)
        refuses(lambda request=request: provider.stream(request, 4_096), reason)
    assert provider.retention().live_record_count == 0


def test_empty_part_is_refused(provider):
    request = provider.request(load()[1])
    request.parts[1].CopyFrom(inline_part(api.CATEGORY_DOCUMENT_FRONT, "image/jpeg", b""))
    for upload in (provider.create, provider.stream):
        refuses(lambda upload=upload: upload(request), "INVALID_FIELD", "PART_SIZE_MISMATCH")


def test_part_that_stops_short_is_refused(provider):
    messages = list(pieces(provider.request(load()[1]), 50_000))
    del messages[3]
    refuses(lambda: provider.send(iter(messages)), "PART_SIZE_MISMATCH")
    refuses(lambda: provider.send(islice(messages, 3)), "PART_SIZE_MISMATCH")
    assert provider.retention().live_record_count == 0


@pytest.mark.parametrize(
    "media_type, mebibytes",
    [("image/jpeg", 10), ("image/png", 10), ("image/webp", 10), ("image/heic", 10)]
    + [("application/pdf", 20), ("video/mp4", 50), ("video/webm", 50)],
)
def test_part_too_large_is_refused_by_its_header(provider, media_type, mebibytes):
    request = provider.request(load()[1])
    messages = islice(pieces(request), 2)
    request.parts[0].header.media_type = media_type
    request.parts[0].header.size_bytes = mebibytes * MIB + 1
    refuses(lambda: send_and_wait(provider.caller, messages), "PART_TOO_LARGE")


def test_parts_are_at_most_sixteen(provider):
    request = provider.request(load()[1])
    for _ in range(13):
        request.parts.append(request.parts[0])
    refuses(lambda: provider.stream(request), "INVALID_FIELD")
    request.ClearField("attributes")
    assert len(provider.stream(request).parts) == 16


def test_consent_is_refused_before_any_part(provider):
    specimen, past = load()[1], int(provider.vault.clock.now.timestamp()) - 1_000
    unasked = [grant("VERIFY_IDENTITY", EVERYTHING)]
    for source, reason in (
        ({}, "CONSENT_RECEIPT_REQUIRED"),
        ({"consent": f"{provider.name}/consents/{uuid.uuid4()}"}, "NOT_FOUND"),
        ({"receipt": "nonsense"}, "CONSENT_MALFORMED"),
        ({"receipt": provider.receipt(specimen, unasked)}, "CONSENT_PURPOSE_NOT_GRANTED"),
        ({"receipt": provider.receipt(specimen, iat=past - 1, nbf=past - 1, exp=past)}, "CONSENT_EXPIRED"),
        ({"receipt": Provider(provider.vault).receipt(specimen, iss=provider.id)}, "CONSENT_SIGNATURE_INVALID"),
    ):
        header = provider.request(specimen).header
        header.ClearField("consent_source")
        header.MergeFrom(records_api.RecordHeader(**source))
        refuses(lambda header=header: send_and_wait(provider.caller, [Piece(header=header)]), reason)


def test_part_that_is_not_covered_is_refused_before_its_bytes(provider):
    request = provider.request(load()[1], provider.receipt(load()[1], [grant("TRAIN_DOCUMENT_OCR", EVERYTHING[1:])]))
    part = islice(pieces(request), 2)
    refuses(lambda: send_and_wait(provider.caller, part), "CONSENT_CATEGORY_NOT_COVERED")


def test_stranger_is_refused_before_a_word(provider):
    for stranger in ("workload/trainer", "person/olga"):
        refuses(lambda c=stranger: send_and_wait(provider.vault.caller(c)), "CALLER_NOT_ALLOWED")
    refuses(lambda: send_and_wait(provider.vault.caller(None)), "CALLER_UNKNOWN")


def test_tenant_streams_to_itself_only(provider):
    header = list(islice(pieces(provider.request(load()[1])), 1))
    refuses(lambda: send_and_wait(provider.vault.caller("tenant/other"), header), "CALLER_NOT_ALLOWED")
