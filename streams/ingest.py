"""RPC to Kafka, as the one active process of the scope does it: indexer, observer and filler, from where the log stands."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import kafka, metrics, position, rpc
from shared.settings import EngineSettings
from streams import anchor, beginning, leadership, log_reader, scopes, second_look, topic
from streams.application import Application
from streams.filler import Filler
from streams.indexer import Indexer, Scope
from streams.observations import Observations
from streams.observer import Observer
from streams.reread import Rereader

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the parts of all scopes share; `scopes` are the names of all of them, in the order of the settings."""

    settings: EngineSettings
    engine: AsyncEngine
    client: rpc.Client
    scopes: tuple[str, ...]

    @property
    def network(self) -> str:
        return self.settings.network.passphrase or ""


async def ingest(around: Surroundings, application: Application) -> None:
    """Index, observe and fill whenever this process is the active one of the scope; ends by cancellation, or by what no waiting
    mends."""

    async def work() -> None:
        await _session(around, application)

    settings = around.settings
    await leadership.lead(work, settings=settings.database, topic=settings.kafka.topic, scope=application.scope)


async def _session(around: Surroundings, application: Application) -> None:
    settings = around.settings
    async with kafka.writer(settings.kafka) as writer:
        scope, through = await _stand(around, application, writer)
        log.info("indexing goes on", scope=scope.name, behind=through)
        reading = Indexer(
            source=around.client,
            sink=writer,
            scope=scope,
            through=through,
            page_limit=settings.rpc.page_limit,
            poll_seconds=settings.rpc.poll_seconds,
            check_chain=lambda: anchor.check_chain(around.engine, around.client, scope=scope.name),
            reach=lambda: second_look.reach(around.client),
            standing=lambda: _standing(around, scope),
        )
        observations = Observations(engine=around.engine, source=around.client, sink=writer, scope=scope)
        observing = Observer(
            engine=around.engine,
            wanted=application.wanted,
            observations=observations,
            scope=scope,
            tip=lambda: reading.latest_ledger if reading.near_tip else None,
        )
        filling = Filler(
            engine=around.engine,
            source=around.client,
            sink=writer,
            scope=scope,
            rereader=Rereader(engine=around.engine, application=application, observations=observations),
            page_limit=settings.rpc.page_limit,
            near_tip=lambda: reading.near_tip,
        )
        await all_of(reading.run(), observing.run(), filling.run())


async def _stand(around: Surroundings, application: Application, writer: kafka.Writer) -> tuple[Scope, str]:
    """The scope, and the position that its log goes on behind; a log that has not begun, or lacks contracts, is begun."""
    settings = around.settings
    partitions = await topic.verify(settings.kafka, scopes=len(around.scopes))
    begun = await log_reader.beginnings(settings.kafka, network=around.network, partitions=partitions)
    owners = {partition: None if one is None else one.origin.scope for partition, one in begun.items()}
    partition = scopes.assign(owners, around.scopes)[application.scope]
    scope = Scope(network=around.network, name=application.scope, contracts=application.contracts, partition=partition)
    await anchor.check_log(around.engine, begun[partition], scope=scope.name, topic=settings.kafka.topic)
    if begun[partition] is None:
        ledger = beginning.first_ledger(settings.stream.start_ledger, await second_look.reach(around.client))
        through = position.end_of(ledger - 1)
        await beginning.begin(writer, scope, through=through)
        return scope, through
    await anchor.check_chain(around.engine, around.client, scope=scope.name)
    standing = await log_reader.standing(settings.kafka, network=scope.network, partition=partition)
    if beginning.new_contracts(standing.contracts, scope.contracts, scope=scope.name):
        await beginning.begin(writer, scope, through=standing.through)
    return scope, standing.through


async def _standing(around: Surroundings, scope: Scope) -> str:
    kafka_settings = around.settings.kafka
    standing = await log_reader.standing(kafka_settings, network=scope.network, partition=scope.partition)
    return standing.through


async def all_of(*parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts together; the first that fails ends the others, and its error is raised as it is."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


def client(settings: EngineSettings) -> rpc.Client:
    """The RPC client of the settings; its requests are counted."""
    return rpc.client(
        settings, on_request=lambda method, outcome: metrics.rpc_requests_total.labels(method, outcome).inc()
    )
