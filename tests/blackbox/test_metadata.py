"""What images say besides their pixels is stripped on the way in, unless the tenant keeps it."""

import pytest
from idvault.v1 import resources_pb2 as api

from provider import Provider, inline_part
from refusals import refuses
from specimens import load
from training import Epoch, snapshot_of

EXIF = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08 GPS 1.3521N 103.8"


def tagged(jpeg):
    """A JPEG with a position in an APP1 segment after its first marker."""
    return jpeg[:2] + b"\xff\xe1" + (2 + len(EXIF)).to_bytes(2, "big") + EXIF + jpeg[2:]


@pytest.mark.parametrize(
    "policy, stripped",
    [(api.METADATA_POLICY_UNSPECIFIED, True), (api.METADATA_POLICY_STRIP, True), (api.METADATA_POLICY_KEEP, False)],
)
def test_a_position_in_an_image_goes_unless_kept(shared_vault, policy, stripped):
    provider, specimen = Provider(shared_vault, policy), load()[2]
    face = next(file for file in specimen.files if file.category == api.CATEGORY_FACE_IMAGE)
    sent = tagged(face.data)
    request = provider.request(specimen)
    request.parts[0].CopyFrom(inline_part(face.category, face.media_type, sent))
    record = provider.create(request)
    epoch = Epoch(shared_vault, snapshot_of(provider)).read_all()
    (position,) = epoch.positions.values()
    got = position.file(api.CATEGORY_FACE_IMAGE)
    assert (b"GPS 1.3521N" in got) is not stripped
    assert len(got) == record.parts[0].size_bytes
    assert provider.create(request) == record  # what was declared identifies the request, not what was kept
    if not stripped:
        assert got == sent


def test_an_image_that_cannot_be_stripped_is_refused(shared_vault):
    provider, specimen = Provider(shared_vault, api.METADATA_POLICY_STRIP), load()[2]
    request = provider.request(specimen)
    face = specimen.files[0]
    request.parts[0].CopyFrom(inline_part(face.category, face.media_type, face.data[:-4000]))
    refuses(lambda: provider.create(request), "PART_TYPE_MISMATCH")
