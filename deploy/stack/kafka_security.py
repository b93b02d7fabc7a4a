"""Secured listeners of the local Kafka, beside its plain one: SSL, SASL_PLAINTEXT and SASL_SSL at once, a port for each.

Broker, controller and the probe of the stack go on to use the plain listeners. Certificates are PEM files, so no key store of
Java is needed. A user has one password, of ASCII, for PLAIN and both kinds of SCRAM.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.stack.ports import HOST

PROTOCOLS = ("SSL", "SASL_PLAINTEXT", "SASL_SSL")
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
MECHANISMS = {"sasl_plaintext": SCRAM, "sasl_ssl": ("PLAIN", *SCRAM)}
"""By listener: PLAIN sends the password as it is, so it is offered over TLS alone."""

_MODULES = "org.apache.kafka.common.security"


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSecurity:
    """What the secured listeners show and ask for.

    `certificate` is a PEM file with the broker's key (PKCS#8) and then its certificate. With `client_authority`, a PEM file,
    the SSL listener asks every client for a certificate of it. `users` are passwords by name.
    """

    certificate: Path
    client_authority: Path | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)

    def listeners(self, ports: Sequence[int]) -> list[str]:
        """`SSL://127.0.0.1:PORT` and so on, with these ports."""
        return [f"{protocol}://{HOST}:{port}" for protocol, port in zip(PROTOCOLS, ports, strict=True)]

    def properties(self) -> dict[str, str]:
        """The broker's properties, without the addresses."""
        own = ",".join(f"{protocol}:{protocol}" for protocol in ("PLAINTEXT", *PROTOCOLS))
        found = {
            "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{own}",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.certificate),
        }
        if self.client_authority is not None:
            found |= {
                "listener.name.ssl.ssl.client.auth": "required",
                "listener.name.ssl.ssl.truststore.type": "PEM",
                "listener.name.ssl.ssl.truststore.location": str(self.client_authority),
            }
        for protocol, mechanisms in MECHANISMS.items():
            found[f"listener.name.{protocol}.sasl.enabled.mechanisms"] = ",".join(mechanisms)
            for mechanism in mechanisms:
                name = f"listener.name.{protocol}.{mechanism.lower()}.sasl.jaas.config"
                found[name] = self._plain() if mechanism == "PLAIN" else f"{_MODULES}.scram.ScramLoginModule required;"
        return found

    def format_arguments(self) -> Iterator[str]:
        """What `StorageTool format` is told of the users of SCRAM, who live in the cluster's metadata.

        Passwords stand in the command line of that tool for its second: this is a stack for tests.
        """
        for mechanism in SCRAM:
            for name, password in self.users.items():
                yield from ("--add-scram", f"{mechanism}=[name={name},password={password}]")

    def _plain(self) -> str:
        users = " ".join(f"user_{name}={_quoted(password)}" for name, password in self.users.items())
        return f"{_MODULES}.plain.PlainLoginModule required {users};"


def properties_file(properties: Mapping[str, str]) -> str:
    """The text of a Java properties file, in ASCII."""
    return "".join(f"{name}={_escaped(value)}\n" for name, value in properties.items())


def _escaped(value: str) -> str:
    r"""With backslashes doubled, and what is not ASCII as Java writes it: `\u` and four hex digits of UTF-16."""
    units = value.replace("\\", "\\\\").encode("utf-16-be")
    codes = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    return "".join(chr(code) if code < 128 else f"\\u{code:04x}" for code in codes)


def _quoted(text: str) -> str:
    """As JAAS reads it, within double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
