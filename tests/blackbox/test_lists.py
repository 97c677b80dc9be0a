"""Lists: all that is there and nothing else, in an order that stays, page by page."""

import uuid

import pytest
from idvault.v1 import consent_service_pb2 as consents_api
from idvault.v1 import record_service_pb2 as records_api
from idvault.v1 import tenant_service_pb2 as tenants_api
from idvault.v1 import training_service_pb2 as training_api

from paging import everything, pages, token
from provider import Provider
from refusals import refuses
from server import MODEL_OWNER, OPERATOR, PRIVACY_OFFICER, REQUESTER, WORKLOAD, Vault
from specimens import load
from training import Epoch, activate, draft, make_spec, submit, take_snapshot

COPIES = 3  # records of each person, each with a consent of its own
PEOPLE = load()[:3]
COUNT = COPIES * len(PEOPLE)


class Stock:
    """A vault whose only tenants are `provider`, with its records and jobs, and `neighbour`, with one record."""

    def __init__(self, vault):
        self.vault = vault
        self.provider, self.neighbour = Provider(vault), Provider(vault)
        self.records = [self.provider.upload(specimen) for _ in range(COPIES) for specimen in PEOPLE]
        self.neighbour.upload(PEOPLE[0])
        self.jobs = [draft(vault, make_spec(self.provider)) for _ in range(3)]
        self.jobs[1] = submit(vault, self.jobs[1])
        for _ in range(2):
            self.jobs.append(activate(vault, make_spec(self.provider)))
            Epoch(vault, take_snapshot(vault, self.jobs[-1])).read_all()

    def of_person(self, subject_ref):
        people = zip(self.records, PEOPLE * COPIES, strict=True)
        return [record for record, person in people if person.subject_ref == subject_ref]


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    with Vault(tmp_path_factory.mktemp("stock")) as vault:
        yield Stock(vault)


def list_records(stock, **asked):
    request = records_api.ListRecordsRequest(parent=stock.provider.name, **asked)
    return stock.provider.caller.records.ListRecords, request


def list_consents(stock, **asked):
    request = consents_api.ListConsentsRequest(parent=stock.provider.name, **asked)
    return stock.provider.caller.consents.ListConsents, request


def list_jobs(stock, **asked):
    return stock.vault.caller(REQUESTER).training.ListTrainingJobs, training_api.ListTrainingJobsRequest(**asked)


def list_tenants(stock, **asked):
    return stock.vault.caller(OPERATOR).tenants.ListTenants, tenants_api.ListTenantsRequest(**asked)


def list_releases(stock, subject_ref=PEOPLE[0].subject_ref, **asked):
    request = training_api.ListReleasesRequest(parent=stock.provider.name, subject_ref=subject_ref, **asked)
    return stock.provider.caller.training.ListReleases, request


def names(items):
    return sorted(item.name for item in items)


ALL = pytest.mark.parametrize("listed", [list_records, list_consents, list_jobs, list_tenants, list_releases])


@ALL
def test_pages_make_up_the_list(stock, listed):
    call, request = listed(stock)
    (whole,) = pages(call, request, 1_000)
    assert len(whole) > 1
    for size in range(1, len(whole) + 1):
        split = list(pages(call, request, size))
        assert [item for page in split for item in page] == whole
        assert all(len(page) == size for page in split[:-1]) and len(split[-1]) <= size
    assert everything(call, request, 1, len(whole)) == everything(call, request, 1_000, 1) == whole
    assert everything(call, request) == whole


@ALL
def test_page_token_is_of_the_same_list(stock, listed):
    others = (list_records, list_consents, list_jobs, list_tenants, list_releases)
    tokens = [token(*other(stock)) for other in others if other is not listed]
    for wrong in [*tokens, "nonsense", "A" * 64]:
        call, request = listed(stock, page_token=wrong)
        refuses(lambda call=call, request=request: call(request), "INVALID_FIELD")


@pytest.mark.parametrize("listed", [list_records, list_consents, list_releases])
def test_page_token_is_of_the_same_person(stock, listed):
    first, second = (person.subject_ref for person in PEOPLE[:2])
    whole = token(*listed(stock, subject_ref=first))
    call, request = listed(stock, subject_ref=second, page_token=whole)
    refuses(lambda: call(request), "INVALID_FIELD")


@pytest.mark.parametrize("listed", [list_records, list_consents])
def test_page_token_of_all_is_not_of_one_person(stock, listed):
    call, request = listed(stock, subject_ref=PEOPLE[0].subject_ref, page_token=token(*listed(stock)))
    refuses(lambda: call(request), "INVALID_FIELD")


@pytest.mark.parametrize("listed", [list_records, list_consents])
def test_page_token_is_of_the_same_tenant(stock, listed):
    _, request = listed(stock, page_token=token(*listed(stock)))
    request.parent = stock.neighbour.name
    caller = stock.neighbour.caller
    call = caller.records.ListRecords if listed is list_records else caller.consents.ListConsents
    refuses(lambda: call(request), "INVALID_FIELD")


def test_records_are_those_of_the_tenant(stock):
    listed = everything(*list_records(stock))
    assert names(listed) == names(stock.records)
    assert {record.name: record for record in listed} == {record.name: record for record in stock.records}


