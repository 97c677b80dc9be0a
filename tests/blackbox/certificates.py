"""Certificates for mutual TLS: those of `idvault dev-certs`, and of all others that its authority can be made to name."""

import subprocess
from datetime import UTC, datetime, timedelta

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Certificates:
    """An authority in `folder`, the vault's own certificate, and clients of both."""

    def __init__(self, binary, folder):
        subprocess.run([binary, "dev-certs", "--dir", folder], check=True, capture_output=True)
        self.authority = folder / "ca.pem"
        files = {"cert": "server.pem", "key": "server.key", "client_ca": "ca.pem"}
        self.config = {setting: str(folder / name) for setting, name in files.items()}
        self._certificate = x509.load_pem_x509_certificate(self.authority.read_bytes())
        self._key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)

    def credentials(self, *uris):
        """A channel's credentials, by a certificate that names these URIs."""
        certificate, key = self.sign(*uris)
        return grpc.ssl_channel_credentials(self.authority.read_bytes(), key, certificate)

    def sign(self, *uris):
        """A certificate that names these URIs, and its key; both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )
        if uris:
            names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
            builder = builder.add_extension(names, critical=True)
        return (
            builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )
