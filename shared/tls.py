"""TLS of our clients: contexts from PEM files, which check certificate and host name, and words for files that will not do.

Without a file of authorities those of the system are trusted.
"""

import ssl
from pathlib import Path

_SEALED = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")
HOSTNAME_MISMATCH = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
EXPIRED = 10
"""X509_V_ERR_CERT_HAS_EXPIRED."""


class Unusable(Exception):
    """A file, or its password, will not do. `part` is the parameter of `client_context` at fault, `words` are for people."""

    def __init__(self, part: str, words: str) -> None:
        self.part = part
        self.words = words
        super().__init__(f"{part}: {words}")


def client_context(
    *,
    ca_file: Path | None,
    certificate_file: Path | None = None,
    key_file: Path | None = None,
    key_password: str | None = None,
) -> ssl.SSLContext:
    """A context that trusts `ca_file` alone (None: the system's authorities), and shows the certificate to who asks for one.

    The key may stand in the file of the certificate. Raises Unusable.
    """
    if ca_file is not None:
        certificates("ca_file", ca_file)
    context = ssl.create_default_context(cafile=ca_file)
    if certificate_file is not None:
        show(context, certificate_file=certificate_file, key_file=key_file, key_password=key_password)
    return context


def show(context: ssl.SSLContext, *, certificate_file: Path, key_file: Path | None, key_password: str | None) -> None:
    """Let the context show the certificate to a server that asks for one; raises Unusable."""
    certificates("certificate_file", certificate_file)
    holder = certificate_file if key_file is None else key_file
    sealed = any(mark in content("key_file", holder) for mark in _SEALED)
    try:
        # Never None: OpenSSL would ask for the password at the terminal.
        context.load_cert_chain(certificate_file, holder, password=key_password or "")
    except (ssl.SSLError, ValueError) as error:
        raise _key_trouble(error, holder, sealed=sealed, password=key_password) from None


def certificates(part: str, path: Path) -> None:
    """Raise Unusable unless the file holds a certificate."""
    content(part, path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise Unusable(part, f"{path} holds no certificate in PEM form") from None


def content(part: str, path: Path) -> bytes:
    """Return the bytes of the file; raises Unusable where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise Unusable(part, f"there is no file {path}") from None
    except OSError as error:
        raise Unusable(part, f"{path} cannot be read ({error.strerror or type(error).__name__})") from None


def _key_trouble(error: Exception, path: Path, *, sealed: bool, password: str | None) -> Unusable:
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return Unusable("key_file", f"the key in {path} is not that of the certificate")
    if sealed and password is None:
        return Unusable("key_password", f"is not set, and the key in {path} is encrypted")
    if sealed:
        return Unusable("key_password", f"does not open the key in {path}")
    return Unusable("key_file", f"{path} holds no private key in PEM form")


def distrust(error: ssl.SSLCertVerificationError) -> str:
    """Why a server's certificate was refused, without OpenSSL's own decoration."""
    return error.verify_message or "its certificate cannot be verified"
