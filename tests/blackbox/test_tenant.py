"""Tenants change: their keys and the ends of keys by themselves, their terms by the operator."""

import json
import uuid
from datetime import timedelta

import pytest
from idvault.v1 import consent_service_pb2 as consents_api
from idvault.v1 import resources_pb2 as api
from idvault.v1 import tenant_service_pb2 as tenants_api
from idvault.v1 import training_service_pb2 as training_api

from images import tagged_jpeg
from provider import Provider, inline_part
from receipts import P256Signer, Signer, jwks, notice
from refusals import refuses
from server import OPERATOR, PRIVACY_OFFICER, REQUESTER
from specimens import load
from training import Epoch, snapshot_of

ACTIVE, INVALIDATED = api.Consent.STATE_ACTIVE, api.Consent.STATE_INVALIDATED
GONE = training_api.FetchRecordsResponse.TOMBSTONE_GONE
KINDS = pytest.mark.parametrize("kind", [Signer, P256Signer], ids=["Ed25519", "P-256"])


def rotate(provider, *keys, proofs):
    return provider.update(jwks=jwks(*keys), jwks_proofs=proofs)


def signed_by(provider, signer, **changed):
    """An upload under a receipt that this key signs."""
    holder, provider.signer = provider.signer, signer
    receipt = provider.receipt(load()[1], **changed)
    provider.signer = holder
    return provider.request(load()[1], receipt)


def revocation(kid, time):
    end = api.KeyRevocation(kid=kid)
    end.revoke_time.FromDatetime(time)
    return end


def registered(version, /, **changed):
    return api.Notice(**notice(version) | changed)


def under(provider, version, /, **changed):
    """An upload under a receipt that names this version of the notice."""
    asked = notice(version) | {"language": "en"} | changed
    return provider.request(load()[1], provider.receipt(load()[1], notice=asked))


def tombstones(provider, snapshot):
    epoch = Epoch(provider.vault, snapshot).read_all()
    return sorted(position.tombstone for position in epoch.positions.values())


def kids(tenant):
    return [key["kid"] for key in json.loads(tenant.jwks)["keys"]]


@KINDS
def test_keys_rotate(shared_vault, kind):
    provider = Provider(shared_vault, signer=kind)
    old, new = provider.signer, kind("receipts-2")
    earlier = provider.upload(load()[1])
    both = rotate(provider, old, new, proofs=[new.proof(provider.id)])
    assert sorted(kids(both)) == ["receipts-1", "receipts-2"]
    assert not both.jwks_proofs
    for signer in (old, new):
        provider.create(signed_by(provider, signer))
    late = signed_by(provider, old)
    assert kids(rotate(provider, new, proofs=[])) == ["receipts-2"]
    for upload in (provider.create, provider.stream):
        refuses(lambda upload=upload: upload(late), "CONSENT_KEY_UNKNOWN")
    provider.create(signed_by(provider, new))
    assert provider.consent(earlier).state == ACTIVE
    assert tombstones(provider, snapshot_of(provider)) == [0] * 4


def test_keys_of_both_kinds_stand_side_by_side(provider):
    curve = P256Signer("curve")
    rotate(provider, provider.signer, curve, proofs=[curve.proof(provider.id)])
    provider.create(signed_by(provider, curve))
    provider.upload(load()[1])


def test_receipt_of_a_key_that_left_may_still_be_sent_again(provider):
    request, new = provider.request(load()[1]), Signer("receipts-2")
    record = provider.create(request)
    rotate(provider, new, proofs=[new.proof(provider.id)])
    for upload in (provider.create, provider.stream):
        assert upload(request) == record


def test_consent_of_a_key_that_left_stays_good(provider):
    record, request, new = provider.upload(load()[1]), provider.request(load()[1]), Signer("receipts-2")
    rotate(provider, new, proofs=[new.proof(provider.id)])
    request.header.consent = record.consent
    provider.create(request)


