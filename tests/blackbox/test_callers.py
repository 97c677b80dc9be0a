"""Every method of every service: who may call it, and who learns nothing."""

import importlib
import pkgutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import idvault.v1
import pytest
from idvault.v1 import consent_service_pb2 as consents_api
from idvault.v1 import record_service_pb2 as records_api
from idvault.v1 import resources_pb2 as api
from idvault.v1 import retention_service_pb2 as retention_api
from idvault.v1 import tenant_service_pb2 as tenants_api
from idvault.v1 import training_service_pb2 as training_api

from provider import pieces
from receipts import jwks
from refusals import refuses
from server import MODEL_OWNER, OPERATOR, PRIVACY_OFFICER, REQUESTER, WORKLOAD
from specimens import load
from training import activate, draft, make_spec, submit, take_snapshot

TENANT = "the tenant"
SPECIMEN = load()[1]
OUTSIDERS = ("person/anna", "person/sam")  # an auditor, and one without any role
STRANGERS = ("tenant/other", "workload/other", *OUTSIDERS)
CAST = (TENANT, OPERATOR, REQUESTER, PRIVACY_OFFICER, MODEL_OWNER, WORKLOAD, *STRANGERS)
APPROVERS = (PRIVACY_OFFICER, MODEL_OWNER, REQUESTER)
ABSENT = "01890000-0000-7000-8000-000000000000"
SERVICES = {
    "ConsentService": "consents",
    "RecordService": "records",
    "RetentionService": "retention",
    "TenantService": "tenants",
    "TrainingService": "training",
}


@dataclass(frozen=True)
class Rpc:
    """A request that succeeds for each of the callers, and for nobody else. REQUESTER is a privacy officer as well, and
    PRIVACY_OFFICER a model owner."""

    request: Callable[[Any], Any]
    callers: tuple[str, ...]


def _create_tenant(provider):
    new = f"new-{uuid.uuid4().hex[:8]}"
    tenant = api.Tenant(jwks=jwks(provider.signer), jwks_proofs=[provider.signer.proof(new)])
    return tenants_api.CreateTenantRequest(tenant_id=new, tenant=tenant)


def _shred_tenant(provider):
    """Of a tenant made for it: each time the word of one person."""
    tenant = provider.vault.caller(OPERATOR).tenants.CreateTenant(_create_tenant(provider)).tenant
    return retention_api.ShredTenantRequest(name=tenant.name)


def _update_tenant(provider):
    tenant = api.Tenant(name=provider.name)
    return tenants_api.UpdateTenantRequest(tenant=tenant, update_mask={"paths": ["key_revocations"]})


def _draft(provider):
    return draft(provider.vault, make_spec(provider))


def _submitted(provider):
    return submit(provider.vault, _draft(provider))


def _active(provider):
    return activate(provider.vault, make_spec(provider))


def _snapshot(provider):
    provider.upload(SPECIMEN)
    return take_snapshot(provider.vault, _active(provider))


def _approve(provider):
    job, role = _submitted(provider), api.APPROVER_ROLE_PRIVACY_OFFICER
    return training_api.ApproveTrainingJobRequest(name=job.name, spec_sha256=job.spec_sha256, role=role)


def _create_job(provider):
    return training_api.CreateTrainingJobRequest(request_id=str(uuid.uuid4()), spec=make_spec(provider))


