"""TLS and users on a real Kafka: what works with each protocol, and which setting is named when it does not."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from migrations import runner as migrations
from shared import database as databases
from shared import errors, kafka, same_log
from shared.settings import Kafka
from streams import topic
from streams.apply import Applier
from streams.worker import Worker
from tests.integration import stream_parts as parts
from tests.integration.stream_parts import NETWORK, PARTITION, Plain, until
from tests.secured import PASSWORD, SecuredKafka

WAYS = [
    ("SSL", "PLAIN"),
    ("SASL_PLAINTEXT", "SCRAM-SHA-256"),
    ("SASL_PLAINTEXT", "SCRAM-SHA-512"),
    ("SASL_SSL", "PLAIN"),
    ("SASL_SSL", "SCRAM-SHA-256"),
    ("SASL_SSL", "SCRAM-SHA-512"),
]
WRONG = "n0t-the-password"


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    async with databases.connect(parts.database_settings(database), section="database") as engine:
        await migrations.upgrade(engine)
        yield engine


def settings_for(secured: SecuredKafka, protocol: str, mechanism: str = "SCRAM-SHA-256", **changes: Any) -> Kafka:
    name = f"{protocol}-{mechanism}".lower()
    options = secured.options(protocol, mechanism) | {"topic": name, "group": name, "timeout_seconds": 5} | changes
    return Kafka(**{name: value for name, value in options.items() if value is not None})


def worker(settings: Kafka, engine: AsyncEngine) -> Worker:
    applier = Applier(engine=engine, applications=[Plain()], network=NETWORK)
    return Worker(settings=settings, engine=engine, applier=applier)


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=15)


@pytest.mark.parametrize(("protocol", "mechanism"), WAYS)
async def test_a_frame_goes_all_the_way(
    secured_kafka: SecuredKafka, engine: AsyncEngine, protocol: str, mechanism: str
) -> None:
    """The topic is made, a frame written and read by our own clients, and applied by Faust's."""
    settings = settings_for(secured_kafka, protocol, mechanism)
    assert await topic.ensure(settings)
    async with kafka.writer(settings) as writer:
        assert await writer.write(PARTITION, [parts.an_origin(100)]) == [0]
    assert len(await parts.read_log(settings, network=NETWORK)) == 1
    task = asyncio.create_task(worker(settings, engine).run())
    try:

        async def applied() -> bool:
            return task.done() or await same_log.next_offset(engine, partition=PARTITION) == 1

        await until(applied)
        assert not task.done(), task.exception()
    finally:
        await ended(task)


def _refused(secured: SecuredKafka) -> dict[str, tuple[Kafka, str]]:
    """Settings that are wrong, and the setting that is named."""
    foreign = str(secured.foreign.certificate)
    taken = {
        "certificate_file": str(secured.foreign_client.certificate),
        "key_file": str(secured.foreign_client.key),
    }
    elsewhere = {name: secured.server.secured(name) for name in ("SSL", "SASL_PLAINTEXT", "SASL_SSL")}
    plain = secured.server.bootstrap_servers
    named = secured.server.secured("SASL_SSL").replace("127.0.0.1", "localhost")
    make = settings_for
    return {
        "password": (make(secured, "SASL_SSL", "PLAIN", sasl_password=WRONG), "SASL_PASSWORD"),
        "password by SCRAM": (make(secured, "SASL_SSL", sasl_password=WRONG), "SASL_PASSWORD"),
        "user": (make(secured, "SASL_PLAINTEXT", sasl_username="nobody"), "SASL_PASSWORD"),
        "authority": (make(secured, "SASL_SSL", ca_file=foreign), "CA_FILE"),
        "authorities of the system": (make(secured, "SASL_SSL", ca_file=None), "CA_FILE"),
        "no certificate": (make(secured, "SSL", certificate_file=None, key_file=None), "CERTIFICATE_FILE"),
        "certificate": (make(secured, "SSL", **taken), "CERTIFICATE_FILE"),
        "mechanism": (make(secured, "SASL_PLAINTEXT", "PLAIN"), "SASL_MECHANISM"),
        "users where none are": (make(secured, "SASL_PLAINTEXT", bootstrap_servers=plain), "SECURITY_PROTOCOL"),
        "users behind TLS": (
            make(secured, "SASL_PLAINTEXT", bootstrap_servers=elsewhere["SASL_SSL"]),
            "SECURITY_PROTOCOL",
        ),
        "no TLS at TLS": (make(secured, "PLAINTEXT", bootstrap_servers=elsewhere["SSL"]), "SECURITY_PROTOCOL"),
        "TLS at none": (make(secured, "SSL", bootstrap_servers=plain), "SECURITY_PROTOCOL"),
        "no user": (
            make(secured, "PLAINTEXT", bootstrap_servers=elsewhere["SASL_PLAINTEXT"]),
            "SECURITY_PROTOCOL",
        ),
        "no user behind TLS": (make(secured, "SSL", bootstrap_servers=elsewhere["SASL_SSL"]), "SECURITY_PROTOCOL"),
        "another name": (make(secured, "SASL_SSL", bootstrap_servers=named), "BOOTSTRAP_SERVERS"),
        "one server of two": (
            make(secured, "SASL_SSL", bootstrap_servers=f"127.0.0.1:1,{elsewhere['SASL_SSL']}", sasl_password=WRONG),
            "SASL_PASSWORD",
        ),
    }  # fmt: skip


