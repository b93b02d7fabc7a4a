"""The application's database, on a real PostgreSQL: tables, true rows, and each injection."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from deploy.demo.app import chain, chain_truth, drift, rows, scene, schema

VECTORS = Path(__file__).parents[1] / "vectors"
Snapshot = dict[tuple[str, str], dict[str, Any]]


@cache
def truth(name: str = "story-real.jsonl.gz") -> chain.ChainTruth:
    return chain_truth.truth_at(VECTORS / name)


@pytest.fixture
async def app(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the application's empty tables."""
    await schema.create(database)
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def snapshot(connection: asyncpg.Connection) -> Snapshot:
    """Every row as the application's language has it; a numeric as text, so that another form is another value."""
    found: Snapshot = {}
    for table in schema.TABLES:
        for record in await connection.fetch(f"SELECT * FROM {table}"):
            row = {name: str(value) if isinstance(value, UUID | Decimal) else value for name, value in record.items()}
            found[table, row["id"]] = row
    return found


def as_stored(row: rows.Row) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in row.items()}


class TestSchema:
    async def test_tables(self, app: asyncpg.Connection) -> None:
        found = await app.fetch(
            "SELECT relname, relrowsecurity FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        assert {record["relname"] for record in found} == set(schema.TABLES)
        assert all(record["relrowsecurity"] for record in found)
        assert await app.fetchval("SELECT count(*) FROM pg_policy") == 0

    async def test_a_second_time_is_refused_and_changes_nothing(self, database: str, app: asyncpg.Connection) -> None:
        await rows.insert(app, rows.build(truth()))
        before = await snapshot(app)
        with pytest.raises(asyncpg.DuplicateTableError):
            await schema.create(database)
        assert await snapshot(app) == before

    async def test_constraints_keep_their_old_names(self, app: asyncpg.Connection) -> None:
        names = {record["conname"] for record in await app.fetch("SELECT conname FROM pg_constraint")}
        assert {
            "loans_merchant_id_fkey",
            "merchants_pkey",
            "merchants_wallet_address_key",
            "loans_loan_id_key",
        } <= names

    @pytest.mark.parametrize("column", ["hash", "transaction_hash"])
    async def test_a_hash_is_unique_where_it_is_known(self, app: asyncpg.Connection, column: str) -> None:
        statement = (
            f"INSERT INTO transactions (user_wallet, status, xdr, submitted_at, {column})"
            " VALUES ('G', 'pending', '', now(), $1)"
        )
        await app.execute(statement, None)
        await app.execute(statement, None)
        await app.execute(statement, "aa")
        with pytest.raises(asyncpg.UniqueViolationError):
            await app.execute(statement, "aa")

    async def test_words_are_checked_for_vendors_and_not_for_loans(self, app: asyncpg.Connection) -> None:
        await rows.insert(app, rows.build(truth()))
        await app.execute("UPDATE loans SET status = 'paid'")
        with pytest.raises(asyncpg.CheckViolationError):
            await app.execute("UPDATE vendors SET status = 'active'")

    async def test_a_provisional_id_that_is_referred_to_cannot_change(self, app: asyncpg.Connection) -> None:
        await rows.insert(app, rows.build(truth()))
        (injection,) = await drift.inject(app, truth(), {"provisional_referenced"})
        (finding,) = injection.findings
        assert finding.outcome == "failed"
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await app.execute("UPDATE loans SET loan_id = $2 WHERE id = $1", finding.row_id, "4711")


class TestRows:
    @pytest.mark.parametrize("history", ["story-real.jsonl.gz", "random-1.jsonl.gz"])
    async def test_come_back_as_they_were_built(self, app: asyncpg.Connection, history: str) -> None:
        built = rows.build(truth(history))
        await rows.insert(app, built)
        found = await snapshot(app)
        assert set(found) == {(table, row_id) for table in built for row_id in built[table]}
        for (table, row_id), stored in found.items():
            told = as_stored(built[table][row_id])
            assert {name: stored[name] for name in told} == told

    async def test_a_second_time_is_refused_as_a_whole(self, app: asyncpg.Connection) -> None:
        await rows.insert(app, rows.build(truth()))
        before = await snapshot(app)
        with pytest.raises(asyncpg.UniqueViolationError):
            await rows.insert(app, rows.build(truth()))
        assert await snapshot(app) == before

    async def test_no_rows_are_no_trouble(self, app: asyncpg.Connection) -> None:
        await rows.insert(app, {})
        await rows.insert(app, rows.build(chain_truth.truth_at(VECTORS / "story-real.jsonl.gz", truth().start_ledger)))
        assert await snapshot(app) == {}

    async def test_planned_rows_can_be_inserted_at_once(self, app: asyncpg.Connection) -> None:
        planned = drift.plan(truth())
        await rows.insert(app, planned.tables)
        assert set(await snapshot(app)) == {
            (table, row_id) for table in planned.tables for row_id in planned.tables[table]
        }


class TestInjections:
    async def test_each_changes_exactly_the_rows_it_says(self, app: asyncpg.Connection) -> None:
        """One after the other on the same true rows, each rolled back."""
        known = truth()
        await rows.insert(app, rows.build(known))
        before = await snapshot(app)
        for name in sorted(drift.ALL - {"ambiguous_two_loans"}):
            undone = app.transaction()
            await undone.start()
            (injection,) = await drift.inject(app, known, {name})
            after = await snapshot(app)
            await undone.rollback()
            changed = {row for row in before.keys() | after.keys() if before.get(row) != after.get(row)}
            assert changed == set(injection.rows), name
            assert bool(changed) == (name != "other_time_zone"), name
            for finding in injection.findings:
                assert finding.row_id is None or (finding.table, finding.row_id) in after, name
            for change in injection.changes:
                if isinstance(change, scene.Update):
                    row = change.table, change.row_id
                    altered = {column for column in after[row] if after[row][column] != before[row][column]}
                    assert altered <= {column for each in columns_of(injection, row) for column in each}, name
        assert await snapshot(app) == before

    @pytest.mark.parametrize("history", ["story-real.jsonl.gz", "random-1.jsonl.gz"])
    async def test_all_of_them_leave_the_rows_that_were_planned(self, app: asyncpg.Connection, history: str) -> None:
        known = truth(history)
        await rows.insert(app, rows.build(known))
        planned = drift.plan(known)
        assert tuple(await drift.inject(app, known)) == planned.injections
        found = await snapshot(app)
        assert set(found) == {(table, row_id) for table in planned.tables for row_id in planned.tables[table]}
        for (table, row_id), stored in found.items():
            told = as_stored(planned.tables[table][row_id])
            assert {name: stored[name] for name in told} == told

    async def test_nothing_is_done_where_a_row_is_not_there(self, app: asyncpg.Connection) -> None:
        await rows.insert(app, {"users": rows.build(truth())["users"]})
        before = await snapshot(app)
        with pytest.raises(LookupError, match="has not the row"):
            await drift.inject(app, truth())
        assert await snapshot(app) == before

    async def test_what_was_asked_for_and_cannot_be_is_an_error(self, app: asyncpg.Connection) -> None:
        await rows.insert(app, rows.build(truth()))
        with pytest.raises(ValueError, match="ambiguous_two_loans: the history has no two loans"):
            await drift.inject(app, truth(), {"ambiguous_two_loans"})

    async def test_another_time_zone_shows_other_words_and_the_same_instants(
        self, database: str, app: asyncpg.Connection
    ) -> None:
        await rows.insert(app, rows.build(truth()))
        before = await snapshot(app)
        await drift.inject(app, truth(), {"other_time_zone"})
        later = await asyncpg.connect(database)
        try:
            assert await later.fetchval("SHOW timezone") == "Asia/Kolkata"
            words = await later.fetchval("SELECT min(created_at)::text FROM users")
            assert words == "2026-07-05 05:30:00+05:30"
            assert await later.fetchval("SELECT min(created_at) FROM users") == datetime(2026, 7, 5, tzinfo=UTC)
            assert await snapshot(later) == before
        finally:
            await later.close()

    async def test_other_zeros_are_the_same_amount(self, app: asyncpg.Connection) -> None:
        await rows.insert(app, rows.build(truth()))
        query = "SELECT loan_id, amount, remaining_balance FROM loans ORDER BY loan_id"
        before = await app.fetch(query)
        await drift.inject(app, truth(), {"numeric_form"})
        after = await app.fetch(query)
        assert after == before
        assert [str(record["amount"]) for record in after] != [str(record["amount"]) for record in before]

    async def test_results_are_json(self, app: asyncpg.Connection) -> None:
        await rows.insert(app, rows.build(truth()))
        found = await app.fetchval("SELECT result::text FROM transactions WHERE status = 'failed' LIMIT 1")
        assert json.loads(found)["successful"] is False


def columns_of(injection: scene.Injection, row: tuple[str, str]) -> list[rows.Row]:
    return [
        change.columns
        for change in injection.changes
        if isinstance(change, scene.Update) and (change.table, change.row_id) == row
    ]