def _no_proof(provider, key):
    return []


def _proof_by_another_key(provider, key):
    return [Signer("receipts-2").proof(provider.id)]


def _proof_of_the_first_key(provider, key):
    return [provider.signer.proof(provider.id)]


def _proof_for_another_tenant(provider, key):
    return [key.proof("somebody-else")]


def _proof_for_another_vault(provider, key):
    return [key.proof(provider.id, vault="another")]


def _garbled_proof(provider, key):
    proof = key.proof(provider.id)
    return [proof[:-8] + ("A" * 8 if proof[-8:] != "A" * 8 else "B" * 8)]


@KINDS
@pytest.mark.parametrize(
    "proofs",
    [
        _no_proof,
        _proof_by_another_key,
        _proof_of_the_first_key,
        _proof_for_another_tenant,
        _proof_for_another_vault,
        _garbled_proof,
    ],
)
def test_new_key_needs_its_proof(provider, kind, proofs):
    key = kind("receipts-2")
    refuses(lambda: rotate(provider, provider.signer, key, proofs=proofs(provider, key)), "INVALID_FIELD")
    refuses(lambda: provider.create(signed_by(provider, key)), "CONSENT_KEY_UNKNOWN")


def test_kid_names_one_key_for_ever(provider):
    impostor, new = Signer("receipts-1"), Signer("receipts-2")
    refuses(lambda: rotate(provider, impostor, proofs=[impostor.proof(provider.id)]), "INVALID_FIELD")
    rotate(provider, new, proofs=[new.proof(provider.id)])
    refuses(lambda: rotate(provider, new, impostor, proofs=[impostor.proof(provider.id)]), "INVALID_FIELD")
    provider.create(signed_by(provider, new))


@pytest.mark.parametrize("keys", ["", "{}", '{"keys": []}', "nonsense"])
def test_tenant_has_a_key(provider, keys):
    refuses(lambda: provider.update(jwks=keys), "INVALID_FIELD")
    provider.upload(load()[1])


@pytest.mark.parametrize(
    "changed",
    [{"d": "AAAA"}, {"kid": ""}, {"kid": None}, {"kty": "RSA"}, {"crv": "X25519"}, {"x": "AAAA"}],
    ids=["private", "empty kid", "no kid", "RSA", "no signing key", "short"],
)
def test_key_is_public_and_whole(provider, changed):
    key = {name: value for name, value in (provider.signer.jwk() | changed).items() if value is not None}
    refuses(lambda: provider.update(jwks=json.dumps({"keys": [key]})), "INVALID_FIELD")
    provider.upload(load()[1])


def test_kid_is_of_one_key(provider):
    twin = Signer("receipts-1")
    proofs = [twin.proof(provider.id)]
    refuses(lambda: rotate(provider, provider.signer, twin, proofs=proofs), "INVALID_FIELD")
    refuses(lambda: rotate(provider, provider.signer, provider.signer, proofs=[]), "INVALID_FIELD")


def test_keys_are_at_most_sixteen(provider):
    more = [Signer(f"more-{number}") for number in range(16)]
    proofs = [key.proof(provider.id) for key in more]
    refuses(lambda: rotate(provider, provider.signer, *more, proofs=proofs), "INVALID_FIELD")
    rotate(provider, *more, proofs=proofs)


