"""What was seen to differ across runs, and rows that are repaired again and again, on a real PostgreSQL."""

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import insert, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from migrations import runner as migrations
from shared import database as databases
from shared import recon_tables
from sweeper import flapping, repair, settling, sightings
from sweeper.app_schema import AppTable
from sweeper.journal import Done, Journal
from sweeper.model import Both, Finding, Outcome
from tests.integration import stream_parts as parts
from tests.integration.run_parts import begun

MANY = 50_000


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    async with databases.connect(parts.database_settings(database), section="database") as engine:
        await migrations.upgrade(engine)
        yield engine


def finding(number: int = 1, **changed: Any) -> Finding:
    values: dict[str, Any] = {
        "drift_class": "stale_status",
        "table": "loans",
        "row_id": f"row-{number}",
        "entity": f"loan:{number}",
        "words": "It differs.",
        "columns": {"status": Both("active", "completed")},
        "update": {"status": "completed", "updated_at": datetime(2026, 9, 1, tzinfo=UTC)},
        "guard": {"status": "active"},
        "chain_key": f"loan:C:{number}",
    }
    return Finding(**values | changed)


def missing(number: int = 1) -> Finding:
    return finding(number, drift_class="missing_row", row_id=None, columns={}, update={}, insert={"loan_id": number})


MOVED: dict[str, Any] = {"columns": {"status": Both("pending", "completed")}}


async def there(engine: AsyncEngine) -> set[tuple[str, str]]:
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT table_name, identity FROM recon.drift WHERE is_there"))
        return {(row.table_name, row.identity) for row in rows}


async def age(engine: AsyncEngine, by: timedelta) -> None:
    """As if all of it had been noted so much earlier."""
    statement = text(
        "UPDATE recon.drift SET first_seen = first_seen - CAST(:by AS interval), "
        "same_since = same_since - CAST(:by AS interval)"
    )
    async with engine.begin() as connection:
        await connection.execute(statement, {"by": by})


class TestNote:
    async def test_the_first_look_is_where_it_begins(self, engine: AsyncEngine) -> None:
        noted = await sightings.note(engine, [finding(), missing(2)], whole=["loans"])
        assert {one.first_seen for one in noted.sightings.values()} == {noted.at}
        assert {one.same_since for one in noted.sightings.values()} == {noted.at}
        assert noted.sightings.keys() == {finding().identity, missing(2).identity}
        assert noted.at.tzinfo is not None
        async with engine.connect() as connection:
            rows = (await connection.execute(recon_tables.drift.select().order_by(text("identity")))).mappings().all()
        assert [(row["identity"], row["row_id"], row["chain_key"]) for row in rows] == [
            ("loan:2", None, "loan:C:2"),
            ("row-1", "row-1", "loan:C:1"),
        ]

    async def test_the_same_again_keeps_both_times_and_another_difference_only_the_first(
        self, engine: AsyncEngine
    ) -> None:
        first = await sightings.note(engine, [finding(1), finding(2)], whole=["loans"])
        second = await sightings.note(engine, [finding(1), finding(2, **MOVED)], whole=["loans"])
        same, moved = second.sightings[finding(1).identity], second.sightings[finding(2).identity]
        assert (same.first_seen, same.same_since) == (first.at, first.at)
        assert (moved.first_seen, moved.same_since) == (first.at, second.at)
        assert second.at > first.at

    async def test_what_agreed_meanwhile_begins_anew(self, engine: AsyncEngine) -> None:
        await sightings.note(engine, [finding(1), finding(2)], whole=["loans"])
        await sightings.note(engine, [finding(2)], whole=["loans"])
        assert await there(engine) == {("loans", "row-2")}
        third = await sightings.note(engine, [finding(1), finding(2)], whole=["loans"])
        assert third.sightings[finding(1).identity].first_seen == third.at
        assert third.sightings[finding(2).identity].first_seen < third.at

    async def test_nothing_is_over_that_was_not_looked_at(self, engine: AsyncEngine) -> None:
        other = finding(3, table="vendors")
        await sightings.note(engine, [finding(1), finding(2), other], whole=["loans", "vendors"])
        await sightings.note(engine, [])
        assert len(await there(engine)) == 3
        await sightings.note(engine, [], looked_at=[("loans", "row-1"), ("loans", "row-9")])
        assert await there(engine) == {("loans", "row-2"), ("vendors", "row-3")}
        await sightings.note(engine, [], whole=["loans"])
        assert await there(engine) == {("vendors", "row-3")}

    async def test_no_row_is_ever_deleted(self, engine: AsyncEngine) -> None:
        await sightings.note(engine, [finding()], whole=["loans"])
        await sightings.note(engine, [], whole=["loans"])
        await sightings.over(engine, [finding()])
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM recon.drift"))).scalar_one() == 1

    async def test_what_was_repaired_is_over(self, engine: AsyncEngine) -> None:
        await sightings.note(engine, [finding(1), finding(2)], whole=["loans"])
        await sightings.over(engine, [finding(1), finding(9)])
        assert await there(engine) == {("loans", "row-2")}

    async def test_tens_of_thousands_of_findings(self, engine: AsyncEngine) -> None:
        every = [finding(number) for number in range(MANY)]
        first = await sightings.note(engine, every, whole=["loans"])
        assert len(first.sightings) == MANY
        moved = [finding(number, **MOVED) if number % 2 else finding(number) for number in range(0, MANY, 5)]
        second = await sightings.note(engine, moved, looked_at=map(sightings.place, every))
        assert len(await there(engine)) == len(moved)
        counted = settling.settled(first, second, moved, ahead=set())
        assert (len(counted.findings), counted.in_motion) == (len(moved) / 2, len(moved) / 2)
        await sightings.over(engine, every)
        assert await there(engine) == set()


