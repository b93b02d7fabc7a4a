"""A Kafka with TLS and users, always of the local stack: what it shows, whom it knows, and settings that fit it."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import stack
from tests.certificates import Authority, Issued

USER = "alice"
PASSWORD = "p@ss/w:rd%40\"x'\\y"
"""All that addresses, JSON, JAAS and Java's properties have to escape."""


@dataclass(frozen=True)
class SecuredKafka:
    """`authority` signed the broker's certificate, which is for 127.0.0.1 alone; `foreign` is trusted by nobody.

    The certificates of `client` and `sealed_client` (its key is encrypted) are taken by the broker.
    """

    server: stack.Kafka
    authority: Authority
    foreign: Authority
    client: Issued
    sealed_client: Issued
    foreign_client: Issued

    def options(self, protocol: str, mechanism: str = "SCRAM-SHA-256") -> dict[str, Any]:
        """Settings of the section `kafka` that work with this protocol."""
        found: dict[str, Any] = {"security_protocol": protocol}
        if protocol == "PLAINTEXT":
            return {**found, "bootstrap_servers": self.server.bootstrap_servers}
        found["bootstrap_servers"] = self.server.secured(protocol)
        if protocol.endswith("SSL"):
            found["ca_file"] = str(self.authority.certificate)
        if protocol == "SSL":
            found |= {"certificate_file": str(self.client.certificate), "key_file": str(self.client.key)}
        if protocol.startswith("SASL"):
            found |= {"sasl_mechanism": mechanism, "sasl_username": USER, "sasl_password": PASSWORD}
        return found


@asynccontextmanager
async def kafka() -> AsyncIterator[SecuredKafka]:
    """One for a whole test run."""
    with tempfile.TemporaryDirectory(prefix="chaintrue-certificates-") as made:
        directory = Path(made)
        authority, clients, foreign = (Authority(directory, name) for name in ("authority", "clients", "foreign"))
        security = stack.KafkaSecurity(
            certificate=authority.issue("broker", names=("127.0.0.1",)).both,
            client_authority=clients.certificate,
            users={USER: PASSWORD},
        )
        async with stack.kafka(security=security) as server:
            yield SecuredKafka(
                server=server,
                authority=authority,
                foreign=foreign,
                client=clients.issue("client"),
                sealed_client=clients.issue("sealed", password="k3y-secret"),
                foreign_client=foreign.issue("client"),
            )