def test_each_changes_what_is_its_own(provider):
    key = Signer("receipts-2")
    proofs = [key.proof(provider.id)]
    end = [revocation("receipts-1", provider.vault.clock.now)]
    of_operator = {"notices": [registered("1")], "metadata_policy": api.METADATA_POLICY_STRIP, "retention_days": 3}
    of_tenant = {"jwks": jwks(provider.signer, key)}
    for field, value in of_operator.items():
        refuses(lambda change={field: value}: provider.update(**change), "CALLER_NOT_ALLOWED")
        refuses(lambda change={field: value}: provider.update(key_revocations=end, **change), "CALLER_NOT_ALLOWED")
    refuses(lambda: provider.update(OPERATOR, proofs, **of_tenant), "CALLER_NOT_ALLOWED")
    refuses(lambda: provider.update(OPERATOR, proofs, retention_days=3, **of_tenant), "CALLER_NOT_ALLOWED")
    for stranger in ("tenant/other", PRIVACY_OFFICER, REQUESTER):
        for change in (of_tenant, {"key_revocations": end}, of_operator):
            refuses(lambda by=stranger, change=change: provider.update(by, **change), "CALLER_NOT_ALLOWED")
    get = tenants_api.GetTenantRequest(name=provider.name)
    assert provider.caller.tenants.GetTenant(get).tenant == provider.tenant


@pytest.mark.parametrize("by", [None, OPERATOR], ids=["tenant", "operator"])
def test_revoked_key_is_cut_at_its_time(provider, by):
    now = provider.vault.clock.now
    early, late = now - timedelta(hours=2), now - timedelta(hours=1)
    kept = provider.create(signed_by(provider, provider.signer, now=early))
    cut = provider.create(signed_by(provider, provider.signer, now=late))
    snapshot = snapshot_of(provider)
    ends = [revocation("receipts-1", now - timedelta(minutes=90))]
    tenant = provider.update(by, key_revocations=ends)
    assert list(tenant.key_revocations) == ends
    assert [provider.consent(record).state for record in (kept, cut)] == [ACTIVE, INVALIDATED]
    assert tombstones(provider, snapshot) == [0, GONE]
    assert snapshot_of(provider).position_count == 1
    for upload in (provider.create, provider.stream):
        upload(signed_by(provider, provider.signer, now=early))
        refuses(lambda upload=upload: upload(signed_by(provider, provider.signer, now=late)), "CONSENT_KEY_UNKNOWN")
    register = consents_api.RegisterConsentRequest(parent=provider.name, receipt=provider.receipt(load()[1], now=late))
    refuses(lambda: provider.caller.consents.RegisterConsent(register), "CONSENT_KEY_UNKNOWN")


def test_invalidated_consent_takes_in_nothing(provider):
    now = provider.vault.clock.now
    receipt = provider.receipt(load()[1])
    record = provider.create(provider.request(load()[1], receipt))
    provider.update(key_revocations=[revocation("receipts-1", now - timedelta(hours=1))])
    named = provider.request(load()[1])
    named.header.consent = record.consent
    refuses(lambda: provider.create(named), "CONSENT_KEY_UNKNOWN")
    refuses(lambda: provider.create(provider.request(load()[1], receipt)), "CONSENT_KEY_UNKNOWN")


def test_revocation_cuts_a_key_that_has_left(provider):
    record, new = provider.upload(load()[1]), Signer("receipts-2")
    rotate(provider, new, proofs=[new.proof(provider.id)])
    provider.update(key_revocations=[revocation("receipts-1", provider.vault.clock.now - timedelta(hours=1))])
    assert provider.consent(record).state == INVALIDATED
    provider.create(signed_by(provider, new))


def test_revocation_is_never_taken_back_nor_made_later(provider):
    now = provider.vault.clock.now
    first, later, earlier = (revocation("receipts-1", now - timedelta(hours=hours)) for hours in (2, 1, 3))
    told = provider.update(key_revocations=[first])
    assert provider.update(key_revocations=[first]) == told
    refuses(lambda: provider.update(key_revocations=[later]), "INVALID_FIELD")
    assert list(provider.update(key_revocations=[]).key_revocations) == [first]
    assert list(provider.update(key_revocations=[earlier]).key_revocations) == [earlier]
    refuses(lambda: provider.update(key_revocations=[first]), "INVALID_FIELD")


@pytest.mark.parametrize("kids", [["no-such-key"], ["receipts-1", "receipts-1"], [""]])
def test_revocations_are_of_known_keys_each_once(provider, kids):
    now = provider.vault.clock.now
    refuses(lambda: provider.update(key_revocations=[revocation(kid, now) for kid in kids]), "INVALID_FIELD")