class TestAcrossRuns:
    async def test_an_earlier_run_s_look_counts(self, engine: AsyncEngine) -> None:
        await sightings.note(engine, [finding()], whole=["loans"])
        await age(engine, timedelta(seconds=100))
        noted = await sightings.note(engine, [finding()], whole=["loans"])
        assert 0 < settling.remaining(noted, settle_seconds=120) <= 20
        assert settling.remaining(noted, settle_seconds=100) == 0
        moved = await sightings.note(engine, [finding(**MOVED)], whole=["loans"])
        assert settling.remaining(moved, settle_seconds=120) == 120

    async def test_what_stands_by_class_and_since_when_by_table(self, engine: AsyncEngine) -> None:
        assert await sightings.standing(engine) == sightings.Standing()
        old, new = finding(1), finding(2)
        await sightings.note(engine, [old], whole=[old.table])
        await age(engine, timedelta(hours=5))
        await sightings.note(engine, [old, new], whole=[old.table])
        place = (old.table, old.drift_class)
        found = await sightings.standing(engine)
        assert found.rows == {place: 2}
        assert 5 * 3600 <= found.ages[old.table] < 5.1 * 3600
        await sightings.over(engine, [old])
        found = await sightings.standing(engine)
        assert found.rows == {place: 1}
        assert found.ages[old.table] < 3600
        await age(engine, -timedelta(hours=1))
        assert (await sightings.standing(engine)).ages == {old.table: 0}  # a clock that was set back
        await sightings.over(engine, [new])
        assert await sightings.standing(engine) == sightings.Standing(rows={place: 0}, ages={old.table: 0})


async def repaired(
    engine: AsyncEngine, findings: Iterable[Finding], *, mode: str = "repair", outcome: Outcome = Outcome.REPAIRED
) -> None:
    """A run that did this to the findings."""
    done = list(findings)
    journal = Journal(engine, await begun(engine, mode=mode))
    table = AppTable("loans", dict.fromkeys({name for one in done for name in (*one.update, *one.guard)}, "text"))
    numbers = await journal.intend(done, repair.batch_of(table, "loan_id", done))
    await journal.settle({number: Done(outcome=outcome) for number in numbers})


async def marked(engine: AsyncEngine, *findings: Finding, limit: int = 3, window: float = 3600) -> list[Any]:
    told = await flapping.mark(engine, findings, limit=limit, window_seconds=window)
    assert [one.identity for one in told] == [one.identity for one in findings]
    return [one.evidence["flapping"]["repaired_times"] if "flapping" in one.evidence else None for one in told]


