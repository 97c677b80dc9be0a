"""Fixtures: a vault that tests share, each with a tenant of its own, and vaults for those that restart or move time."""

import pytest

pytest.register_assert_rewrite("paging", "refusals", "server", "training")

from provider import Provider  # noqa: E402 (after the line above, which makes their assertions speak)
from server import BINARY, Vault  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def binary():
    assert BINARY.is_file(), f"{BINARY} is missing: cargo build --release"


@pytest.fixture(scope="session")
def shared_vault(tmp_path_factory):
    with Vault(tmp_path_factory.mktemp("shared")) as vault:
        yield vault


@pytest.fixture
def provider(shared_vault):
    """A new tenant on the shared vault, whose clock stands still."""
    return Provider(shared_vault)


@pytest.fixture
def own_vault(tmp_path):
    with Vault(tmp_path) as vault:
        yield vault
