"""The settings of Kafka: where it is, and how it is spoken to. Wrong combinations are refused when they are read."""

import ssl
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from shared import address_text, errors, tls
from shared.section import SECRET, Section, environment_name

_TLS = ("ca_file", "certificate_file", "key_file", "key_password")
_SASL = ("sasl_mechanism", "sasl_username", "sasl_password")


class SecurityProtocol(StrEnum):
    """Kafka's own names: TLS or not, a password or not."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def tls(self) -> bool:
        return self in {SecurityProtocol.SSL, SecurityProtocol.SASL_SSL}

    @property
    def sasl(self) -> bool:
        return self in {SecurityProtocol.SASL_PLAINTEXT, SecurityProtocol.SASL_SSL}


class SaslMechanism(StrEnum):
    """How the password is proven: PLAIN sends it, SCRAM does not."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


class Kafka(Section):
    bootstrap_servers: str | None = None
    topic: str = Field(default="chaintrue.facts", pattern=r"^[A-Za-z0-9._-]{1,200}$")
    group: str = Field(default="chaintrue", pattern=r"^[A-Za-z0-9._-]{1,200}$")
    timeout_seconds: float = Field(default=15.0, gt=0)
    session_timeout_seconds: float = Field(default=6.0, ge=6)
    security_protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: Annotated[SecretStr | None, SECRET] = Field(default=None, min_length=1)
    sasl_mechanism: SaslMechanism | None = None
    sasl_username: str | None = Field(default=None, min_length=1)
    sasl_password: Annotated[SecretStr | None, SECRET] = Field(default=None, min_length=1)

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, value: str | None) -> str | None:
        """Refuse what is not `host:port` with commas between; the words quote nothing, for it may be a password."""
        if not value:
            return value
        servers = [server.strip() for server in value.split(",") if server.strip()]
        for number, server in enumerate(servers, start=1):
            try:
                _check(server)
            except ValueError as error:
                raise ValueError(f"server {number} of {len(servers)} {error}") from None
        if not servers:
            raise ValueError("names no server: write host:port, or several such with commas between them")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        try:
            self._check_security()
        except errors.SettingError as error:
            error.sections = frozenset({"kafka"})
            raise
        return self

    def _check_security(self) -> None:
        protocol = self.security_protocol
        if not protocol.tls:
            self._refuse(_TLS, why="which does not use TLS", cure="SSL or SASL_SSL")
        if not protocol.sasl:
            self._refuse(_SASL, why="which knows no users", cure="SASL_SSL or SASL_PLAINTEXT")
        if protocol.sasl:
            self._need(_SASL)
        if self.certificate_file is None:
            for part in ("key_file", "key_password"):
                if getattr(self, part) is not None:
                    other = environment_name("kafka", "certificate_file")
                    raise errors.SettingError(
                        f"{environment_name('kafka', part)}: is set, and {other} is not",
                        cure=f"set {other} to the PEM file of the certificate, or unset both",
                    )
        self.ssl_context()

    def ssl_context(self) -> ssl.SSLContext | None:
        """What TLS is spoken with, None where the protocol has none. Raises SettingError for a file that will not do."""
        if not self.security_protocol.tls:
            return None
        try:
            return tls.client_context(
                ca_file=self.ca_file,
                certificate_file=self.certificate_file,
                key_file=self.key_file,
                key_password=None if self.key_password is None else self.key_password.get_secret_value(),
            )
        except tls.Unusable as error:
            name = environment_name("kafka", error.part)
            raise errors.SettingError(f"{name}: {error.words}", cure=f"correct {name}") from None

    def _refuse(self, parts: tuple[str, ...], *, why: str, cure: str) -> None:
        variable = environment_name("kafka", "security_protocol")
        for part in parts:
            if getattr(self, part) is not None:
                name = environment_name("kafka", part)
                raise errors.SettingError(
                    f"{name}: is set, but {variable} is {self.security_protocol}, {why}",
                    cure=f"set {variable} to {cure}, or unset {name}",
                )

    def _need(self, parts: tuple[str, ...]) -> None:
        for part in parts:
            if getattr(self, part) is None:
                name = environment_name("kafka", part)
                choice = f", one of {', '.join(SaslMechanism)}" if part == "sasl_mechanism" else ""
                raise errors.SettingError(
                    f"{name} is not set, but {environment_name('kafka', 'security_protocol')} is {self.security_protocol}",
                    cure=f"set {name}{choice}",
                )


def _check(server: str) -> None:
    """Raise ValueError, with a hint, unless the server is `host`, `host:port` or `[IPv6]:port`."""
    if "@" in server:
        raise ValueError(
            f"has an @: write host:port, and user and password into {environment_name('kafka', 'sasl_username')}"
            f" and {environment_name('kafka', 'sasl_password')}"
        )
    if "://" in server:
        raise ValueError(
            f"has a protocol: write host:port, and that into {environment_name('kafka', 'security_protocol')}"
        )
    _, hosts, tail = address_text.split(server)
    if tail:
        raise ValueError("has a path or options: write host:port")
    address_text.host_and_port(hosts)
