"""Consent receipts: a JSON of claims, signed as a compact JWS (RFC 7515) with Ed25519 (RFC 8037)."""

import base64
import hashlib
import json
import uuid
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server import VAULT_ID

LEGAL_ENTITY = "Example Vision Ltd"
REGION = "sg-1"
FILES = ("FACE_IMAGE", "DOCUMENT_FRONT", "DOCUMENT_BACK")
FIELDS = ("NAME", "ADDRESS", "ID_NUMBER", "COUNTRY", "DATE_OF_BIRTH", "SEX", "MRZ")
EVERYTHING = FILES + FIELDS


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _encoded(value):
    return base64url(json.dumps(value).encode())


class Signer:
    """A tenant's receipt key."""

    def __init__(self, kid):
        self._kid = kid
        self._key = Ed25519PrivateKey.generate()

    def jwks(self):
        public = base64url(self._key.public_key().public_bytes_raw())
        return json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": self._kid, "x": public}]})

    def sign(self, claims):
        header = {"alg": "EdDSA", "typ": "consent-receipt+jwt", "kid": self._kid}
        signed = f"{_encoded(header)}.{_encoded(claims)}"
        return f"{signed}.{base64url(self._key.sign(signed.encode()))}"


def grant(purpose, categories, **changed):
    """An explicit grant of `purpose` for `categories`."""
    return {
        "purpose": purpose,
        "categories": list(categories),
        "decision": "given",
        "consent_type": "explicit",
        "lawful_basis": "consent",
        "recipients": [LEGAL_ENTITY],
        "regions": [REGION],
        "ui_element_id": f"consent-screen/{purpose.lower()}",
    } | changed


def claims(tenant, now, specimen, grants):
    """The claims of a receipt that a person gives a minute before `now`, good for a year."""
    given = now - timedelta(minutes=1)
    return {
        "schema": "idvault.consent/1",
        "iss": tenant,
        "aud": VAULT_ID,
        "jti": str(uuid.uuid4()),
        "iat": int(given.timestamp()),
        "nbf": int(given.timestamp()),
        "exp": int((given + timedelta(days=365)).timestamp()),
        "subject_ref": specimen.subject_ref,
        "subject_class": "adult",
        "jurisdiction": specimen.jurisdiction,
        "notice": {
            "id": "training-notice",
            "version": "1",
            "sha256": hashlib.sha256(b"training notice, version 1").hexdigest(),
            "language": "en",
        },
        "event": {"time": given.strftime("%Y-%m-%dT%H:%M:%SZ"), "method": "checkbox", "actor": "data_subject"},
        "grants": grants,
    }