async def test_each_refusal_names_its_setting_in_time(secured_kafka: SecuredKafka) -> None:
    for name, (settings, setting) in _refused(secured_kafka).items():
        for client in (kafka.admin, kafka.consumer, kafka.writer):
            began = time.monotonic()
            with pytest.raises(errors.KafkaUnreachable) as caught:
                async with client(settings):
                    pass
            words = str(caught.value)
            assert words.startswith(f"CHAINTRUE_KAFKA__{setting}: "), f"{name}: {words}"
            assert caught.value.cure, name
            assert time.monotonic() - began < settings.timeout_seconds, name
            assert WRONG not in words
            assert PASSWORD not in words


async def test_what_no_waiting_mends_is_not_tried_again(secured_kafka: SecuredKafka) -> None:
    final = {"password", "authority", "certificate", "mechanism", "another name"}
    for name, (settings, _) in _refused(secured_kafka).items():
        if name in final:
            with pytest.raises(errors.KafkaRefused):
                await topic.verify(settings)
    assert not errors.KafkaRefused.retryable


async def test_a_key_may_be_sealed_or_stand_with_its_certificate(secured_kafka: SecuredKafka) -> None:
    sealed = {
        "certificate_file": str(secured_kafka.sealed_client.certificate),
        "key_file": str(secured_kafka.sealed_client.key),
        "key_password": "k3y-secret",
    }
    together = {"certificate_file": str(secured_kafka.client.both), "key_file": None}
    for changes in (sealed, together):
        settings = settings_for(secured_kafka, "SSL", **changes)
        async with kafka.admin(settings) as admin:
            assert (await admin.describe_cluster())["brokers"]


async def test_a_single_refusal_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some brokers ask another server about their users."""
    from aiokafka.errors import SaslAuthenticationFailed

    from shared import kafka_faults

    answers: list[BaseException | None] = [
        SaslAuthenticationFailed(),
        None,
        SaslAuthenticationFailed(),
        SaslAuthenticationFailed(),
    ]
    answers += [OSError(), *[SaslAuthenticationFailed()] * 3]

    async def diagnose(*_: object) -> BaseException | None:
        return answers.pop(0)

    monkeypatch.setattr(kafka, "LOOK_SECONDS", 0)
    monkeypatch.setattr(kafka_faults, "diagnose", diagnose)
    settings = Kafka(
        bootstrap_servers="127.0.0.1:1",
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="u",
        sasl_password=SecretStr("p"),
    )
    with pytest.raises(errors.KafkaRefused):
        await kafka.until_refused(settings)
    assert answers == []
