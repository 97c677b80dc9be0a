"""What images say besides their pixels is stripped on the way in, unless the tenant keeps it."""

import random

import pytest
from idvault.v1 import resources_pb2 as api

from client import Refused
from images import TRACES, orientation, pixels, plain_jpeg, position, tagged_jpeg, tagged_png, tagged_webp
from provider import Provider, inline_part
from receipts import EVERYTHING
from refusals import refuses
from specimens import load
from training import Epoch, snapshot_of

STRIP, KEEP = api.METADATA_POLICY_STRIP, api.METADATA_POLICY_KEEP
STRIPPED, KEPT = api.METADATA_TREATMENT_STRIPPED, api.METADATA_TREATMENT_KEPT
UNTOUCHED, UNSPECIFIED = api.METADATA_TREATMENT_UNTOUCHED, api.METADATA_TREATMENT_UNSPECIFIED
FACE = api.CATEGORY_FACE_IMAGE
LOCATION, EXIF = api.METADATA_KIND_LOCATION, api.METADATA_KIND_EXIF
XMP, TEXT, TRAILER = api.METADATA_KIND_XMP, api.METADATA_KIND_TEXT, api.METADATA_KIND_TRAILER
JPEG, PNG, WEBP = "image/jpeg", "image/png", "image/webp"

TAGGED = {
    "jpeg": (JPEG, tagged_jpeg(), [LOCATION, EXIF, XMP, TEXT]),
    "progressive jpeg": (JPEG, tagged_jpeg(progressive=True), [LOCATION, EXIF, XMP, TEXT]),
    "grey jpeg": (JPEG, tagged_jpeg("L"), [LOCATION, EXIF, XMP, TEXT]),
    "cmyk jpeg": (JPEG, tagged_jpeg("CMYK"), [LOCATION, EXIF, XMP, TEXT]),
    "rgb jpeg": (JPEG, tagged_jpeg(keep_rgb=True), [LOCATION, EXIF, XMP, TEXT]),
    "restarting jpeg": (JPEG, tagged_jpeg(restart_marker_blocks=1), [LOCATION, EXIF, XMP, TEXT]),
    "jpeg and more": (JPEG, tagged_jpeg() + b"WGS-84 behind", [LOCATION, EXIF, XMP, TEXT, TRAILER]),
    "png": (PNG, tagged_png(), [LOCATION, EXIF, TEXT]),
    "palette png": (PNG, tagged_png("RGB", convert="P"), [LOCATION, EXIF, TEXT]),
    "deep png": (PNG, tagged_png("L", convert="I;16"), [LOCATION, EXIF, TEXT]),
    "png and more": (PNG, tagged_png() + b"WGS-84 behind", [LOCATION, EXIF, TEXT, TRAILER]),
    "webp": (WEBP, tagged_webp(), [LOCATION, EXIF, XMP]),
    "lossless webp": (WEBP, tagged_webp(lossless=True), [LOCATION, EXIF, XMP]),
    "transparent webp": (WEBP, tagged_webp("RGBA"), [LOCATION, EXIF, XMP]),
}


def with_face(provider, media_type, data):
    """An upload whose face is this file, and nothing else but attributes."""
    request = provider.request(load()[2])
    del request.parts[:]
    request.parts.append(inline_part(FACE, media_type, data))
    return request


def fetched_face(provider):
    (place,) = Epoch(provider.vault, snapshot_of(provider)).read_all().positions.values()
    return place.file(FACE)


def treatment(part):
    return part.metadata_treatment, list(part.metadata_removed)


@pytest.fixture(params=["CreateRecord", "UploadRecord"])
def upload(request):
    return Provider.create if request.param == "CreateRecord" else Provider.stream


@pytest.mark.parametrize("kind", TAGGED)
def test_all_but_the_picture_goes(shared_vault, upload, kind):
    media_type, sent, removed = TAGGED[kind]
    provider = Provider(shared_vault, STRIP)
    record = upload(provider, with_face(provider, media_type, sent))
    assert treatment(record.parts[0]) == (STRIPPED, removed)
    assert treatment(record.parts[1]) == (UNSPECIFIED, [])
    assert provider.get(record) == record
    got = fetched_face(provider)
    assert len(got) == record.parts[0].size_bytes < len(sent)
    assert position(sent) and not position(got)
    assert not [trace for trace in TRACES if trace in got]
    assert pixels(got) == pixels(sent)
    assert orientation(got) == orientation(sent) != 0


