"""Training jobs: four eyes, each on the same spec, and nothing before both have approved."""

import hashlib

from idvault.v1 import resources_pb2 as api
from idvault.v1 import training_service_pb2 as training_api

from receipts import EVERYTHING
from refusals import refuses
from server import MODEL_OWNER, OPERATOR, PRIVACY_OFFICER, REQUESTER
from specimens import load
from training import Epoch, activate, approve, draft, make_spec, submit, take_snapshot


def test_job_becomes_active_by_two_approvals(provider):
    vault = provider.vault
    provider.upload(load()[1])
    job = draft(vault, make_spec(provider))
    assert job.state == api.TrainingJob.STATE_DRAFT
    refuses(lambda: take_snapshot(vault, job), "JOB_NOT_ACTIVE")
    assert submit(vault, job).state == api.TrainingJob.STATE_PENDING_APPROVAL
    refuses(lambda: take_snapshot(vault, job), "JOB_NOT_ACTIVE")
    first = approve(vault, job, PRIVACY_OFFICER, "PRIVACY_OFFICER")
    assert first.state == api.TrainingJob.STATE_PENDING_APPROVAL and len(first.approvals) == 1
    refuses(lambda: take_snapshot(vault, job), "JOB_NOT_ACTIVE")
    second = approve(vault, job, MODEL_OWNER, "MODEL_OWNER")
    assert second.state == api.TrainingJob.STATE_ACTIVE and len(second.approvals) == 2
    assert take_snapshot(vault, job).position_count == 1


def test_requester_cannot_approve(provider):
    job = submit(provider.vault, draft(provider.vault, make_spec(provider)))
    refuses(lambda: approve(provider.vault, job, REQUESTER, "PRIVACY_OFFICER"), "APPROVER_IS_REQUESTER")
    approve(provider.vault, job, MODEL_OWNER, "MODEL_OWNER")
    refuses(lambda: take_snapshot(provider.vault, job), "JOB_NOT_ACTIVE")


def test_one_person_cannot_approve_twice(provider):
    job = submit(provider.vault, draft(provider.vault, make_spec(provider)))
    approve(provider.vault, job, PRIVACY_OFFICER, "PRIVACY_OFFICER")
    for role in ("PRIVACY_OFFICER", "MODEL_OWNER"):
        refuses(lambda role=role: approve(provider.vault, job, PRIVACY_OFFICER, role), "APPROVER_DUPLICATE")
    refuses(lambda: take_snapshot(provider.vault, job), "JOB_NOT_ACTIVE")


def test_role_is_needed_to_approve_and_to_request(provider):
    job = submit(provider.vault, draft(provider.vault, make_spec(provider)))
    refuses(lambda: approve(provider.vault, job, MODEL_OWNER, "PRIVACY_OFFICER"), "CALLER_NOT_ALLOWED")
    refuses(lambda: approve(provider.vault, job, OPERATOR, "MODEL_OWNER"), "CALLER_NOT_ALLOWED")
    request = training_api.CreateTrainingJobRequest(spec=make_spec(provider))
    refuses(lambda: provider.caller.training.CreateTrainingJob(request), "CALLER_NOT_ALLOWED")


def test_approval_is_of_one_spec(provider):
    spec = make_spec(provider)
    job = submit(provider.vault, draft(provider.vault, spec))
    canonical = b"idvault/job-spec/v1" + spec.SerializeToString(deterministic=True)
    assert job.spec == spec
    assert job.spec_sha256 == hashlib.sha256(canonical).digest()
    other = hashlib.sha256(b"another spec").digest()
    refuses(lambda: approve(provider.vault, job, PRIVACY_OFFICER, "PRIVACY_OFFICER", other), "JOB_SPEC_MISMATCH")


def test_only_the_workload_of_the_job_fetches(provider):
    provider.upload(load()[1])
    snapshot = take_snapshot(provider.vault, activate(provider.vault, make_spec(provider)))
    for stranger in ("workload/other", f"tenant/{provider.id}"):
        epoch = Epoch(provider.vault, snapshot, workload=stranger)
        refuses(epoch.read, "CALLER_NOT_ALLOWED")


def test_scope_of_the_job_holds(provider):
    for specimen in load():
        provider.upload(specimen)
    here = [specimen for specimen in load() if specimen.jurisdiction == "SG"]
    for spec, eligible in (
        (make_spec(provider, jurisdictions=("SG",)), len(here)),
        (make_spec(provider, purpose="TRAIN_LIVENESS"), 0),
        (make_spec(provider, categories=("LIVENESS_VIDEO",)), 0),
        (make_spec(provider, categories=EVERYTHING[:1]), 12),
    ):
        assert take_snapshot(provider.vault, activate(provider.vault, spec)).position_count == eligible
