"""Stopping and starting: what was acknowledged is there, whatever ended the server; and starts that must not happen."""

import shutil

import pytest

from provider import Provider
from refusals import refuses
from server import BINARY, Vault
from specimens import load
from training import Epoch, snapshot_of


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
def test_everything_acknowledged_survives(own_vault, end):
    provider = Provider(own_vault)
    request = provider.request(load()[0])
    records = [provider.create(request)] + [provider.upload(specimen) for specimen in load()[1:]]
    snapshot = snapshot_of(provider)
    before = Epoch(own_vault, snapshot).read_all()
    last = provider.upload(load()[1])
    if end == "SIGTERM":
        assert own_vault.stop() == 0
    else:
        own_vault.kill()
    own_vault.start()
    assert [provider.get(record) for record in (*records, last)] == [*records, last]
    assert provider.create(request) == records[0]
    after = Epoch(own_vault, snapshot).read_all()
    assert after.positions == before.positions
    assert after.released[0].sequence > before.released[-1].sequence


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
def test_what_was_shredded_stays_shredded(own_vault, end):
    provider = Provider(own_vault)
    kept, gone = provider.upload(load()[1]), provider.upload(load()[2])
    assert provider.shred(gone).record_count == 1
    if end == "SIGTERM":
        assert own_vault.stop() == 0
    else:
        own_vault.kill()
    own_vault.start()
    refuses(lambda: provider.get(gone), "RECORD_GONE")
    assert provider.get(kept) == kept


@pytest.mark.parametrize("lost", ["root.cell", "keyring"])
def test_data_without_its_keys_is_refused(own_vault, lost):
    Provider(own_vault).upload(load()[1])
    assert own_vault.stop() == 0
    path = own_vault.data / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = sorted(own_vault.data.rglob("*"))
    assert own_vault.run_until_exit() == 70
    assert sorted(own_vault.data.rglob("*")) == before


@pytest.fixture
def unstarted(tmp_path):
    return Vault(tmp_path)


def _assert_refused_before_anything(vault, command=None):
    assert vault.run_until_exit(command) == 64
    assert not vault.data.exists()


@pytest.mark.parametrize(
    "config",
    [
        {"vault": {}},
        {"vault": {"id": ""}},
        {"trust": {}},
        {"listen_host": "nowhere"},
        {"roles": {"operator": ["not a SPIFFE id"]}},
        {"listen_host": "0.0.0.0"},
    ],
    ids=["no vault id", "empty vault id", "no trust domain", "bad address", "bad role", "not loopback"],
)
def test_bad_config_is_refused(unstarted, config):
    unstarted.write_config(**config)
    _assert_refused_before_anything(unstarted)


def test_config_that_cannot_be_read_is_refused(unstarted):
    unstarted.config.write_text("this is not TOML")
    _assert_refused_before_anything(unstarted)
    unstarted.config.unlink()
    _assert_refused_before_anything(unstarted)


def test_bad_usage_is_refused(unstarted):
    for command in ([BINARY, "serve"], [*unstarted.command(), "--no-such-option"]):
        _assert_refused_before_anything(unstarted, command)


def test_without_tls_and_without_saying_so_nothing_starts(tmp_path):
    unstarted = Vault(tmp_path, tls=False)
    _assert_refused_before_anything(unstarted, [part for part in unstarted.command() if part != "--insecure-loopback"])