def test_revocation_reaches_into_an_open_stream(provider):
    for specimen in load():
        provider.upload(specimen)
    epoch = Epoch(provider.vault, snapshot_of(provider))
    assert epoch.read()
    provider.update(key_revocations=[revocation("receipts-1", provider.vault.clock.now - timedelta(hours=1))])
    epoch.read_all()
    assert epoch.positions[11].tombstone == GONE


def test_any_notice_passes_until_one_is_registered(provider):
    unregistered = provider.create(under(provider, "1"))
    provider.create(under(provider, "2"))
    tenant = provider.update(OPERATOR, notices=[registered("1")])
    assert tenant.notices[0].register_time.ToDatetime() == provider.vault.clock.now.replace(tzinfo=None)
    provider.create(under(provider, "1"))
    for changed in ({"version": "2"}, {"id": "other-notice"}, {"sha256": "00" * 32}):
        request = under(provider, "1", **changed)
        for upload in (provider.create, provider.stream):
            refuses(lambda upload=upload, request=request: upload(request), "NOTICE_UNKNOWN")
    assert provider.consent(unregistered).state == ACTIVE


def test_invalidating_version_voids_what_went_before(provider):
    provider.update(OPERATOR, notices=[registered("1")])
    old = provider.create(under(provider, "1"))
    snapshot = snapshot_of(provider)
    provider.update(OPERATOR, notices=[registered("2")])
    assert provider.consent(old).state == ACTIVE
    second = provider.create(under(provider, "2"))
    provider.update(OPERATOR, notices=[registered("3", invalidating=True)])
    assert [provider.consent(record).state for record in (old, second)] == [INVALIDATED] * 2
    assert tombstones(provider, snapshot) == [GONE]
    new = [provider.create(under(provider, "3")), provider.stream(under(provider, "3"))]
    assert [provider.consent(record).state for record in new] == [ACTIVE] * 2
    assert tombstones(provider, snapshot_of(provider)) == [0, 0]
    for version in ("1", "2"):
        refuses(lambda version=version: provider.create(under(provider, version)), "NOTICE_UNKNOWN")


def test_invalidating_version_leaves_a_tombstone(provider):
    other = {"id": "other-notice"}
    provider.update(OPERATOR, notices=[registered("1"), registered("1", **other)])
    provider.create(under(provider, "1"))
    provider.create(under(provider, "1", **other))
    snapshot = snapshot_of(provider)
    provider.update(OPERATOR, notices=[registered("2", invalidating=True)])
    assert tombstones(provider, snapshot) == [0, GONE]


def test_known_notice_never_changes(provider):
    provider.update(OPERATOR, notices=[registered("1")])
    for changed in ({"sha256": "00" * 32}, {"invalidating": True}):
        known = registered("1", **changed)
        refuses(lambda known=known: provider.update(OPERATOR, notices=[known]), "INVALID_FIELD")
    told = provider.update(OPERATOR, notices=[registered("2")])
    assert [known.version for known in told.notices] == ["1", "2"]
    assert provider.update(OPERATOR, notices=[registered("1")]) == told


@pytest.mark.parametrize("changed", [{"id": ""}, {"version": ""}, {"sha256": "00"}, {"sha256": "zz" * 32}])
def test_notice_is_whole(provider, changed):
    refuses(lambda: provider.update(OPERATOR, notices=[registered("1", **changed)]), "INVALID_FIELD")
    provider.upload(load()[1])