class TestFlapping:
    async def test_a_row_that_was_repaired_often_enough_is_said_to_flap(self, engine: AsyncEngine) -> None:
        began = datetime.now(UTC)
        for _ in range(2):
            await repaired(engine, [finding(1), finding(2)])
        assert await marked(engine, finding(1), finding(2)) == [None, None]
        await repaired(engine, [finding(2)])
        assert await marked(engine, finding(1), finding(2), finding(3)) == [None, 3, None]
        (one,) = await flapping.mark(engine, [finding(2)], limit=3, window_seconds=3600)
        since = one.evidence["flapping"]["since"]
        assert began <= since <= datetime.now(UTC)
        assert one.words.startswith("It differs. It was repaired 3 times since 2")

    @pytest.mark.parametrize(
        "other",
        [
            {"drift_class": "stale_value"},
            {"row_id": "row-7"},
            {"table": "vendors"},
            {"columns": {"remaining_balance": Both(1, 2)}},
            {"columns": {}},
            {"update": {}},
        ],
    )
    async def test_another_class_row_or_column_does_not(self, engine: AsyncEngine, other: dict[str, Any]) -> None:
        for _ in range(3):
            await repaired(engine, [finding()])
        assert await marked(engine, finding(), finding(**other)) == [3, None]

    async def test_only_repairs_that_were_made_and_not_taken_back_count(self, engine: AsyncEngine) -> None:
        for outcome in (Outcome.FAILED, Outcome.SKIPPED_CHANGED, Outcome.UNKNOWN):
            for _ in range(3):
                await repaired(engine, [finding()], outcome=outcome)
        for _ in range(3):
            await repaired(engine, [finding()], mode="undo")
            await repaired(engine, [missing()])
        assert await marked(engine, finding(), missing()) == [None, None]

    async def test_only_those_within_the_window(self, engine: AsyncEngine) -> None:
        for _ in range(3):
            await repaired(engine, [finding()])
        async with engine.begin() as connection:
            old = recon_tables.changes.c.recorded_at - timedelta(minutes=30)
            await connection.execute(update(recon_tables.changes).values(recorded_at=old))
        assert await marked(engine, finding(), window=3600) == [3]
        assert await marked(engine, finding(), window=60) == [None]

    async def test_any_of_the_columns_that_were_written_will_do(self, engine: AsyncEngine) -> None:
        both = finding(columns={"status": Both("active", "completed"), "remaining_balance": Both(1, 2)})
        for _ in range(3):
            await repaired(engine, [finding()])
        assert await marked(engine, both) == [3]

    async def test_what_the_chain_changes_again_and_again_is_nobody_s_writing_back(self, engine: AsyncEngine) -> None:
        def balance(app: str, chain: str) -> Finding:
            update = {"remaining_balance": Decimal(chain)}
            columns = {"remaining_balance": Both(Decimal(app), Decimal(chain))}
            return finding(columns=columns, update=update, guard={"remaining_balance": Decimal(app)})

        for app, chain in (("100", "90.0"), ("90.00", "80"), ("80", "70"), ("70", "60")):
            await repaired(engine, [balance(app, chain)])
        assert await marked(engine, balance("60.0", "50")) == [None]
        assert await marked(engine, balance("70", "60.0"), limit=1) == [1]

    async def test_what_was_put_back_by_us_was_put_back_by_nobody_else(self, engine: AsyncEngine) -> None:
        back = finding(columns={}, update={"status": "active"}, guard={"status": "completed"})
        for _ in range(3):
            await repaired(engine, [finding()])
            await repaired(engine, [back], mode="undo")
        assert await marked(engine, finding()) == [None]
        await repaired(engine, [finding()])
        for _ in range(2):
            await repaired(engine, [finding()])
        assert await marked(engine, finding()) == [3]

    async def test_each_row_is_told_by_its_own_repairs(self, engine: AsyncEngine) -> None:
        for number in range(1, 6):
            for _ in range(number):
                await repaired(engine, [finding(number)])
        others = [finding(number) for number in (5, 9, 3, 1, 4, 2)]
        assert await marked(engine, *others) == [5, None, 3, None, 4, None]

    async def test_tens_of_thousands_of_findings(self, engine: AsyncEngine) -> None:
        run_id = await begun(engine)
        row: dict[str, Any] = {
            "run_id": run_id, "table_name": "loans", "row_id": "row-49999", "class": "stale_status", "kind": "update",
            "before": {"status": "active"}, "after": {"status": "completed"}, "outcome": "repaired",
            "recorded_at": datetime.now(UTC),
        }  # fmt: skip
        async with engine.begin() as connection:
            await connection.execute(insert(recon_tables.changes), [row | {"number": number} for number in range(5)])
        told = await flapping.mark(engine, [finding(n) for n in range(MANY)], limit=5, window_seconds=60)
        assert [one.row_id for one in told if "flapping" in one.evidence] == ["row-49999"]
