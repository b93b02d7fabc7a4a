"""A gap that claims more than the chain has, withdrawn: the tables end as if it had never been noted."""

from collections.abc import Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import coverage_store, frames, position
from streams import withdrawal
from streams.apply import Applier, Record
from tests.integration import stream_parts as parts
from tests.integration.stream_parts import NETWORK, SCOPE, Plain

FAR = 57_879_039
A, B = parts.CONTRACT, "CDLZFC3SYJYDZT7K67VZ75HPJVIEUVNIXF47ZG2FB2RMQQVU2HHGCYSC"
ORIGIN = parts.an_origin(100, contracts=(A, B))


def page(after: int, through: int) -> frames.Page:
    event = parts.an_event(after + 1)
    return parts.a_page(position.end_of(after), position.end_of(through), event)


def gap(after: int, through: int) -> frames.Gap:
    return frames.Gap(
        network=NETWORK,
        scope=SCOPE,
        after=position.end_of(after),
        through=position.end_of(through),
        reason="lost",
    )


def closed(after: int, through: int) -> frames.Closed:
    return frames.Closed(
        network=NETWORK, scope=SCOPE, after=position.end_of(after), through=position.end_of(through), ledger=149
    )


def goes_on_behind(ledger: int) -> frames.Origin:
    return parts.an_origin(ledger + 1, contracts=(A, B))


async def tables_of(engine: AsyncEngine, log: Sequence[frames.Frame], *, batch: int) -> dict[str, list[str]]:
    """What the log makes of empty tables."""
    tables = ("coverage", "superseded", "gaps", "scopes")
    async with engine.begin() as connection:
        await connection.execute(
            text(f"TRUNCATE {', '.join(f'chain.{name}' for name in (*tables, 'facts', 'offsets'))}")
        )
    subject = Applier(engine=engine, applications=[Plain(contracts=(A, B))], network=NETWORK)
    records = [Record(offset, frames.encode(frame), 1_787_220_000) for offset, frame in enumerate(log)]
    for start in range(0, len(records), batch):
        await subject.apply(parts.PARTITION, records[start : start + batch])
    async with engine.connect() as connection:
        return {
            name: [
                row[0] for row in await connection.execute(text(f"SELECT t::text FROM chain.{name} AS t ORDER BY 1"))
            ]
            for name in tables
        }


BEFORE: list[frames.Frame] = [ORIGIN, page(99, 120), gap(120, 130), closed(120, 130), page(130, 150)]
AFTER: list[frames.Frame] = [page(150, 170), page(170, 200)]


@pytest.mark.parametrize("batch", [1, 3, 100])
@pytest.mark.parametrize(
    "wrong",
    [
        [gap(150, FAR)],
        [gap(150, FAR), closed(150, FAR)],
        [gap(150, FAR), gap(FAR, FAR + 70)],
        [gap(150, FAR), goes_on_behind(150), gap(150, FAR + 1)],
    ],
)
async def test_a_withdrawn_gap_leaves_no_trace(engine: AsyncEngine, wrong: list[frames.Frame], batch: int):
    expected = await tables_of(engine, [*BEFORE, *AFTER], batch=batch)
    found = await tables_of(engine, [*BEFORE, *wrong, goes_on_behind(150), *AFTER], batch=batch)
    assert found == expected


@pytest.mark.parametrize("batch", [1, 100])
async def test_what_was_lost_all_the_same_is_a_gap_once_more(engine: AsyncEngine, batch: int):
    log = [*BEFORE, gap(150, 160), goes_on_behind(150), gap(150, 160), page(160, 200)]
    expected = await tables_of(engine, [*BEFORE, gap(150, 160), page(160, 200)], batch=batch)
    assert await tables_of(engine, log, batch=batch) == expected


async def test_the_gaps_to_withdraw_end_beyond_the_chain(engine: AsyncEngine):
    await tables_of(engine, [*BEFORE, gap(150, FAR), gap(FAR, FAR + 70)], batch=100)
    found = await withdrawal.beyond(engine, scope=SCOPE, latest=200)
    assert [one.ledgers for one in found] == [(151, FAR), (FAR + 1, FAR + 70)]
    assert await withdrawal.beyond(engine, scope=SCOPE, latest=FAR + 70) == []
    async with engine.connect() as connection:
        mark = await coverage_store.watermark(connection, scope=SCOPE)
    assert mark is not None
    assert mark.ledger == 150
