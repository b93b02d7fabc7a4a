"""Pages whose pieces were not all acknowledged, on a real Kafka and PostgreSQL: nothing may be missing in silence.

The client is the real one. Only its view of the partition's leader is steered, which is what a broker that changes hands does:
no leader, a first request that finds the node not ready, no leader again until the batch has expired, then the leader.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import coverage, coverage_store, errors, frames, kafka, position
from shared.rpc.answers import EventPage
from shared.settings import Kafka
from streams import filler, log_reader, proofs
from streams.indexer import Scope
from streams.resume import Standing
from tests.integration import replay_parts, worker_parts
from tests.integration import stream_parts as parts
from tests.integration.stream_parts import NETWORK, PARTITION, SCOPE

FIRST = 100
PAGE_END = 150
NO_LEADER = -1
SCOPED = Scope(network=NETWORK, name=SCOPE, contracts=(parts.CONTRACT,), partition=PARTITION)
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
    kept = [frame for frame in await parts.read_log(settings, network=NETWORK) if isinstance(frame, frames.Page)]
    assert kept == pieces[: len(kept)]
    resumed = (await standing(settings)).through
    assert resumed == (kept[-1].through if kept else page.after)
    async with kafka.writer(settings) as writer:
        rest = frames.cut(parts.a_page(resumed, page.through, *page.events[len(kept) :]))
        await writer.write(PARTITION, rest)
    assert await watermark(engine, settings) == PAGE_END
    assert len(await worker_parts.event_keys(engine)) == events


async def test_a_break_that_an_older_version_left_is_where_the_stream_resumes(settings: Kafka):
    """Also with as many other records behind it as a page has pieces, and gaps and fills between."""
    pieces = list(frames.cut(large_page(4)))
    observation = frames.Observation(network=NETWORK, scope=SCOPE, latest_ledger=PAGE_END)
    behind = parts.a_page(position.end_of(PAGE_END), position.end_of(PAGE_END + 1))
    origin = parts.an_origin(FIRST)
    async with kafka.writer(settings) as writer:
        await writer.write(PARTITION, [origin, pieces[0], *pieces[2:], behind, *[observation] * 300])
        assert (await standing(settings)).through == pieces[0].through
        await writer.write(PARTITION, [replace(pieces[1], kind="fill")])
        assert (await standing(settings)).through == behind.through


async def test_a_break_far_back_is_a_gap_row_and_is_filled(settings: Kafka, engine: AsyncEngine):
    """Beyond what is read back at a start, in the middle of a page, when the stream has gone on for long."""
    page = large_page(5)
    pieces = list(frames.cut(page))
    lost = pieces[2]
    later = worker_parts.pages_of(log_reader.LOOK_BACK + 100, first=PAGE_END + 1)
    async with kafka.writer(settings) as writer:
        await writer.write(PARTITION, [parts.an_origin(FIRST), *pieces[:2], *pieces[3:], *later])
    assert (await standing(settings)).through == position.end_of(PAGE_END + len(later))
    assert await watermark(engine, settings) == position.complete_ledger(lost.after)
    async with engine.connect() as connection:
        gaps = await coverage_store.gaps(connection, scope=SCOPE, closed=False)
    assert [(gap.range, gap.contracts, gap.reason) for gap in gaps] == [
        (coverage.Range(position.START, position.end_of(FIRST - 1)), (parts.CONTRACT,), proofs.BEFORE_THE_START),
        (coverage.Range(lost.after, lost.through), (parts.CONTRACT,), proofs.MISSING_IN_THE_LOG),
    ]
    _, hole = await filler.open_holes(engine, scope=SCOPE)
    found = await filler.read(hole, Node(page.events), SCOPED, limit=1000)
    assert found is not None
    async with kafka.writer(settings) as writer:
        await writer.write(PARTITION, frames.cut(found))
    assert await watermark(engine, settings) == PAGE_END + len(later)
    assert len(await worker_parts.event_keys(engine)) == len(page.events) + len(later)


class Node:
    """An RPC node that holds these events, and answers a cursor with all that lies behind it."""

    def __init__(self, events: Sequence[frames.Event]) -> None:
        self._events = events

    async def events(
        self,
        *,
        contracts: Sequence[str],
        start_ledger: int | None = None,
        cursor: str | None = None,
        limit: int = 1000,
        node: str | None = None,  # noqa: ARG002 - there is one
    ) -> EventPage:
        assert contracts == (parts.CONTRACT,)
        after = cursor or position.end_of((start_ledger or 0) - 1)
        return EventPage(
            events=tuple(event for event in self._events if event.id > after)[:limit],
            cursor=position.end_of(PAGE_END),
            latest_ledger=PAGE_END,
            oldest_ledger=1,
            latest_close_time=1,
            oldest_close_time=0,
            node="node",
        )


async def standing(settings: Kafka) -> Standing:
    return await log_reader.standing(settings, network=NETWORK, partition=PARTITION)


async def watermark(engine: AsyncEngine, settings: Kafka) -> int:
    """The watermark once all of the log is applied."""
    log = await replay_parts.records(settings)
    await worker_parts.applier(engine).apply(PARTITION, log)
    async with engine.connect() as connection:
        found = await coverage_store.watermark(connection, scope=SCOPE)
    assert found is not None
    return found.ledger
