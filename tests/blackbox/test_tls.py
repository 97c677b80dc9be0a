"""A vault under mutual TLS, as clients of another TLS library meet it. The whole suite runs under TLS when IDVAULT_TLS is 1."""

import socket
import ssl

import pytest
from idvault.v1 import tenant_service_pb2 as tenants_api

from client import Caller
from refusals import refuses
from server import OPERATOR, Vault, spiffe_id


@pytest.fixture
def vault(tmp_path):
    with Vault(tmp_path, tls=True) as vault:
        yield vault


def _list(caller):
    return caller.tenants.ListTenants(tenants_api.ListTenantsRequest())


def test_certificate_says_who_calls(vault):
    _list(vault.caller(OPERATOR))
    refuses(lambda: _list(vault.caller("person/sam")), "CALLER_NOT_ALLOWED")


@pytest.mark.parametrize(
    "uris",
    [(), ("spiffe://other.test/person/olga",), (spiffe_id(OPERATOR), spiffe_id("person/sam"))],
    ids=["nobody", "other trust domain", "two"],
)
def test_certificate_must_name_one_caller_of_the_trust_domain(vault, uris):
    caller = Caller(vault.address, spiffe_id(OPERATOR), vault.certificates.credentials(*uris))
    refuses(lambda: _list(caller), "CALLER_UNKNOWN")
    caller.close()


def test_metadata_says_nothing(vault):
    caller = Caller(vault.address, spiffe_id(OPERATOR), vault.certificates.credentials(spiffe_id("person/sam")))
    refuses(lambda: _list(caller), "CALLER_NOT_ALLOWED")
    caller.close()


def _greet(vault, tmp_path, change=lambda context: None, names=(spiffe_id(OPERATOR),)):
    """Greets the vault as a client without gRPC; gives the version, once the vault has said its first word."""
    context = ssl.create_default_context(cafile=vault.certificates.authority)
    context.set_alpn_protocols(["h2"])
    if names is not None:
        paper = tmp_path / "client.pem"
        paper.write_bytes(b"".join(vault.certificates.sign(*names)))
        context.load_cert_chain(paper)
    change(context)
    host, port = vault.address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as tcp:
        with context.wrap_socket(tcp, server_hostname=host) as tls:
            if not tls.recv(1):
                raise ConnectionResetError
            return tls.version()


def test_only_version_1_3_is_spoken(vault, tmp_path):
    assert _greet(vault, tmp_path) == "TLSv1.3"

    def limit(context):
        context.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
        _greet(vault, tmp_path, limit)


def test_client_without_certificate_is_refused(vault, tmp_path):
    with pytest.raises(ssl.SSLError, match="(?i)certificate.required"):
        _greet(vault, tmp_path, names=None)


def test_tls_and_no_tls_exclude_each_other(tmp_path):
    vault = Vault(tmp_path, tls=True)
    assert vault.run_until_exit([*vault.command(), "--insecure-loopback"]) == 64
    for missing in ("cert", "key", "client_ca"):
        tls = {name: path for name, path in vault.certificates.config.items() if name != missing}
        vault.write_config(tls=tls)
        assert vault.run_until_exit() == 64
    vault.write_config(tls=vault.certificates.config | {"cert": str(vault.config)})
    assert vault.run_until_exit() == 64
    assert not vault.data.exists()
