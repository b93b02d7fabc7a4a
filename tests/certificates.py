"""Certificates for tests: an authority, servers and clients of it, and what may be wrong with them. PEM files, made in a moment.

`Authority(directory, "one").issue("server")` is good for 127.0.0.1 and localhost.
"""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

NAMES = ("127.0.0.1", "localhost")
VALID = timedelta(days=2)


@dataclass(frozen=True)
class Issued:
    """Three PEM files: the certificate, its key (PKCS#8), and both in one, as Kafka wants them."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """A certificate authority of its own, whose files lie in `directory` under `name`."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(f"authority {name}")
        signed = (
            _builder(self._subject, self._subject, self._key.public_key(), age=timedelta())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = directory / f"{name}.pem"
        self.certificate.write_bytes(signed.public_bytes(Encoding.PEM))

    def issue(
        self,
        name: str,
        *,
        names: tuple[str, ...] = NAMES,
        password: str | None = None,
        age: timedelta = timedelta(),
    ) -> Issued:
        """A certificate for `names`, made `age` ago and good for two days; its key is encrypted with `password`."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        signed = (
            _builder(_name(name), self._subject, key.public_key(), age=age)
            .add_extension(x509.SubjectAlternativeName([_alternative(each) for each in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(issuer_key, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        encryption: KeySerializationEncryption = NoEncryption()
        if password is not None:
            encryption = BestAvailableEncryption(password.encode())
        certificate = signed.public_bytes(Encoding.PEM)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        return Issued(
            certificate=self._write(f"{name}.crt", certificate),
            key=self._write(f"{name}.key", private),
            both=self._write(f"{name}.both", private + certificate),
        )

    def _write(self, suffix: str, content: bytes) -> Path:
        path = self._directory / f"{self._name}-{suffix}"
        path.touch(mode=0o600)
        path.write_bytes(content)
        return path


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, age: timedelta
) -> x509.CertificateBuilder:
    made = datetime.now(UTC) - age
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(made - timedelta(hours=1))
        .not_valid_after(made + VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    """Python 3.13 and later verify strictly: an authority has to say that it signs certificates."""
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
