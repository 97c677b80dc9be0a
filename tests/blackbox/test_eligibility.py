"""What a job would find: asked before there is a job."""

import hashlib
import uuid
from datetime import timedelta

import pytest
from idvault.v1 import resources_pb2 as api
from idvault.v1 import training_service_pb2 as training_api

from paging import everything
from provider import OCR, Provider
from receipts import EVERYTHING, grant
from refusals import refuses
from server import MODEL_OWNER, OPERATOR, PRIVACY_OFFICER, REQUESTER, WORKLOAD, spiffe_id
from specimens import load
from training import Epoch, draft, make_spec, snapshot_of

SPECIMEN = load()[1]
BIAS = grant("EVALUATE_BIAS", EVERYTHING)


def validate(provider, spec, by=REQUESTER):
    request = training_api.CreateTrainingJobRequest(spec=spec, validate_only=True)
    return provider.vault.caller(by).training.CreateTrainingJob(request)


def eligible(provider, spec):
    """How many records the job would receive, how many bytes, and for which reasons not how many others."""
    eligibility = validate(provider, spec).eligibility
    reasons = [
        (training_api.Eligibility.Reason.Name(exclusion.reason).removeprefix("REASON_"), exclusion.record_count)
        for exclusion in eligibility.exclusions
    ]
    return eligibility.record_count, eligibility.size_bytes, dict(reasons)


def size(records, *parts):
    """Bytes of these parts, or of all of them."""
    return sum(part.size_bytes for record in records for number, part in enumerate(record.parts) if number in parts)


def all_jobs(provider):
    call = provider.vault.caller(REQUESTER).training.ListTrainingJobs
    return everything(call, training_api.ListTrainingJobsRequest())


def test_validation_creates_nothing(provider):
    provider.upload(SPECIMEN)
    before = all_jobs(provider)
    spec = make_spec(provider)
    answer = validate(provider, spec)
    job = answer.training_job
    assert (job.name, job.state, job.spec) == ("", api.TrainingJob.STATE_DRAFT, spec)
    canonical = b"idvault/job-spec/v1" + spec.SerializeToString(deterministic=True)
    assert job.spec_sha256 == hashlib.sha256(canonical).digest()
    assert all_jobs(provider) == before
    request = training_api.CreateTrainingJobRequest(request_id=str(uuid.uuid4()), spec=spec, validate_only=True)
    create = provider.vault.caller(REQUESTER).training.CreateTrainingJob
    assert create(request) == answer
    request.validate_only = False
    request.spec.max_records += 1
    created = create(request)
    assert created.training_job.name and not created.HasField("eligibility")


def test_counts_are_of_what_is_asked_for(provider):
    assert eligible(provider, make_spec(provider)) == (0, 0, {})
    records = [provider.upload(specimen) for specimen in load()]
    assert eligible(provider, make_spec(provider)) == (12, size(records, 0, 1, 2, 3), {})
    assert eligible(provider, make_spec(provider, categories=("FACE_IMAGE",))) == (12, size(records, 0), {})
    assert eligible(provider, make_spec(provider, categories=("SEX",))) == (12, size(records, 3), {})
    asked = make_spec(provider, categories=("FACE_IMAGE", "DOCUMENT_BACK", "MRZ"))
    assert eligible(provider, asked) == (12, size(records, 0, 2, 3), {})


def test_counts_are_of_what_is_granted(provider):
    grants = [grant("TRAIN_DOCUMENT_OCR", EVERYTHING[1:]), BIAS]
    record = provider.upload(SPECIMEN, grants)
    assert eligible(provider, make_spec(provider)) == (1, size([record], 1, 2, 3), {})


def test_counts_are_of_all_tenants_of_the_job(provider):
    other = Provider(provider.vault)
    records = [provider.upload(SPECIMEN), other.upload(SPECIMEN)]
    spec = make_spec(provider)
    spec.tenants.append(other.name)
    assert eligible(provider, spec) == (2, size(records, 0, 1, 2, 3), {})


def test_each_exclusion_has_its_reason(provider):
    kept = provider.upload(SPECIMEN)
    elsewhere = [specimen for specimen in load() if specimen.jurisdiction != SPECIMEN.jurisdiction][:3]
    for specimen in elsewhere:
        provider.upload(specimen)
    for _ in range(2):
        provider.upload(SPECIMEN, [BIAS])
    provider.upload(SPECIMEN, [grant("TRAIN_DOCUMENT_OCR", EVERYTHING, recipients=["Another Ltd"])])
    provider.upload(SPECIMEN, [grant("TRAIN_DOCUMENT_OCR", EVERYTHING, regions=["eu-1"])])
    provider.upload(SPECIMEN, [grant("TRAIN_DOCUMENT_OCR", EVERYTHING[1:]), BIAS])
    provider.withdraw(provider.upload(SPECIMEN, [*OCR, BIAS]), [api.PURPOSE_TRAIN_DOCUMENT_OCR])
    provider.shred(provider.upload(SPECIMEN))
    provider.withdraw(provider.upload(SPECIMEN))
    spec = make_spec(provider, categories=("FACE_IMAGE",), jurisdictions=(SPECIMEN.jurisdiction,))
    assert eligible(provider, spec) == (
        1,
        size([kept], 0),
        {
            "CONSENT_WITHDRAWN": 1,
            "JURISDICTION_NOT_ASKED": 3,
            "PURPOSE_NOT_GRANTED": 2,
            "DESTINATION_NOT_GRANTED": 2,
            "CATEGORY_NOT_GRANTED": 1,
        },
    )
    reasons = [exclusion.reason for exclusion in validate(provider, spec).eligibility.exclusions]
    assert reasons == sorted(reasons)


