"""Consent receipts: a JSON of claims, signed as a compact JWS (RFC 7515) with Ed25519 (RFC 8037) or P-256 (RFC 7518)."""

import base64
import hashlib
import json
import uuid
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

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
    """A tenant's receipt key: Ed25519."""

    algorithm = "EdDSA"

    def __init__(self, kid):
        self._kid = kid
        self._key = self._new_key()

    def jwk(self):
        return {"kid": self._kid} | self._public()

    def sign(self, claims):
        return self._jws("consent-receipt+jwt", claims)

    def proof(self, tenant, vault=VAULT_ID):
        """That the tenant holds this key."""
        members = json.dumps(self._public(), sort_keys=True, separators=(",", ":"))
        thumbprint = base64url(hashlib.sha256(members.encode()).digest())
        return self._jws("idvault-key-proof+jwt", {"aud": vault, "iss": tenant, "jkt": thumbprint})

    def _jws(self, kind, claims):
        header = {"alg": self.algorithm, "typ": kind, "kid": self._kid}
        signed = f"{_encoded(header)}.{_encoded(claims)}"
        return f"{signed}.{base64url(self._signature(signed.encode()))}"

    def _new_key(self):
        return Ed25519PrivateKey.generate()

    def _public(self):
        return {"kty": "OKP", "crv": "Ed25519", "x": base64url(self._key.public_key().public_bytes_raw())}

    def _signature(self, message):
        return self._key.sign(message)


class P256Signer(Signer):
    """A tenant's receipt key: P-256."""

    algorithm = "ES256"

    def _new_key(self):
        return ec.generate_private_key(ec.SECP256R1())

    def _public(self):
        point = self._key.public_key().public_numbers()
        x, y = (base64url(number.to_bytes(32, "big")) for number in (point.x, point.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}

    def _signature(self, message):
        numbers = utils.decode_dss_signature(self._key.sign(message, ec.ECDSA(SHA256())))
        return b"".join(number.to_bytes(32, "big") for number in numbers)


def jwks(*signers):
    """A JWK set (RFC 7517) of their public keys."""
    return json.dumps({"keys": [signer.jwk() for signer in signers]})


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


def notice(version):
    """The text by which people are asked, as a tenant registers it and as receipts name it."""
    text = f"training notice, version {version}"
    return {"id": "training-notice", "version": version, "sha256": hashlib.sha256(text.encode()).hexdigest()}


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
        "notice": notice("1") | {"language": "en"},
        "event": {"time": given.strftime("%Y-%m-%dT%H:%M:%SZ"), "method": "checkbox", "actor": "data_subject"},
        "grants": grants,
    }
