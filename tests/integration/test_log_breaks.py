"""Pages whose pieces were not all acknowledged, on a real Kafka and PostgreSQL: nothing may be missing in silence.

The client is the real one. Only its view of the partition's leader is steered, which is what a broker that changes hands does:
no leader, a first request that finds the node not ready, no leader again until the batch has expired, then the leader.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import coverage_store, errors, frames, kafka, position
from shared.settings import Kafka
from streams import filler, log_reader
from tests.integration import replay_parts, worker_parts
from tests.integration import stream_parts as parts
from tests.integration.stream_parts import NETWORK, PARTITION, SCOPE

FIRST = 100
PAGE_END = 150
NO_LEADER = -1
EVENT_BYTES = 60_000


def large_page(events: int) -> frames.Page:
    """A page from the origin on that is cut into as many frames as it has events."""
    found = [parts.an_event(FIRST + n // 8, n % 8, value="A" * EVENT_BYTES) for n in range(events)]
    return parts.a_page(position.end_of(FIRST - 1), position.end_of(PAGE_END), *found)


def lose_the_leader(writer: kafka.Writer, monkeypatch: pytest.MonkeyPatch, *, absences: tuple[float, float]) -> None:
    """Hide the leader for two stretches of so many seconds; the one request between them fails."""
    client = writer._client
    metadata, inner = client._metadata, client.client
    begin = asyncio.get_running_loop().time()
    leader_of, send = metadata.leader_for_partition, inner.send
    requests = 0

    def leader(place: Any) -> int | None:
        elapsed = asyncio.get_running_loop().time() - begin
        away = elapsed < absences[0] or (requests > 0 and elapsed < sum(absences))
        found: int | None = NO_LEADER if away else leader_of(place)
        return found

    async def first_fails(node: int, request: Any, **options: Any) -> Any:
        nonlocal requests
        if "Produce" in type(request).__name__:
            requests += 1
            if requests == 1:
                raise NodeNotReadyError
        return await send(node, request, **options)

    monkeypatch.setattr(metadata, "leader_for_partition", leader)
    monkeypatch.setattr(inner, "send", first_fails)


@pytest.mark.parametrize(("events", "absences"), [(12, (2.0, 2.0)), (3, (1.5, 2.5)), (60, (2.5, 1.5))])
async def test_a_later_piece_of_a_page_does_not_stand_in_the_log_without_the_earlier_ones(
    settings: Kafka, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, events: int, absences: tuple[float, float]
):
    page = large_page(events)
    pieces = list(frames.cut(page))
    assert len(pieces) == events
    hasty = settings.model_copy(update={"timeout_seconds": 3.0})
    async with kafka.writer(settings) as writer:
        await writer.write(PARTITION, [parts.an_origin(FIRST)])
    async with kafka.writer(hasty) as writer:
        with monkeypatch.context() as steered:
            lose_the_leader(writer, steered, absences=absences)
            with pytest.raises(errors.KafkaUnreachable):
                await writer.write(PARTITION, pieces)
            await asyncio.sleep(1.0)  # what is still queued goes out while the leader is there again
    kept = (await parts.read_log(settings, network=NETWORK))[1:]
    assert kept == pieces[: len(kept)]
    standing = await log_reader.standing(settings, network=NETWORK, partition=PARTITION)
    assert standing.through == (kept[-1].through if kept else page.after)
    async with kafka.writer(settings) as writer:
        rest = frames.cut(parts.a_page(standing.through, page.through, *page.events[len(kept) :]))
        await writer.write(PARTITION, rest)
    assert await watermark(engine, settings) == PAGE_END
    assert len(await worker_parts.event_keys(engine)) == events


async def watermark(engine: AsyncEngine, settings: Kafka) -> int:
    """The watermark once all of the log is applied."""
    log = await replay_parts.records(settings)
    await worker_parts.applier(engine).apply(PARTITION, log)
    async with engine.connect() as connection:
        found = await coverage_store.watermark(connection, scope=SCOPE)
    assert found is not None
    return found.ledger
