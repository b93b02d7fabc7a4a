"""RPC to Kafka, as the one active process of the scope does it: indexer and observer, from where the log stands."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import kafka, metrics, rpc
from shared.settings import EngineSettings
from streams import indexer, leadership, log_reader
from streams.application import Application
from streams.indexer import Indexer, Scope
from streams.observer import Observer

log = structlog.get_logger()


async def ingest(
    *, settings: EngineSettings, application: Application, engine: AsyncEngine, client: rpc.Client, scope: Scope
) -> None:
    """Index and observe whenever this process is the active one; ends by cancellation, or by what no waiting mends."""

    async def work() -> None:
        await _session(settings=settings, application=application, engine=engine, client=client, scope=scope)

    await leadership.lead(work, settings=settings.database, topic=settings.kafka.topic, scope=scope.name)


async def _session(
    *, settings: EngineSettings, application: Application, engine: AsyncEngine, client: rpc.Client, scope: Scope
) -> None:
    standing = await log_reader.standing(settings.kafka, network=scope.network, partition=scope.partition)
    async with kafka.writer(settings.kafka) as writer:
        if standing is None:
            held = await client.health()
            ledger = indexer.first_ledger(
                settings.stream.start_ledger, oldest=held.oldest_ledger, latest=held.latest_ledger
            )
            through = (await indexer.begin(writer, scope, ledger=ledger)).through
        else:
            indexer.check_contracts(standing.origin, scope.contracts)
            through = standing.through
        log.info("indexing goes on", behind=through)
        reading = Indexer(
            source=client,
            sink=writer,
            scope=scope,
            through=through,
            page_limit=settings.rpc.page_limit,
            poll_seconds=settings.rpc.poll_seconds,
        )
        observing = Observer(
            engine=engine,
            wanted=application.wanted,
            source=client,
            sink=writer,
            scope=scope,
            tip=lambda: reading.latest_ledger if reading.near_tip else None,
        )
        await all_of(reading.run(), observing.run())


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
    return rpc.Client(
        urls=settings.rpc.urls,
        passphrase=settings.network.passphrase or "",
        timeout_seconds=settings.rpc.timeout_seconds,
        max_attempts=settings.rpc.max_attempts,
        requests_per_second=settings.rpc.requests_per_second,
        on_request=lambda method, outcome: metrics.rpc_requests_total.labels(method, outcome).inc(),
    )