RPCS = {
    "TenantService.CreateTenant": Rpc(_create_tenant, (OPERATOR,)),
    "TenantService.GetTenant": Rpc(lambda p: tenants_api.GetTenantRequest(name=p.name), (OPERATOR, TENANT)),
    "TenantService.ListTenants": Rpc(lambda p: tenants_api.ListTenantsRequest(), (OPERATOR,)),
    "TenantService.UpdateTenant": Rpc(_update_tenant, (TENANT, OPERATOR)),
    "RecordService.CreateRecord": Rpc(lambda p: p.request(SPECIMEN), (TENANT,)),
    "RecordService.UploadRecord": Rpc(lambda p: list(pieces(p.request(SPECIMEN))), (TENANT,)),
    "RecordService.ListRecords": Rpc(lambda p: records_api.ListRecordsRequest(parent=p.name), (TENANT,)),
    "RecordService.GetRecord": Rpc(lambda p: records_api.GetRecordRequest(name=p.upload(SPECIMEN).name), (TENANT,)),
    "RecordService.ShredRecord": Rpc(lambda p: records_api.ShredRecordRequest(name=p.upload(SPECIMEN).name), (TENANT,)),
    "ConsentService.RegisterConsent": Rpc(
        lambda p: consents_api.RegisterConsentRequest(parent=p.name, receipt=p.receipt(SPECIMEN)),
        (TENANT, PRIVACY_OFFICER, REQUESTER),
    ),
    "ConsentService.GetConsent": Rpc(
        lambda p: consents_api.GetConsentRequest(name=p.upload(SPECIMEN).consent),
        (TENANT, PRIVACY_OFFICER, REQUESTER),
    ),
    "ConsentService.ListConsents": Rpc(
        lambda p: consents_api.ListConsentsRequest(parent=p.name),
        (TENANT, PRIVACY_OFFICER, REQUESTER),
    ),
    "ConsentService.WithdrawConsent": Rpc(
        lambda p: consents_api.WithdrawConsentRequest(name=p.upload(SPECIMEN).consent),
        (TENANT, PRIVACY_OFFICER, REQUESTER),
    ),
    "ConsentService.EraseSubject": Rpc(
        lambda p: consents_api.EraseSubjectRequest(parent=p.name, subject_ref="somebody"),
        (TENANT, PRIVACY_OFFICER, REQUESTER),
    ),
    "RetentionService.GetRetentionStatus": Rpc(
        lambda p: retention_api.GetRetentionStatusRequest(parent=p.name),
        (TENANT, OPERATOR, PRIVACY_OFFICER, REQUESTER),
    ),
    "RetentionService.ListCertificates": Rpc(
        lambda p: retention_api.ListCertificatesRequest(parent=p.name),
        (TENANT, OPERATOR, PRIVACY_OFFICER, REQUESTER),
    ),
    "RetentionService.GetCertificate": Rpc(
        lambda p: retention_api.GetCertificateRequest(name=p.shred(p.upload(SPECIMEN)).certificates[0]),
        (TENANT, OPERATOR, PRIVACY_OFFICER, REQUESTER),
    ),
    "RetentionService.ShredTenant": Rpc(_shred_tenant, (OPERATOR, PRIVACY_OFFICER, REQUESTER)),
    "TrainingService.CreateTrainingJob": Rpc(_create_job, (REQUESTER,)),
    "TrainingService.GetTrainingJob": Rpc(
        lambda p: training_api.GetTrainingJobRequest(name=_draft(p).name),
        (*APPROVERS, WORKLOAD),
    ),
    "TrainingService.ListTrainingJobs": Rpc(lambda p: training_api.ListTrainingJobsRequest(), APPROVERS),
    "TrainingService.SubmitTrainingJob": Rpc(
        lambda p: training_api.SubmitTrainingJobRequest(name=_draft(p).name), (REQUESTER,)
    ),
    "TrainingService.ApproveTrainingJob": Rpc(_approve, (PRIVACY_OFFICER,)),
    "TrainingService.RevokeTrainingJob": Rpc(
        lambda p: training_api.RevokeTrainingJobRequest(name=_active(p).name, reason="no longer needed"),
        APPROVERS,
    ),
    "TrainingService.CreateSnapshot": Rpc(
        lambda p: training_api.CreateSnapshotRequest(parent=_active(p).name, request_id=str(uuid.uuid4())),
        (*APPROVERS, WORKLOAD),
    ),
    "TrainingService.GetSnapshot": Rpc(
        lambda p: training_api.GetSnapshotRequest(name=_snapshot(p).name),
        (*APPROVERS, WORKLOAD),
    ),
    "TrainingService.FetchRecords": Rpc(
        lambda p: training_api.FetchRecordsRequest(snapshot=_snapshot(p).name, world_size=1),
        (WORKLOAD,),
    ),
    "TrainingService.ListReleases": Rpc(
        lambda p: training_api.ListReleasesRequest(parent=p.upload(SPECIMEN).name),
        (TENANT, PRIVACY_OFFICER, REQUESTER),
    ),
}


def call(provider, by, rpc, request):
    caller = provider.caller if by == TENANT else provider.vault.caller(by)
    if rpc == "TrainingService.FetchRecords":
        return list(caller.fetch(request))
    service, _, method = rpc.partition(".")
    asked = iter(request) if isinstance(request, list) else request
    return getattr(getattr(caller, SERVICES[service]), method)(asked)


def about_nothing(request):
    """The same request about something that does not exist; the request itself where it is about nothing that does."""
    if isinstance(request, list):
        about_nothing(request[0].header)
    elif hasattr(request, "header"):
        about_nothing(request.header)
    elif isinstance(request, tenants_api.UpdateTenantRequest):
        about_nothing(request.tenant)
    else:
        for field in {"name", "parent", "snapshot"} & set(request.DESCRIPTOR.fields_by_name):
            parent, _, own = getattr(request, field).rpartition("/")
            setattr(request, field, f"{parent}/{'absent' if parent == 'tenants' else ABSENT}")
    return request


def strangers(rpc):
    known = set(RPCS[rpc].callers)
    if rpc == "TrainingService.ApproveTrainingJob":
        known.add(REQUESTER)  # refused as well, with a reason of its own
    return [caller for caller in CAST if caller not in known]


@pytest.fixture(params=RPCS)
def rpc(request):
    return request.param


def test_every_method_is_tried():
    modules = [module.name for module in pkgutil.iter_modules(idvault.v1.__path__) if module.name.endswith("_pb2")]
    files = [importlib.import_module(f"idvault.v1.{module}").DESCRIPTOR for module in modules]
    services = [service for file in files for service in file.services_by_name.values()]
    assert {f"{service.name}.{method.name}" for service in services for method in service.methods} == set(RPCS)


def test_right_caller_is_served(provider, rpc):
    for by in RPCS[rpc].callers:
        call(provider, by, rpc, RPCS[rpc].request(provider))


def test_stranger_is_refused(provider, rpc):
    request = RPCS[rpc].request(provider)
    for by in strangers(rpc):
        refuses(lambda by=by: call(provider, by, rpc, request), "CALLER_NOT_ALLOWED")


def test_stranger_does_not_learn_what_exists(provider, rpc):
    request = about_nothing(RPCS[rpc].request(provider))
    for by in strangers(rpc):
        refuses(lambda by=by: call(provider, by, rpc, request), "CALLER_NOT_ALLOWED")


def test_outsider_does_not_learn_what_is_valid(provider, rpc):
    request = RPCS[rpc].request(provider)
    empty = [] if isinstance(request, list) else type(request)()
    for by in OUTSIDERS:
        refuses(lambda by=by: call(provider, by, rpc, empty), "CALLER_NOT_ALLOWED")


def test_nobody_is_refused(provider, rpc):
    request = RPCS[rpc].request(provider)
    refuses(lambda: call(provider, None, rpc, request), "CALLER_UNKNOWN")
    refuses(lambda: call(provider, None, rpc, about_nothing(request)), "CALLER_UNKNOWN")
