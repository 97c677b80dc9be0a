"""Certificates of destruction, verified by a second implementation of what docs/format.md says of them: of signed notes
(c2sp.org/signed-note), of hashes of Merkle trees (RFC 6962, 2.1) and of proofs of inclusion (RFC 9162, 2.1.3.2)."""

import base64
import hashlib
import subprocess
import uuid

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from idvault.v1 import consent_service_pb2 as consents_api
from idvault.v1 import retention_service_pb2 as retention_api

from refusals import refuses
from server import BINARY
from specimens import load

ED25519 = b"\x01"
DAMAGED = 70  # how `idvault verify` exits


def open_note(note, vkey):
    """The text of a signed note, as fields, if this key signed it."""
    name, key_hash, encoded = vkey.strip().split("+", 2)
    key = base64.b64decode(encoded)
    assert key[:1] == ED25519
    assert hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() == key_hash
    text, signature_line = note.split("\n\n")
    text += "\n"
    prefix = f"— {name} "
    assert signature_line.startswith(prefix)
    signature = base64.b64decode(signature_line.removeprefix(prefix))
    assert signature[:4].hex() == key_hash
    Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], text.encode())
    first, *lines = text.splitlines()
    assert first == "idvault/certificate/v1"
    return dict(line.split(": ", 1) for line in lines)


def token_of(record):
    _, tenant, _, record_id = record.split("/")
    return hashlib.sha256(b"idvault/record-token/v1" + uuid.UUID(record_id).bytes + tenant.encode()).digest()[:16]


def root_by(proof):
    """The root that a proof of inclusion leads to."""

    def node(left, right):
        return hashlib.sha256(b"\x01" + left + right).digest()

    place, last, root = proof.index, proof.count - 1, hashlib.sha256(b"\x00" + proof.token).digest()
    for beside in proof.path:
        assert last > 0, "the path is too long"
        if place % 2 or place == last:
            root = node(beside, root)
            while place and place % 2 == 0:
                place, last = place // 2, last // 2
        else:
            root = node(root, beside)
        place, last = place // 2, last // 2
    assert last == 0, "the path is too short"
    return root


def get(provider, certificate, record=""):
    request = retention_api.GetCertificateRequest(name=certificate, record=record)
    return provider.caller.retention.GetCertificate(request)


@pytest.fixture(name="key")
def key_of_the_vault(shared_vault):
    return (shared_vault.data / "signing" / "vault.vkey").read_text()


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_erasure_is_certified_for_each_record(provider, key, count):
    records = [provider.upload(load()[1]).name for _ in range(count)]
    erase = consents_api.EraseSubjectRequest(parent=provider.name, subject_ref=load()[1].subject_ref)
    destruction = provider.caller.consents.EraseSubject(erase).destruction
    assert destruction.record_count == count
    (name,) = destruction.certificates
    fields = open_note(get(provider, name).certificate.note, key)
    assert (fields["name"], fields["trigger"], fields["records"]) == (name, "SUBJECT_ERASED", str(count))
    for record in records:
        proof = get(provider, name, record).proof
        assert (proof.token, proof.count) == (token_of(record), count)
        assert root_by(proof).hex() == fields["tokens"]
    other = provider.upload(load()[2]).name
    refuses(lambda: get(provider, name, other), "NOT_FOUND")


def test_edited_note_is_refused_by_both(provider, key, tmp_path):
    (name,) = provider.shred(provider.upload(load()[1])).certificates
    note = get(provider, name).certificate.note
    edited = note.replace("records: 1\n", "records: 2\n")
    assert edited != note
    open_note(note, key)
    with pytest.raises(InvalidSignature):
        open_note(edited, key)
    file = tmp_path / "shred.note"
    for text, code in [(note, 0), (edited, DAMAGED)]:
        file.write_text(text, encoding="utf-8")
        verified = subprocess.run([BINARY, "verify", "certificate", file, "--key", key.strip()], capture_output=True)
        assert verified.returncode == code, verified
