"""The stream: its parts as supervised tasks. The first that fails stops all; a stop is clean, and bounded in time."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Literal

import structlog

from shared import database, errors, metrics, rpc
from shared.settings import EngineSettings
from streams import gauges, log_guard, pipeline, topic
from streams.application import Application
from streams.apply import Applied, Applier
from streams.ingest import Surroundings, ingest
from streams.ingest import client as rpc_client
from streams.worker import Worker

log = structlog.get_logger()

Only = Literal["indexer", "worker"]
STOP_SECONDS = 9.0
CHECK_PAUSE_SECONDS = 1.0


async def run(
    settings: EngineSettings, applications: Sequence[Application], *, stop: asyncio.Event, only: Only | None = None
) -> None:
    """Stream until `stop` is set; returns within 10 s of it. Raises a ChaintrueError when it cannot start or go on.

    `only="indexer"` is indexer and observer, `only="worker"` the Faust worker; None is all of them.
    """
    settings.require("network.passphrase", "kafka.bootstrap_servers", "database.url")
    if only != "worker":
        settings.require("rpc.urls")
    async with AsyncExitStack() as stack:
        stack.enter_context(metrics.serve(settings.metrics.port, host=settings.metrics.host))
        engine = await stack.enter_async_context(database.connect(settings.database, section="database"))
        await topic.verify(settings.kafka, scopes=len(applications))
        parts: dict[str, Coroutine[Any, Any, None]] = {}
        client: rpc.Client | None = None
        if only != "worker":
            client = await stack.enter_async_context(rpc_client(settings))
            checked = await _checked(client)
            log.info("RPC serves our network", node=checked.node, version=checked.version)
            around = Surroundings(
                settings=settings, engine=engine, client=client, scopes=tuple(one.scope for one in applications)
            )
            parts |= {f"indexer of {one.scope}": ingest(around, one) for one in applications}
        if only != "indexer":
            applier = Applier(
                engine=engine,
                applications=applications,
                network=settings.network.passphrase or "",
                on_applied=count,
            )
            pipeline.tune()
            parts["worker"] = Worker(settings=settings.kafka, engine=engine, applier=applier).run()
        parts["guard of the log"] = log_guard.watch(settings.kafka, engine, scopes=len(applications))
        parts["gauges"] = gauges.watch(
            engine, applications=applications, nodes=lambda: [] if client is None else client.nodes
        )
        await supervise(parts, stop=stop)
    log.info("the stream has stopped")


async def _checked(client: rpc.Client) -> rpc.Checked:
    """Check the first node that answers; one that seems to be of another network is asked twice, for a gateway may err once."""
    try:
        return await client.check()
    except errors.WrongNetwork:
        await asyncio.sleep(CHECK_PAUSE_SECONDS)
        return await client.check()


def count(applied: Applied) -> None:
    """Count what the worker did."""
    metrics.events_applied_total.inc(applied.events)
    metrics.undecodable_events_total.inc(applied.undecodable)
    metrics.frames_applied_total.inc(applied.applied_records)
    metrics.frames_skipped_total.inc(applied.skipped_records)


async def supervise(parts: dict[str, Coroutine[Any, Any, None]], *, stop: asyncio.Event) -> None:
    """Run the parts until `stop` or until the first of them ends; then end all, and raise what went wrong first."""
    tasks = {asyncio.create_task(part, name=name) for name, part in parts.items()}
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        ended, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        await _end(tasks)
    for task in ended & tasks:
        if (error := task.exception()) is not None:
            raise error
        raise errors.ChaintrueError(f"the {task.get_name()} ended though nobody stopped it")


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    _, left = await asyncio.wait(tasks, timeout=STOP_SECONDS)
    for task in left:
        log.warning("a part of the stream did not stop in time", part=task.get_name())
    for task in tasks - left:
        if not task.cancelled():
            task.exception()  # told by the part that failed first, or of no interest any more
