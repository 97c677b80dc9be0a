"""Releases: who received which record, also when the record is long gone."""

import pytest
from idvault.v1 import consent_service_pb2 as consents_api
from idvault.v1 import training_service_pb2 as training_api

from paging import everything
from provider import Provider
from refusals import refuses
from server import MODEL_OWNER, OPERATOR, PRIVACY_OFFICER, REQUESTER, WORKLOAD, eventually
from specimens import load
from training import Epoch, activate, make_spec, take_snapshot

FIRST, SECOND = load()[1], load()[2]
ABSENT_JOB = "trainingJobs/01890000-0000-7000-8000-000000000000"


def released_to(provider, **spec):
    """A job that has received what it asks for."""
    job = activate(provider.vault, make_spec(provider, **spec))
    Epoch(provider.vault, take_snapshot(provider.vault, job)).read_all()
    return job


def releases(provider, parent, subject_ref="", by=None):
    caller = provider.vault.caller(by) if by else provider.caller
    request = training_api.ListReleasesRequest(parent=parent, subject_ref=subject_ref)
    return everything(caller.training.ListReleases, request)


def released(provider, record, *jobs):
    """What is to be told of a record that these jobs received."""
    return training_api.Release(
        record=record.name,
        training_jobs=sorted(job.name for job in jobs),
        expire_time=record.expire_time,
        record_count=1,
    )


def told(listed):
    for release in listed:
        release.training_jobs.sort()
    return sorted(listed, key=lambda release: release.record)


def counted(provider, job):
    return [
        (release.record, list(release.training_jobs), release.expire_time.seconds, release.record_count)
        for release in releases(provider, job.name, by=REQUESTER)
    ]


def test_job_counts_records_by_hour_of_expiry(own_vault):
    provider = Provider(own_vault)
    early = [provider.upload(specimen) for specimen in load()[:3]]
    own_vault.clock.advance(hours=2)
    late = [provider.upload(specimen) for specimen in load()[:2]]
    assert early[0].expire_time.seconds < late[0].expire_time.seconds
    job = released_to(provider)
    expected = [("", [job.name], batch[0].expire_time.seconds, len(batch)) for batch in (early, late)]
    assert counted(provider, job) == expected
    Epoch(own_vault, take_snapshot(own_vault, job)).read_all()
    assert counted(provider, job) == expected
    for person in (PRIVACY_OFFICER, MODEL_OWNER):
        assert releases(provider, job.name, by=person) == releases(provider, job.name, by=REQUESTER)


def test_record_and_person_tell_their_jobs(provider):
    records = [provider.upload(specimen) for specimen in (FIRST, FIRST, SECOND)]
    jobs = [released_to(provider), released_to(provider)]
    here = released_to(provider, jurisdictions=(SECOND.jurisdiction,))
    expected = [released(provider, record, *jobs) for record in records[:2]] + [
        released(provider, records[2], *jobs, here)
    ]
    for by in (None, PRIVACY_OFFICER):
        for record, release in zip(records, expected, strict=True):
            assert told(releases(provider, record.name, by=by)) == [release]
        assert told(releases(provider, provider.name, FIRST.subject_ref, by)) == told(expected[:2])
        assert told(releases(provider, provider.name, SECOND.subject_ref, by)) == expected[2:]


def test_what_nobody_received_is_not_listed(provider):
    record = provider.upload(FIRST)
    idle = activate(provider.vault, make_spec(provider))
    take_snapshot(provider.vault, idle)
    elsewhere = released_to(provider, purpose="TRAIN_LIVENESS")
    assert releases(provider, record.name) == []
    assert releases(provider, provider.name, FIRST.subject_ref) == []
    assert releases(provider, provider.name, "nobody") == []
    assert counted(provider, idle) == counted(provider, elsewhere) == []


def _shred(provider, record):
    provider.shred(record)


def _withdraw(provider, record):
    provider.withdraw(record)


def _erase(provider, record):
    erase = consents_api.EraseSubjectRequest(parent=provider.name, subject_ref=FIRST.subject_ref)
    provider.caller.consents.EraseSubject(erase)


def _expire(provider, record):
    provider.vault.clock.set(record.expire_time.ToDatetime(provider.vault.clock.now.tzinfo))
    eventually(lambda: provider.retention().backlog_record_count == 0 and not provider.vault.files("volumes"))


@pytest.mark.parametrize("end", [_shred, _withdraw, _erase, _expire])
def test_releases_outlive_their_records(own_vault, end):
    provider = Provider(own_vault)
    gone, never = provider.upload(FIRST), provider.upload(FIRST)
    provider.shred(never)
    job = released_to(provider)
    expected = released(provider, gone, job)
    count = counted(provider, job)

    def assert_told():
        assert releases(provider, gone.name) == [expected]
        assert releases(provider, provider.name, FIRST.subject_ref) == [expected]
        assert releases(provider, never.name) == []
        assert counted(provider, job) == count == [("", [job.name], gone.expire_time.seconds, 1)]

    assert_told()
    end(provider, gone)
    assert_told()
    own_vault.kill()
    own_vault.start()
    assert_told()
    own_vault.clock.advance(days=365)
    assert_told()


def test_stream_broken_off_counts_what_it_carried(provider):
    records = [provider.upload(specimen) for specimen in load()]
    job = activate(provider.vault, make_spec(provider))
    epoch = Epoch(provider.vault, take_snapshot(provider.vault, job))
    assert epoch.read()
    epoch.hang_up()
    carried = len(epoch.released[0].tokens)
    # The vault may still be at it when the first of these is counted.
    (before,) = (number for *_, number in counted(provider, job))
    listed = sum(len(releases(provider, record.name)) for record in records)
    (after,) = (number for *_, number in counted(provider, job))
    assert carried <= before <= listed <= after <= len(records)


def test_who_may_ask(provider):
    record = provider.upload(FIRST)
    job = released_to(provider)
    absent = f"{record.name[:-1]}{'0' if record.name[-1] != '0' else '1'}"
    for by in (OPERATOR, WORKLOAD, f"tenant/{provider.id}"):
        for parent in (job.name, ABSENT_JOB):
            refuses(lambda by=by, parent=parent: releases(provider, parent, by=by), "CALLER_NOT_ALLOWED")
    for by in (OPERATOR, WORKLOAD, MODEL_OWNER, "tenant/other"):
        for parent, person in ((record.name, ""), (absent, ""), (provider.name, FIRST.subject_ref)):
            refuses(lambda by=by, p=parent, s=person: releases(provider, p, s, by), "CALLER_NOT_ALLOWED")


def test_parent_and_person_agree(provider):
    record = provider.upload(FIRST)
    job = released_to(provider)
    refuses(lambda: releases(provider, provider.name), "INVALID_FIELD")
    refuses(lambda: releases(provider, record.name, FIRST.subject_ref), "INVALID_FIELD")
    refuses(lambda: releases(provider, job.name, FIRST.subject_ref, PRIVACY_OFFICER), "INVALID_FIELD")


def test_job_that_is_not_there(provider):
    refuses(lambda: releases(provider, ABSENT_JOB, by=REQUESTER), "NOT_FOUND")
