"""Applying frames on PostgreSQL: once, in one transaction, whatever the order."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from deploy import stack
from shared import coverage_store, errors, frames, position
from shared import database as databases
from shared.settings import Database
from streams import proofs
from streams.apply import Applier, Record
from tests.stepfi_frames import History

TABLES = (
    "contracts", "creditlines", "loans", "liquidity_positions", "pools", "reputation_maps", "scores", "score_changes",
    "vendors", "facts", "coverage", "superseded", "gaps", "anchors", "closes", "facts_partitions", "scopes", "offsets",
)  # fmt: skip


@pytest.fixture(scope="session")
def story() -> History:
    return History("story-small.jsonl")


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    async with databases.connect(Database(url=SecretStr(database)), section="database") as engine:
        await migrations.upgrade(engine)
        yield engine


def applier(engine: AsyncEngine, story: History) -> Applier:
    return Applier(engine=engine, applications=[story.application], network=story.network)


def frames_of(story: History, *, pages: int) -> list[frames.Frame]:
    """The whole history: origin, pages of equal length, and observations at three of its ledgers."""
    events, after = story.events(), story.origin().through
    size = -(-len(events) // pages)
    batch: list[frames.Frame] = []
    for start in range(0, len(events), size):
        piece = events[start : start + size]
        last = start + size >= len(events)
        through = position.end_of(story.last) if last else piece[-1].id
        batch.append(story.page(piece, after=after, through=through))
        after = through
    middle = (story.start + story.last) // 2
    return [story.origin(), *batch, *(story.observation(ledger) for ledger in (story.start + 30, middle, story.last))]


def records(batch: list[frames.Frame], first: int = 0) -> list[Record]:
    return [Record(offset, frames.encode(frame)) for offset, frame in enumerate(batch, start=first)]


async def dump(engine: AsyncEngine, *, offsets: bool = True) -> dict[str, list[Any]]:
    async with engine.connect() as connection:
        return {
            table: [
                row[0] for row in await connection.execute(text(f"SELECT t::text FROM chain.{table} AS t ORDER BY 1"))
            ]
            for table in TABLES
            if offsets or table != "offsets"
        }


async def test_what_was_applied_is_skipped_and_what_is_not_due_is_refused(engine: AsyncEngine, story: History) -> None:
    whole = records(frames_of(story, pages=5))
    one = applier(engine, story)
    first = await one.apply(0, whole[:3])
    assert (first.next_offset, first.applied_records, first.skipped_records) == (3, 3, 0)
    before = await dump(engine)
    with pytest.raises(errors.OffsetGap):
        await one.apply(0, whole[4:])
    assert await dump(engine) == before
    second = await one.apply(0, whole)
    assert (second.next_offset, second.skipped_records) == (len(whole), 3)
    after = await dump(engine)
    assert (await one.apply(0, whole)).applied_records == 0
    assert await dump(engine) == after


async def test_what_a_rebalance_delivers_twice_is_applied_once(engine: AsyncEngine, story: History) -> None:
    whole = records(frames_of(story, pages=6))
    twice = [*whole[:4], *whole[2:6], *whole[5:]]
    applied = await applier(engine, story).apply(0, twice)
    assert (applied.next_offset, applied.applied_records) == (len(whole), len(whole))
    assert applied.skipped_records == len(twice) - len(whole)


async def test_a_bad_record_writes_nothing_and_is_named(engine: AsyncEngine, story: History) -> None:
    whole = records(frames_of(story, pages=2))
    with pytest.raises(errors.FrameInvalid, match="offset 2"):
        await applier(engine, story).apply(0, [*whole[:2], Record(2, b"not a frame")])
    assert {table: rows for table, rows in (await dump(engine)).items() if rows} == {}


async def test_two_workers_on_one_partition_apply_once(engine: AsyncEngine, story: History) -> None:
    whole = records(frames_of(story, pages=4))
    both = await asyncio.gather(*(applier(engine, story).apply(0, whole) for _ in range(2)))
    assert sorted(one.applied_records for one in both) == [0, len(whole)]


@pytest.mark.parametrize("seed", range(4))
async def test_any_order_duplication_and_split_gives_the_same_tables(
    engine: AsyncEngine, postgres: stack.Databases, story: History, seed: int
) -> None:
    ordered = frames_of(story, pages=1)
    await applier(engine, story).apply(0, records(ordered))
    wanted = await dump(engine, offsets=False)

    chance = Random(seed)  # noqa: S311 - shuffles frames, guards nothing
    shuffled = frames_of(story, pages=chance.choice([3, 17, 60]))[1:]
    shuffled += chance.sample(shuffled, len(shuffled) // 3)
    chance.shuffle(shuffled)
    url = await postgres.create_database(f"shuffled_{seed}_{chance.randrange(1 << 30)}")
    async with databases.connect(Database(url=SecretStr(url)), section="database") as other:
        await migrations.upgrade(other)
        waiting = records([story.origin(), *shuffled])
        while waiting:
            size = chance.randint(1, 9)
            await applier(other, story).apply(0, waiting[:size])
            waiting = waiting[size:]
        found = await dump(other, offsets=False)
    breaks = [row for row in found["gaps"] if proofs.MISSING_IN_THE_LOG in row]
    assert all(",filled," in row for row in breaks)
    found["gaps"] = [row for row in found["gaps"] if row not in breaks]
    for table in wanted:
        assert found[table] == wanted[table], table


async def test_two_values_at_one_ledger_are_a_conflict_and_the_lower_bytes_win(
    engine: AsyncEngine, postgres: stack.Databases, story: History
) -> None:
    one, other = story.observation(story.last), story.observation(story.start + 60)
    key = next(
        entry.key
        for entry in one.entries
        if any(entry.key == old.key and entry.xdr != old.xdr for old in other.entries)
    )
    pair = [
        frames.Observation(
            network=story.network,
            scope="stepfi",
            latest_ledger=story.last,
            entries=tuple(entry for entry in source.entries if entry.key == key),
        )
        for source in (one, other)
    ]
    dumps = []
    for number, batch in enumerate((pair, pair[::-1])):
        url = await postgres.create_database(f"conflict_{number}_{abs(hash(key))}")
        async with databases.connect(Database(url=SecretStr(url)), section="database") as fresh:
            await migrations.upgrade(fresh)
            for record in records([story.origin(), *batch]):
                await applier(fresh, story).apply(0, [record])
            dumps.append(await dump(fresh))
            async with fresh.connect() as connection:
                count = await connection.execute(text("SELECT count(*) FROM chain.facts WHERE conflict"))
                assert count.scalar_one() > 0
    assert dumps[0] == dumps[1]


async def test_what_cannot_be_decoded_is_stored_with_its_reason(engine: AsyncEngine, story: History) -> None:
    event = story.events()[0]
    odd = frames.Event(
        id=event.id,
        type="contract",
        contract=event.contract,
        tx_hash=event.tx_hash,
        closed_at=event.closed_at,
        topics=("AAAADwAAAARPRERZ",),
        value="AAAAAQ==",
    )
    page = story.page([odd], after=story.origin().through, through=event.id)
    applied = await applier(engine, story).apply(0, records([story.origin(), page]))
    assert (applied.events, applied.undecodable) == (1, 1)
    async with engine.connect() as connection:
        row = (
            await connection.execute(text("SELECT kind, problem, body FROM chain.facts WHERE problem IS NOT NULL"))
        ).one()
    assert row.kind == "ODDY"
    assert "ODDY" in row.problem


async def test_a_watermark_below_an_open_gap_has_the_nearest_known_close(engine: AsyncEngine, story: History) -> None:
    """The close of the tip says nothing of a watermark that a gap holds back: what the log tells below it does."""
    begin, events = story.origin().through, story.events()
    middle = position.ledger_of(events[len(events) // 2].id)
    before = [one for one in events if position.ledger_of(one.id) <= middle]
    behind = [one for one in events if position.ledger_of(one.id) > middle + 100]
    first = story.page(before, after=begin, through=position.end_of(middle + 3))
    later = story.page(behind, after=position.end_of(middle + 100), through=position.end_of(story.last))
    whole: list[frames.Frame] = [story.origin(), first, replace(later, closed_at=2_000_000_000)]
    await applier(engine, story).apply(0, records(whole))
    async with engine.connect() as connection:
        found = await coverage_store.watermark(connection, scope=story.application.scope)
    assert found is not None
    assert (found.ledger, found.closed_ledger) == (middle + 3, middle)
    assert found.closed_at == int(datetime.fromisoformat(before[-1].closed_at).timestamp())