def test_record_excluded_twice_is_counted_twice(provider):
    provider.upload(SPECIMEN, [BIAS])
    spec = make_spec(provider, jurisdictions=("JP",))
    assert eligible(provider, spec) == (0, 0, {"JURISDICTION_NOT_ASKED": 1, "PURPOSE_NOT_GRANTED": 1})


def test_records_of_another_time_are_excluded(own_vault):
    provider = Provider(own_vault)
    provider.upload(SPECIMEN)
    own_vault.clock.advance(hours=1)
    now = own_vault.clock.now
    record = provider.upload(SPECIMEN)
    spec = make_spec(provider)
    spec.uploaded_from.FromDatetime(now)
    assert eligible(provider, spec) == (1, size([record], 0, 1, 2, 3), {"UPLOAD_TIME_NOT_ASKED": 1})
    spec.uploaded_before.FromDatetime(now + timedelta(hours=1))
    assert eligible(provider, spec)[0] == 1
    spec.ClearField("uploaded_from")
    spec.uploaded_before.FromDatetime(now)
    assert eligible(provider, spec)[0] == 1
    spec.uploaded_before.FromDatetime(now - timedelta(hours=2))
    assert eligible(provider, spec) == (0, 0, {"UPLOAD_TIME_NOT_ASKED": 2})


def test_records_under_a_void_consent_are_excluded(provider):
    provider.upload(SPECIMEN)
    end = api.KeyRevocation(kid="receipts-1")
    end.revoke_time.FromDatetime(provider.vault.clock.now - timedelta(hours=1))
    provider.update(key_revocations=[end])
    assert eligible(provider, make_spec(provider)) == (0, 0, {"CONSENT_INVALIDATED": 1})


def test_expired_records_are_not_eligible(own_vault):
    provider = Provider(own_vault)
    record = provider.upload(SPECIMEN)
    own_vault.clock.set(record.expire_time.ToDatetime(own_vault.clock.now.tzinfo))
    assert eligible(provider, make_spec(provider))[:2] == (0, 0)


def test_job_finds_what_it_was_told(provider):
    for specimen in load():
        provider.upload(specimen)
    asked = {"categories": ("FACE_IMAGE", "DOCUMENT_FRONT"), "jurisdictions": ("SG", "TH")}
    count, size_bytes, excluded = eligible(provider, make_spec(provider, **asked))
    positions = Epoch(provider.vault, snapshot_of(provider, **asked)).read_all().positions.values()
    assert count == len(positions) == 12 - excluded["JURISDICTION_NOT_ASKED"] > 0
    assert size_bytes == sum(part.size_bytes for position in positions for part in position.parts.values())


def test_only_a_requester_is_told(provider):
    for by in (OPERATOR, PRIVACY_OFFICER, MODEL_OWNER, WORKLOAD, f"tenant/{provider.id}"):
        refuses(lambda by=by: validate(provider, make_spec(provider), by), "CALLER_NOT_ALLOWED")


@pytest.mark.parametrize(
    "field, value",
    [
        ("purpose", api.PURPOSE_UNSPECIFIED),
        ("purpose", api.PURPOSE_VERIFY_IDENTITY),
        ("purpose", 99),
        ("categories", []),
        ("categories", [api.CATEGORY_SEX, api.CATEGORY_SEX]),
        ("categories", [api.CATEGORY_ATTRIBUTES]),
        ("categories", [api.CATEGORY_UNSPECIFIED]),
        ("tenants", []),
        ("tenants", ["tenants/-"]),
        ("tenants", ["tenants/a", "tenants/a"]),
        ("tenants", [f"tenants/t{number}" for number in range(101)]),
        ("jurisdictions", []),
        ("jurisdictions", ["Singapore"]),
        ("workloads", []),
        ("workloads", [spiffe_id("person/rita")]),
        ("workloads", ["spiffe://other.test/workload/trainer"]),
        ("max_records", 0),
        ("max_bytes", 0),
        ("legal_entity", ""),
        ("legal_entity", "x" * 129),
        ("region", ""),
        ("model_family", "x" * 129),
        ("assessment_ref", "x" * 129),
    ],
)
def test_spec_must_be_sound_for_either(provider, field, value):
    _assert_unsound(provider, api.TrainingJobSpec(**{field: value}), field)


@pytest.mark.parametrize("hours", [-1, 0, 30 * 24 + 1])
def test_job_ends_within_thirty_days(provider, hours):
    end = api.TrainingJobSpec()
    end.expire_time.FromDatetime(provider.vault.clock.now + timedelta(hours=hours))
    _assert_unsound(provider, end, "expire_time")


def _assert_unsound(provider, changed, field):
    spec = make_spec(provider)
    spec.ClearField(field)
    spec.MergeFrom(changed)
    refuses(lambda: validate(provider, spec), "INVALID_FIELD")
    refuses(lambda: draft(provider.vault, spec), "INVALID_FIELD")
