"""Uploads: what is taken in, what is refused and why, and that a retry is one upload."""

import re

import pytest
from idvault.v1 import record_service_pb2 as records_api
from idvault.v1 import resources_pb2 as api
from idvault.v1 import tenant_service_pb2 as tenants_api

from provider import Provider, inline_part
from receipts import EVERYTHING, FILES, P256Signer, Signer, grant, jwks
from refusals import refuses
from server import OPERATOR, VAULT_ID
from specimens import load

UUID_V7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_tenant_is_created_once(provider):
    assert provider.tenant.name == provider.name
    assert provider.tenant.receipt_audience == VAULT_ID
    shown = provider.caller.tenants.GetTenant(tenants_api.GetTenantRequest(name=provider.name)).tenant
    assert shown == provider.tenant
    again = tenants_api.CreateTenantRequest(tenant_id=provider.id, tenant=api.Tenant(jwks=jwks(provider.signer)))
    refuses(lambda: provider.vault.caller(OPERATOR).tenants.CreateTenant(again), "TENANT_EXISTS")
    refuses(lambda: provider.caller.tenants.CreateTenant(again), "CALLER_NOT_ALLOWED")


@pytest.mark.parametrize("specimen", load(), ids=lambda specimen: specimen.subject_ref)
def test_every_specimen_is_taken_in(provider, specimen):
    request = provider.request(specimen)
    record = provider.create(request)
    parent, _, record_id = record.name.rpartition("/")
    assert parent == f"{provider.name}/records" and UUID_V7.fullmatch(record_id)
    assert record.call_id == request.header.call_id
    assert record.upload_time.ToDatetime() == provider.vault.clock.now.replace(tzinfo=None)
    lifetime = record.expire_time.ToDatetime() - record.upload_time.ToDatetime()
    assert 29 <= lifetime.total_seconds() / 86_400 < 30
    assert record.expire_time.seconds % 3_600 == 0 and record.expire_time.nanos == 0
    shown = [(part.category, part.media_type, part.size_bytes) for part in record.parts[:-1]]
    assert shown == [(file.category, file.media_type, len(file.data)) for file in specimen.files]
    assert record.parts[-1].category == api.CATEGORY_ATTRIBUTES
    assert [part.name for part in record.parts] == [f"{record.name}/parts/{number}" for number in range(4)]
    assert provider.get(record) == record


def test_retry_gives_the_same_record(provider):
    request = provider.request(load()[1])
    assert provider.create(request) == provider.create(request)
    assert provider.retention().live_record_count == 1


def _other_bytes(request):
    file = request.parts[0]
    data = file.data[:-1] + bytes([file.data[-1] ^ 1])
    file.CopyFrom(inline_part(file.header.category, file.header.media_type, data))


def _other_attribute(request):
    request.attributes.sex = "X"


def _fewer_parts(request):
    del request.parts[-1]


def _other_call(request):
    request.header.call_id += "-2"


@pytest.mark.parametrize("change", [_other_bytes, _other_attribute, _fewer_parts, _other_call])
def test_request_id_names_one_body(provider, change):
    request = provider.request(load()[1])
    provider.create(request)
    change(request)
    refuses(lambda: provider.create(request), "REQUEST_ID_REUSED")


def test_call_id_is_unique(provider):
    first, second = provider.request(load()[1]), provider.request(load()[2])
    second.header.call_id = first.header.call_id
    provider.create(first)
    refuses(lambda: provider.create(second), "CALL_ID_EXISTS")


@pytest.mark.parametrize(
    "grants, reason",
    [
        ([grant("VERIFY_IDENTITY", EVERYTHING)], "CONSENT_PURPOSE_NOT_GRANTED"),
        ([grant("TRAIN_DOCUMENT_OCR", EVERYTHING, decision="refused")], "CONSENT_PURPOSE_NOT_GRANTED"),
        ([grant("TRAIN_DOCUMENT_OCR", EVERYTHING, recipients=[])], "CONSENT_PURPOSE_NOT_GRANTED"),
        ([grant("TRAIN_DOCUMENT_OCR", FILES)], "CONSENT_CATEGORY_NOT_COVERED"),
        ([grant("TRAIN_DOCUMENT_OCR", EVERYTHING[1:])], "CONSENT_CATEGORY_NOT_COVERED"),
        ([grant("TRAIN_DOCUMENT_OCR", EVERYTHING, consent_type="expressed")], "CONSENT_EXPLICIT_REQUIRED"),
    ],
    ids=["no training purpose", "training refused", "nobody", "fields not covered", "face not covered", "not explicit"],
)
def test_consent_must_cover_the_upload(provider, grants, reason):
    refuses(lambda: provider.upload(load()[1], grants), reason)
    assert provider.retention().live_record_count == 0


def test_receipt_must_be_there_and_signed_by_the_tenant(provider):
    request = provider.request(load()[1])
    request.header.ClearField("receipt")
    refuses(lambda: provider.create(request), "CONSENT_RECEIPT_REQUIRED")
    provider.signer = Signer("receipts-1")
    refuses(lambda: provider.upload(load()[1]), "CONSENT_SIGNATURE_INVALID")


def test_declared_part_must_be_true(provider):
    for field, value, reason in (
        ("crc32c", 1, "PART_CHECKSUM_MISMATCH"),
        ("size_bytes", 1, "PART_SIZE_MISMATCH"),
        ("media_type", "image/png", "PART_TYPE_MISMATCH"),
    ):
        request = provider.request(load()[1])
        setattr(request.parts[0].header, field, value)
        refuses(lambda request=request: provider.create(request), reason)
    assert provider.retention().live_record_count == 0


def test_others_see_nothing(provider):
    record = provider.upload(load()[1])
    show = records_api.GetRecordRequest(name=record.name)
    missing = records_api.GetRecordRequest(name=f"{record.name[:-1]}{'0' if record.name[-1] != '0' else '1'}")
    for caller in ("tenant/other", "workload/trainer"):
        for request in (show, missing):
            refuses(lambda c=caller, r=request: provider.vault.caller(c).records.GetRecord(r), "CALLER_NOT_ALLOWED")
    refuses(lambda: provider.vault.caller(None).records.GetRecord(show), "CALLER_UNKNOWN")
    refuses(lambda: provider.caller.records.GetRecord(missing), "RECORD_GONE")


@pytest.mark.parametrize("upload", [Provider.create, Provider.stream], ids=["CreateRecord", "UploadRecord"])
def test_nothing_lies_open_on_disk(provider, upload):
    specimen = load()[0]
    upload(provider, provider.request(specimen))
    face = specimen.files[0].data
    pieces = [face[start : start + 32] for start in range(0, len(face) - 32, 4_096)]
    marks = [piece for piece in pieces if len(set(piece)) > 16]
    assert marks
    marks += [
        specimen.attributes.id_number.encode(),
        specimen.attributes.mrz[1].encode(),
        specimen.subject_ref.encode(),
    ]
    written = provider.vault.files() + [provider.vault.log]
    assert any(path.parts[-3] == "volumes" for path in written)
    for path in written:
        content = path.read_bytes()
        assert not any(mark in content for mark in marks), path


def test_receipts_signed_with_p256_are_as_good(shared_vault):
    specimen = load()[0]
    provider = Provider(shared_vault, signer=P256Signer)
    for _ in range(8):  # ECDSA gives the higher of its two numbers half of the time
        provider.upload(specimen)
    assert provider.retention().live_record_count == 8
    provider.signer = P256Signer("receipts-1")
    refuses(lambda: provider.upload(specimen), "CONSENT_SIGNATURE_INVALID")
