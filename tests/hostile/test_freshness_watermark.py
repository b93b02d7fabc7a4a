"""The close time of the watermark: the nearest known one at or below it, whatever the log lacks and however it was read."""

from collections.abc import AsyncIterator, Mapping

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from deploy import stack
from shared import chain_tables, coverage_store, database, position
from shared.coverage_store import Watermark
from shared.settings import Sweep
from sweeper import freshness
from sweeper.freshness import Tip
from tests.integration.stream_parts import database_settings

SCOPE = "scope"
FIRST = 1_600
"""The first ledger of a stretch of close times."""


@pytest.fixture(scope="module")
async def engine(postgres: stack.Databases) -> AsyncIterator[AsyncEngine]:
    url = await postgres.create_database("hostile_watermark")
    async with database.connect(database_settings(url), section="database") as engine:
        await migrations.upgrade(engine)
        yield engine


async def watermark(
    engine: AsyncEngine,
    *,
    covered: Mapping[str, list[tuple[int, int]]],
    tip: int | None,
    closes: list[int],
    superseded: Mapping[str, list[tuple[int, int]]] | None = None,
) -> Watermark:
    """Ledger n closed at second 5 n. `covered`: first and last ledgers, by contract; `closes`: whose times are kept."""
    async with engine.begin() as connection:
        for table in (chain_tables.coverage, chain_tables.superseded, chain_tables.closes, chain_tables.scopes):
            await connection.execute(table.delete())
        scope = {"scope": SCOPE, "partition": 0, "network": "n", "contracts": list(covered)}
        at = {"tip": None if tip is None else position.end_of(tip), "tip_closed_at": None if tip is None else 5 * tip}
        await connection.execute(insert(chain_tables.scopes).values(**scope, **at, origin=position.end_of(FIRST - 1)))
        for table, held, more in (
            (chain_tables.coverage, covered, {}),
            (chain_tables.superseded, superseded or {}, {"ledger": 9_999}),
        ):
            for contract, ranges in held.items():
                for first, last in ranges:
                    ends = {"after": position.end_of(first - 1), "through": position.end_of(last)}
                    await connection.execute(insert(table).values(scope=SCOPE, contract=contract, **ends, **more))
        for ledger in closes:
            kept = {"scope": SCOPE, "bucket": ledger // 16, "ledger": ledger, "closed_at": 5 * ledger}
            await connection.execute(insert(chain_tables.closes).values(kept))
    async with engine.connect() as connection:
        found = await coverage_store.watermark(connection, scope=SCOPE)
    assert found is not None
    return found


async def test_at_the_tip_its_own_time_counts(engine: AsyncEngine) -> None:
    found = await watermark(engine, covered={"A": [(FIRST, FIRST + 99)]}, tip=FIRST + 99, closes=[FIRST + 15])
    assert found == Watermark(FIRST + 99, 5 * (FIRST + 99), FIRST + 99)


async def test_a_catch_up_is_judged_by_what_it_read_last_not_by_the_tip_of_before(engine: AsyncEngine) -> None:
    """Pages of a catch-up tell no tip. By the tip of before the outage it would look late for as long as it lasts."""
    covered = {"A": [(FIRST, FIRST + 5_000)]}
    found = await watermark(engine, covered=covered, tip=FIRST + 10, closes=[FIRST + 10, FIRST + 4_990])
    assert found == Watermark(FIRST + 5_000, 5 * (FIRST + 4_990), FIRST + 4_990)
    tip = Tip(ledger=FIRST + 5_050, closed_at=5 * (FIRST + 5_050), node="n")
    judged = freshness.judge(found, tip, now=5.0 * (FIRST + 5_051), limits=Sweep())
    assert (judged.reasons, judged.lag_seconds) == ((), 300)


@pytest.mark.parametrize("hole", [20, 31, 32, 40])
async def test_an_open_gap_near_the_tip(engine: AsyncEngine, hole: int) -> None:
    """What was read beyond it tells no time of before it, also where both lie in one stretch of kept times."""
    covered = {"A": [(FIRST, FIRST + hole - 1), (FIRST + hole + 1, FIRST + 60)]}
    closes = [FIRST + 15, FIRST + 31, FIRST + 47, FIRST + 60]
    found = await watermark(engine, covered=covered, tip=FIRST + 60, closes=closes)
    known = max(FIRST + 15, *(one for one in closes if one < FIRST + hole))
    assert found == Watermark(FIRST + hole - 1, 5 * known, known)
    tip = Tip(ledger=FIRST + 60, closed_at=5 * (FIRST + 60), node="n")
    judged = freshness.judge(found, tip, now=0, limits=Sweep(max_lag_seconds=5 * (FIRST + 60 - known) - 1))
    (reason,) = judged.reasons
    assert known == found.ledger or f"by ledger {known}, the nearest one below" in reason


async def test_the_contract_that_is_behind_counts(engine: AsyncEngine) -> None:
    covered = {"A": [(FIRST, FIRST + 60)], "B": [(FIRST, FIRST + 20)]}
    found = await watermark(engine, covered=covered, tip=FIRST + 60, closes=[FIRST + 15, FIRST + 31, FIRST + 60])
    assert (found.ledger, found.closed_ledger) == (FIRST + 20, FIRST + 15)


async def test_what_is_superseded_counts_as_closed(engine: AsyncEngine) -> None:
    covered = {"A": [(FIRST, FIRST + 20), (FIRST + 31, FIRST + 60)]}
    found = await watermark(
        engine, covered=covered, superseded={"A": [(FIRST + 21, FIRST + 30)]}, tip=FIRST + 60, closes=[FIRST + 15]
    )
    assert found == Watermark(FIRST + 60, 5 * (FIRST + 60), FIRST + 60)


async def test_a_contract_of_which_nothing_was_read(engine: AsyncEngine) -> None:
    found = await watermark(
        engine, covered={"A": [(FIRST, FIRST + 60)], "B": []}, tip=FIRST + 60, closes=[FIRST + 31, FIRST + 60]
    )
    assert found == Watermark(FIRST - 1, None, None)
    tip = Tip(ledger=FIRST + 60, closed_at=5 * (FIRST + 60), node="n")
    judged = freshness.judge(found, tip, now=0, limits=Sweep(max_lag_ledgers=100_000, max_lag_seconds=100_000))
    (reason,) = judged.reasons
    assert "no close time is known" in reason


@pytest.mark.parametrize(("behind", "late"), [(60, False), (61, True)])
def test_the_limits_themselves(behind: int, late: bool) -> None:
    tip = Tip(ledger=FIRST, closed_at=5 * FIRST, node="n")
    seconds = 5 * behind
    of_ledgers = freshness.judge(
        Watermark(FIRST - behind, 5 * FIRST - 300, FIRST - behind), tip, now=5 * FIRST, limits=Sweep()
    )
    of_seconds = freshness.judge(
        Watermark(FIRST - 1, 5 * FIRST - seconds, FIRST - 2), tip, now=5 * FIRST, limits=Sweep()
    )
    assert (bool(of_ledgers.reasons), bool(of_seconds.reasons)) == (late, late)


@pytest.mark.parametrize(
    ("clock", "reasons", "warnings"), [(-900, 0, 1), (-61, 0, 1), (-60, 0, 0), (900, 0, 0), (901, 1, 0), (10**7, 1, 0)]
)
def test_the_clock_of_the_database(clock: int, reasons: int, warnings: int) -> None:
    """Behind the chain it only warns, because the tables are as new as the chain; ahead it looks like a dead network."""
    tip = Tip(ledger=FIRST, closed_at=5 * FIRST, node="n")
    judged = freshness.judge(Watermark(FIRST, 5 * FIRST, FIRST), tip, now=5 * FIRST + clock, limits=Sweep())
    assert (len(judged.reasons), len(judged.warnings)) == (reasons, warnings)
