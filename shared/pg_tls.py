"""TLS to PostgreSQL: from libpq's options to an SSL context. The defaults in ~/.postgresql are libpq's, too."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from shared import tls

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
ENCRYPTED = ("verify-full", "verify-ca", "require")
"""The modes that take no connection without TLS; libpq verifies with `require` where it knows an authority."""
VERSIONS = {"TLSv1": "TLSv1", "TLSv1.1": "TLSv1_1", "TLSv1.2": "TLSv1_2", "TLSv1.3": "TLSv1_3"}
SYSTEM = "system"
_LOWEST = "TLSv1.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What the options of an address say about TLS. `ca_file` is `SYSTEM` for the authorities of the system."""

    mode: str = "prefer"
    ca_file: Path | str | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    crl_file: Path | None = None
    lowest: str | None = None
    highest: str | None = None
    direct: bool = False
    shows_certificate: bool = True

    @property
    def is_required(self) -> bool:
        """Whether a connection without TLS is refused."""
        return self.mode in ENCRYPTED


def context(wanted: Tls) -> ssl.SSLContext:
    """Return the context for a mode that is required; raises `tls.Unusable` for a file that will not do.

    Not `ssl.create_default_context`: from Python 3.13 on it refuses certificates that libpq takes (VERIFY_X509_STRICT).
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = wanted.mode == "verify-full"
    made.minimum_version = ssl.TLSVersion[VERSIONS[wanted.lowest or _LOWEST]]
    if wanted.highest is not None:
        made.maximum_version = ssl.TLSVersion[VERSIONS[wanted.highest]]
    made.set_alpn_protocols(["postgresql"])  # direct TLS needs it, from PostgreSQL 17 on
    _trust(made, wanted)
    if wanted.shows_certificate:
        _show(made, wanted)
    return made


def _show(made: ssl.SSLContext, wanted: Tls) -> None:
    certificate = wanted.certificate_file or _default("postgresql.crt")
    if certificate is not None:
        key = wanted.key_file or _default("postgresql.key")
        tls.show(made, certificate_file=certificate, key_file=key, key_password=wanted.key_password)
        return
    for part, given in (("key_file", wanted.key_file), ("key_password", wanted.key_password)):
        if given is not None:
            raise tls.Unusable(part, "counts only with a certificate: add sslcert, or remove it")


def _trust(made: ssl.SSLContext, wanted: Tls) -> None:
    """Load authorities and revocation lists. Without an authority `require` verifies nothing, and the stronger modes fail."""
    authority = wanted.ca_file or _default("root.crt")
    if authority is None:
        if wanted.mode != "require":
            raise tls.Unusable(
                "ca_file", f"is not set, and sslmode={wanted.mode} needs it: name a PEM file, or `system`"
            )
        if wanted.crl_file is not None:
            raise tls.Unusable("crl_file", "counts only where the certificate is verified: add sslrootcert")
        made.verify_mode = ssl.CERT_NONE
        return
    if authority == SYSTEM:
        made.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        tls.certificates("ca_file", Path(authority))
        made.load_verify_locations(cafile=authority)
    if (revoked := wanted.crl_file or _default("root.crl")) is not None:
        tls.content("crl_file", revoked)
        try:
            made.load_verify_locations(cafile=revoked)
        except ssl.SSLError:
            raise tls.Unusable("crl_file", f"{revoked} holds no revocation list in PEM form") from None
        made.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _default(name: str) -> Path | None:
    """Return libpq's own file of that name, where there is one; a user without a home has none."""
    try:
        path = Path.home() / ".postgresql" / name
        return path if path.is_file() else None
    except (RuntimeError, KeyError, OSError):  # no home, no name for the user's number, no right to look there
        return None
