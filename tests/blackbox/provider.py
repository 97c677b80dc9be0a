"""An eKYC provider: its tenant, its receipt key, its uploads."""

import uuid

from google_crc32c import value as crc32c
from idvault.v1 import consent_service_pb2 as consents_api
from idvault.v1 import record_service_pb2 as records_api
from idvault.v1 import resources_pb2 as api
from idvault.v1 import retention_service_pb2 as retention_api
from idvault.v1 import tenant_service_pb2 as tenants_api

from images import large_jpeg
from receipts import EVERYTHING, Signer, claims, grant, jwks
from server import OPERATOR

MIB = 1 << 20
OCR = (grant("TRAIN_DOCUMENT_OCR", EVERYTHING),)
LIVENESS = (grant("TRAIN_LIVENESS", ("LIVENESS_VIDEO", *EVERYTHING)),)


class Provider:
    """A tenant that the operator has just created."""

    def __init__(self, vault, metadata_policy=api.METADATA_POLICY_KEEP, signer=Signer):
        self.vault = vault
        self.id = f"acme-{uuid.uuid4().hex[:8]}"
        self.name = f"tenants/{self.id}"
        self.signer = signer("receipts-1")
        proofs = [self.signer.proof(self.id)]
        tenant = api.Tenant(jwks=jwks(self.signer), jwks_proofs=proofs, metadata_policy=metadata_policy)
        request = tenants_api.CreateTenantRequest(tenant_id=self.id, tenant=tenant)
        self.tenant = vault.caller(OPERATOR).tenants.CreateTenant(request).tenant

    @property
    def caller(self):
        return self.vault.caller(f"tenant/{self.id}")

    def _calls(self, by):
        """The person `by` calls, or else the tenant."""
        return self.vault.caller(by) if by else self.caller

    def update(self, by=None, jwks_proofs=(), **fields):
        """Changes these fields of the tenant; the tenant does, or the person `by`."""
        tenant = api.Tenant(name=self.name, jwks_proofs=jwks_proofs, **fields)
        request = tenants_api.UpdateTenantRequest(tenant=tenant, update_mask={"paths": list(fields)})
        return self._calls(by).tenants.UpdateTenant(request).tenant

    def receipt(self, specimen, grants=OCR, now=None, **changed):
        return self.signer.sign(claims(self.id, now or self.vault.clock.now, specimen, list(grants)) | changed)

    def request(self, specimen, receipt=None):
        """An upload of the whole specimen, as yet unsent."""
        header = records_api.RecordHeader(
            parent=self.name,
            request_id=str(uuid.uuid4()),
            call_id=f"call-{uuid.uuid4().hex[:16]}",
            receipt=receipt or self.receipt(specimen),
        )
        header.collect_time.FromDatetime(self.vault.clock.now)
        parts = [inline_part(file.category, file.media_type, file.data) for file in specimen.files]
        return records_api.CreateRecordRequest(header=header, parts=parts, attributes=specimen.attributes)

    def large_request(self, specimen):
        """An upload with a face that no window holds: whoever has sent it all knows that it has begun."""
        request = self.request(specimen)
        request.parts[0].CopyFrom(inline_part(api.CATEGORY_FACE_IMAGE, "image/jpeg", large_jpeg()))
        return request

    def create(self, request):
        return self.caller.records.CreateRecord(request).record

    def stream(self, request, chunk_bytes=MIB):
        return self.send(pieces(request, chunk_bytes))

    def send(self, messages):
        return self.caller.records.UploadRecord(messages).record

    def upload(self, specimen, grants=OCR):
        return self.create(self.request(specimen, self.receipt(specimen, grants)))

    def get(self, record):
        return self.caller.records.GetRecord(records_api.GetRecordRequest(name=record.name)).record

    def shred(self, record):
        return self.caller.records.ShredRecord(records_api.ShredRecordRequest(name=record.name)).destruction

    def withdraw(self, record, purposes=(), by=None):
        """Takes back the record's consent; the tenant does, or the person `by`."""
        request = consents_api.WithdrawConsentRequest(name=record.consent, purposes=purposes)
        return self._calls(by).consents.WithdrawConsent(request)

    def consent(self, record):
        return self.caller.consents.GetConsent(consents_api.GetConsentRequest(name=record.consent)).consent

    def retention(self):
        return self.caller.retention.GetRetentionStatus(retention_api.GetRetentionStatusRequest(parent=self.name))


def inline_part(category, media_type, data):
    header = records_api.PartHeader(category=category, media_type=media_type, size_bytes=len(data), crc32c=crc32c(data))
    return records_api.InlinePart(header=header, data=data)


def pieces(request, chunk_bytes=MIB):
    """The messages that stream what `request` says at once."""
    yield records_api.UploadRecordRequest(header=request.header)
    for part in request.parts:
        data = part.data
        yield from part_pieces(part.header, (data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)))
    if request.HasField("attributes"):
        yield records_api.UploadRecordRequest(attributes=request.attributes)


def part_pieces(header, chunks):
    """The messages that stream one part."""
    yield records_api.UploadRecordRequest(part=header)
    for chunk in chunks:
        yield records_api.UploadRecordRequest(chunk=chunk)