@pytest.mark.parametrize("kind", TAGGED)
def test_kept_file_is_the_file_sent(shared_vault, upload, kind):
    media_type, sent, _ = TAGGED[kind]
    provider = Provider(shared_vault, KEEP)
    record = upload(provider, with_face(provider, media_type, sent))
    assert treatment(record.parts[0]) == (KEPT, [])
    assert treatment(record.parts[1]) == (UNSPECIFIED, [])
    assert provider.get(record) == record
    assert fetched_face(provider) == sent


def test_stripping_is_the_default_and_stripped_files_stay(shared_vault, upload):
    once = Provider(shared_vault, api.METADATA_POLICY_UNSPECIFIED)
    record = upload(once, with_face(once, JPEG, tagged_jpeg()))
    assert treatment(record.parts[0]) == (STRIPPED, [LOCATION, EXIF, XMP, TEXT])
    twice = Provider(shared_vault, STRIP)
    clean = fetched_face(once)
    again = upload(twice, with_face(twice, JPEG, clean))
    assert treatment(again.parts[0]) == (STRIPPED, [])
    assert fetched_face(twice) == clean


def test_picture_without_metadata_loses_nothing(shared_vault, upload):
    provider = Provider(shared_vault, STRIP)
    record = upload(provider, with_face(provider, JPEG, plain_jpeg()))
    assert treatment(record.parts[0]) == (STRIPPED, [])
    assert fetched_face(provider) == plain_jpeg()


@pytest.mark.parametrize("policy, expected", [(STRIP, UNTOUCHED), (KEEP, KEPT)], ids=["strip", "keep"])
def test_pdf_is_left_alone(shared_vault, upload, policy, expected):
    provider, specimen = Provider(shared_vault, policy), load()[4]
    record = upload(provider, provider.request(specimen))
    (number,) = (n for n, file in enumerate(specimen.files) if file.media_type == "application/pdf")
    assert treatment(record.parts[number]) == (expected, [])
    (place,) = Epoch(shared_vault, snapshot_of(provider, categories=EVERYTHING)).read_all().positions.values()
    assert place.parts[number].data == specimen.files[number].data


def test_retry_is_known_by_what_was_sent(shared_vault, upload):
    provider = Provider(shared_vault, STRIP)
    request = with_face(provider, JPEG, tagged_jpeg())
    record = upload(provider, request)
    assert provider.create(request) == provider.stream(request) == record


@pytest.mark.parametrize("media_type, sent", [(JPEG, tagged_jpeg()), (PNG, tagged_png()), (WEBP, tagged_webp())])
def test_an_image_that_cannot_be_stripped_is_refused(shared_vault, upload, media_type, sent):
    provider = Provider(shared_vault, STRIP)
    for size in (16, len(sent) // 3, len(sent) - 40):
        refuses(lambda s=size: upload(provider, with_face(provider, media_type, sent[:s])), "PART_TYPE_MISMATCH")
    assert provider.retention().live_record_count == 0


def damaged(chance, data):
    """The file with a few of its bits turned, cut off at times."""
    data = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data[: chance.randrange(12, len(data))] if chance.random() < 0.2 else data)


def test_damaged_images_are_taken_in_or_refused(shared_vault):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    provider, taken = Provider(shared_vault, STRIP), 0
    kinds = list(TAGGED.values())
    for number in range(300):
        media_type, sent, _ = chance.choice(kinds)
        request = with_face(provider, media_type, damaged(chance, sent))
        try:
            chance.choice([provider.create, provider.stream])(request)
            taken += 1
        except Refused as refusal:
            assert refusal.reason == "PART_TYPE_MISMATCH", f"seed {seed}, image {number}: {refusal}"
    assert provider.retention().live_record_count == taken, f"seed {seed}"
    assert len(Epoch(shared_vault, snapshot_of(provider)).read_all().positions) == taken, f"seed {seed}"