def test_records_of_one_call(stock):
    for record in stock.records:
        assert everything(*list_records(stock, call_id=record.call_id)) == [record]
    assert everything(*list_records(stock, call_id="no-such-call")) == []


def test_records_of_one_person(stock):
    for person in PEOPLE:
        listed = everything(*list_records(stock, subject_ref=person.subject_ref), 2)
        assert names(listed) == names(stock.of_person(person.subject_ref))
    assert everything(*list_records(stock, subject_ref="nobody")) == []


def test_call_and_person_exclude_each_other(stock):
    record = stock.records[0]
    call, request = list_records(stock, call_id=record.call_id, subject_ref=PEOPLE[0].subject_ref)
    refuses(lambda: call(request), "INVALID_FIELD")


def test_consents_of_all_and_of_one_person(stock):
    listed = everything(*list_consents(stock))
    assert names(listed) == sorted(record.consent for record in stock.records)
    get = consents_api.GetConsentRequest
    assert all(stock.provider.caller.consents.GetConsent(get(name=each.name)).consent == each for each in listed)
    for person in PEOPLE:
        listed = everything(*list_consents(stock, subject_ref=person.subject_ref))
        assert names(listed) == sorted(record.consent for record in stock.of_person(person.subject_ref))
    call, request = list_consents(stock)
    assert everything(stock.vault.caller(PRIVACY_OFFICER).consents.ListConsents, request) == everything(call, request)


def test_jobs_are_listed_whole(stock):
    listed = everything(*list_jobs(stock))
    assert names(listed) == names(stock.jobs)
    for person in (PRIVACY_OFFICER, MODEL_OWNER):
        call, request = list_jobs(stock)
        assert everything(stock.vault.caller(person).training.ListTrainingJobs, request) == listed
    assert {job.name: job for job in listed} == {job.name: job for job in stock.jobs}


def test_tenants_are_listed_whole(stock):
    assert {tenant.name: tenant for tenant in everything(*list_tenants(stock))} == {
        provider.name: provider.tenant for provider in (stock.provider, stock.neighbour)
    }


def test_list_of_no_tenant_is_not_found_or_not_allowed(stock):
    absent = f"none-{uuid.uuid4().hex[:8]}"
    records = records_api.ListRecordsRequest(parent=f"tenants/{absent}")
    consents = consents_api.ListConsentsRequest(parent=f"tenants/{absent}")
    for by, reason in ((f"tenant/{absent}", "NOT_FOUND"), (f"tenant/{stock.provider.id}", "CALLER_NOT_ALLOWED")):
        caller = stock.vault.caller(by)
        refuses(lambda caller=caller: caller.records.ListRecords(records), reason)
        refuses(lambda caller=caller: caller.consents.ListConsents(consents), reason)


def test_gone_records_are_not_listed(provider):
    records = [provider.upload(specimen) for specimen in load()[:4]]
    people = [specimen.subject_ref for specimen in load()[:4]]
    provider.shred(records[0])
    provider.withdraw(records[1])
    erase = consents_api.EraseSubjectRequest(parent=provider.name, subject_ref=people[2])
    assert provider.caller.consents.EraseSubject(erase).destruction.record_count == 1

    def listed(**asked):
        request = records_api.ListRecordsRequest(parent=provider.name, **asked)
        return everything(provider.caller.records.ListRecords, request, 1)

    assert listed() == [records[3]]
    assert [listed(subject_ref=person) for person in people] == [[], [], [], [records[3]]]
    assert [listed(call_id=record.call_id) for record in records] == [[], [], [], [records[3]]]


def test_expired_records_are_not_listed(own_vault):
    provider = Provider(own_vault)
    record = provider.upload(load()[1])
    own_vault.clock.set(record.expire_time.ToDatetime(own_vault.clock.now.tzinfo))
    for asked in ({}, {"call_id": record.call_id}, {"subject_ref": load()[1].subject_ref}):
        request = records_api.ListRecordsRequest(parent=provider.name, **asked)
        assert everything(provider.caller.records.ListRecords, request) == []


def test_lists_go_on_where_they_were_when_records_go(provider):
    for specimen in load()[:6]:
        provider.upload(specimen)
    request = records_api.ListRecordsRequest(parent=provider.name)
    call = provider.caller.records.ListRecords
    order = everything(call, request)
    request.page_token = token(call, request)
    provider.shred(order[0])
    provider.shred(order[1])
    assert everything(call, request) == order[2:]


def test_lists_survive_a_restart(own_vault):
    provider = Provider(own_vault)
    for specimen in load()[:4]:
        provider.upload(specimen)
    request = records_api.ListRecordsRequest(parent=provider.name)
    before = everything(provider.caller.records.ListRecords, request)
    request.page_token = token(provider.caller.records.ListRecords, request)
    own_vault.kill()
    own_vault.start()
    assert everything(provider.caller.records.ListRecords, request) == before[1:]


def test_workload_lists_nothing(stock):
    caller = stock.vault.caller(WORKLOAD)
    for call, (_, request) in (
        (caller.records.ListRecords, list_records(stock)),
        (caller.consents.ListConsents, list_consents(stock)),
        (caller.training.ListTrainingJobs, list_jobs(stock)),
        (caller.tenants.ListTenants, list_tenants(stock)),
        (caller.training.ListReleases, list_releases(stock)),
    ):
        refuses(lambda call=call, request=request: call(request), "CALLER_NOT_ALLOWED")
