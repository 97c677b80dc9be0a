"""Thirty days, never a second more: whatever the clock does."""

from datetime import UTC, timedelta

import pytest
from idvault.v1 import resources_pb2 as api

from provider import Provider
from refusals import refuses
from server import Vault, eventually
from specimens import load
from training import Epoch, snapshot_of

ELAPSED = 1_000
DAY = 86_400


def is_destroyed(provider):
    status = provider.retention()
    counts = status.live_record_count, status.backlog_record_count, len(status.hours)
    return counts == (0, 0, 0) and not status.HasField("next_shred_time") and not provider.vault.files("volumes")


@pytest.fixture
def two_clocks(tmp_path):
    """A vault whose wall clock and elapsed time are moved apart, with one record."""
    with Vault(tmp_path, elapsed=ELAPSED) as vault:
        provider = Provider(vault)
        yield provider, provider.upload(load()[1])


def assert_served(provider, record):
    assert provider.get(record) == record
    epoch = Epoch(provider.vault, snapshot_of(provider)).read_all()
    assert epoch.positions[0].file(api.CATEGORY_FACE_IMAGE) == load()[1].files[0].data


def test_a_month_passes(own_vault):
    provider = Provider(own_vault)
    records = [provider.upload(specimen) for specimen in load()]
    expire_time = records[0].expire_time.ToDatetime(UTC)
    status = provider.retention()
    assert (status.live_record_count, status.backlog_record_count) == (12, 0)
    assert [(hour.expire_time, hour.record_count) for hour in status.hours] == [(records[0].expire_time, 12)]
    assert status.next_shred_time == records[0].expire_time
    assert status.hours[0].sealed_bytes > sum(part.size_bytes for record in records for part in record.parts)

    own_vault.clock.advance(days=15)
    snapshot = snapshot_of(provider)
    own_vault.clock.set(expire_time - timedelta(seconds=1))
    assert provider.get(records[0]) == records[0]
    assert len(Epoch(own_vault, snapshot).read_all().positions) == 12

    own_vault.clock.set(expire_time)
    for record in records:
        refuses(lambda record=record: provider.get(record), "RECORD_GONE")
    refuses(Epoch(own_vault, snapshot).read, "SNAPSHOT_DEPLETED")
    eventually(lambda: is_destroyed(provider))
    generation = provider.retention().keyring_generation
    assert generation > status.keyring_generation
    assert snapshot_of(provider).position_count == 0
    assert Epoch(own_vault, snapshot_of(provider)).read_all().released == []

    own_vault.clock.set(expire_time - timedelta(days=20))
    refuses(lambda: provider.get(records[0]), "RECORD_GONE")


def test_what_fell_due_while_down_is_destroyed_before_serving(own_vault):
    provider = Provider(own_vault)
    record = provider.upload(load()[1])
    own_vault.kill()
    own_vault.clock.advance(days=30)
    own_vault.start()
    status = provider.retention()
    assert (status.live_record_count, status.backlog_record_count) == (0, 0)
    refuses(lambda: provider.get(record), "RECORD_GONE")
    eventually(lambda: is_destroyed(provider))


def test_wall_set_forward_serves_nothing_and_destroys_nothing(two_clocks):
    provider, record = two_clocks
    vault = provider.vault
    snapshot = snapshot_of(provider)
    start = vault.clock.now
    vault.clock.set(start + timedelta(days=40), ELAPSED)

    def assert_nothing_is_served():
        refuses(lambda: provider.get(record), "RECORD_GONE", "CLOCK_UNTRUSTED")
        refuses(Epoch(vault, snapshot).read, "JOB_NOT_ACTIVE", "CLOCK_UNTRUSTED")

    assert_nothing_is_served()
    # A start destroys what is due before it serves: here it must find nothing due.
    vault.kill()
    vault.start(trusted=False)
    assert_nothing_is_served()
    vault.clock.set(start, ELAPSED)
    assert_served(provider, record)


def test_wall_set_back_lengthens_nothing(two_clocks):
    provider, record = two_clocks
    clock = provider.vault.clock
    assert_served(provider, record)
    clock.set(clock.now - timedelta(days=10), ELAPSED + 31 * DAY)
    refuses(lambda: provider.get(record), "RECORD_GONE")
    eventually(lambda: is_destroyed(provider))