def test_metadata_policy_is_of_later_uploads(provider):
    def taken_in():
        request = provider.request(load()[1])
        request.parts[0].CopyFrom(inline_part(api.CATEGORY_FACE_IMAGE, "image/jpeg", tagged_jpeg()))
        return provider.create(request)

    kept = taken_in()
    assert provider.update(OPERATOR, metadata_policy="METADATA_POLICY_STRIP").metadata_policy == 1
    assert taken_in().parts[0].metadata_treatment == api.METADATA_TREATMENT_STRIPPED
    assert provider.get(kept) == kept
    assert kept.parts[0].metadata_treatment == api.METADATA_TREATMENT_KEPT


def test_retention_is_of_later_uploads(provider):
    def days(record):
        return (record.expire_time.seconds - record.upload_time.seconds) / 86_400

    before = provider.upload(load()[1])
    assert provider.update(OPERATOR, retention_days=2).retention_days == 2
    for upload in (provider.create, provider.stream):
        assert 1.9 < days(upload(provider.request(load()[1]))) < 2
    assert provider.get(before) == before and days(before) > 29
    refuses(lambda: provider.update(OPERATOR, retention_days=31), "INVALID_FIELD")
    assert provider.update(OPERATOR, retention_days=0).retention_days in (0, 30)
    assert days(provider.upload(load()[1])) > 29


@pytest.mark.parametrize(
    "paths", [[], ["name"], ["no_such_field"], ["receipt_audience"], ["jwks_proofs"], ["retention_days", "x"], ["*"]]
)
def test_mask_names_what_can_change(provider, paths):
    tenant = api.Tenant(name=provider.name, retention_days=3)
    request = tenants_api.UpdateTenantRequest(tenant=tenant, update_mask={"paths": paths})
    refuses(lambda: provider.vault.caller(OPERATOR).tenants.UpdateTenant(request), "INVALID_FIELD")


def test_mask_must_be_there(provider):
    tenant = api.Tenant(name=provider.name, retention_days=3)
    request = tenants_api.UpdateTenantRequest(tenant=tenant)
    refuses(lambda: provider.vault.caller(OPERATOR).tenants.UpdateTenant(request), "INVALID_FIELD")


def test_fields_change_all_together_or_not_at_all(provider):
    changes = {"retention_days": 3, "notices": [registered("1", sha256="00")]}
    refuses(lambda: provider.update(OPERATOR, **changes), "INVALID_FIELD")
    get = tenants_api.GetTenantRequest(name=provider.name)
    assert provider.caller.tenants.GetTenant(get).tenant == provider.tenant
    key = Signer("receipts-2")
    ends = [revocation("no-such-key", provider.vault.clock.now)]
    refuses(
        lambda: provider.update(
            jwks=jwks(provider.signer, key), jwks_proofs=[key.proof(provider.id)], key_revocations=ends
        ),
        "INVALID_FIELD",
    )
    assert provider.caller.tenants.GetTenant(get).tenant == provider.tenant


def test_operator_learns_of_a_tenant_that_is_not(provider):
    provider.name = f"tenants/none-{uuid.uuid4().hex[:8]}"
    refuses(lambda: provider.update(OPERATOR, retention_days=3), "NOT_FOUND")


def test_changes_survive_a_restart(own_vault):
    provider, key = Provider(own_vault), Signer("receipts-2")
    record = provider.upload(load()[1])
    provider.update(OPERATOR, notices=[registered("1")], retention_days=5, metadata_policy="METADATA_POLICY_STRIP")
    rotate(provider, key, proofs=[key.proof(provider.id)])
    ends = [revocation("receipts-1", own_vault.clock.now - timedelta(hours=1))]
    told = provider.update(key_revocations=ends)
    assert (told.retention_days, told.metadata_policy) == (5, api.METADATA_POLICY_STRIP)
    own_vault.kill()
    own_vault.start()
    get = tenants_api.GetTenantRequest(name=provider.name)
    assert provider.caller.tenants.GetTenant(get).tenant == told
    assert provider.consent(record).state == INVALIDATED
    provider.create(signed_by(provider, key))
    provider.signer = key
    refuses(lambda: provider.create(under(provider, "2")), "NOTICE_UNKNOWN")
