"""Numbers as large, as small and as long as PostgreSQL has them, and what no number is: seen by the scan, fit for a report."""

import json
from decimal import Decimal

import pytest

from sweeper.report import _finding_json
from tests.integration.digest_parts import all_findings, surveyed, use_portable_hashes
from tests.integration.mirror import Mirror

EXTREMES = (
    "9.99e131071",
    "-9.99e131071",
    "1e131071",
    "1e-16383",
    "-1e-16383",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e28",
    "99999999999999999999999999999.9999999",
)
COLUMNS = {
    "loans": ("amount", "guarantee", "remaining_balance"),
    "liquidity_positions": ("deposited_amount",),
    "reputation_cache": ("score",),
}


@pytest.mark.parametrize("native", [True, False])
async def test_every_extreme_is_seen(world: Mirror, monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    """Each stands in a row of its own; one more row drifts by little, and is still to be repaired."""
    if not native:
        use_portable_hashes(monkeypatch)
    for table, columns in COLUMNS.items():
        for row in await world.app.fetch(
            "SELECT conname FROM pg_constraint WHERE conrelid = CAST($1 AS regclass) AND contype = 'c'", table
        ):
            await world.app.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{row["conname"]}"')
        for column in columns:
            await world.app.execute(f"ALTER TABLE {table} ALTER {column} TYPE numeric")
        ids = [row["id"] for row in await world.app.fetch(f"SELECT id FROM {table} ORDER BY id")]
        attacked = {}
        for number, value in enumerate(EXTREMES[: len(ids) - 1]):
            column = columns[number % len(columns)]
            attacked[str(ids[number])] = column
            await world.app.execute(f"UPDATE {table} SET {column} = '{value}' WHERE id = $1", ids[number])
        await world.app.execute(f"UPDATE {table} SET {columns[-1]} = {columns[-1]} + 1 WHERE id = $1", ids[-1])
        context, subject = await world.context(), world.subject(table)
        found = await surveyed(context, subject)
        assert context.canaries[table]
        assert found.keys() >= (await all_findings(context, subject)).keys()
        by_row = {one.row_id: one for one in found.values()}
        for row_id, column in attacked.items():
            assert column in by_row[row_id].columns
            told = json.dumps(_finding_json(by_row[row_id]), allow_nan=False)
            assert len(told) < 20_000
        assert by_row[str(ids[-1])].can_be_written


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
async def test_a_score_that_is_no_number_fits_into_a_report(world: Mirror, value: str) -> None:
    """PostgreSQL refuses a JSON with NaN, and with it the whole report."""
    await world.app.execute("ALTER TABLE reputation_cache DROP CONSTRAINT reputation_cache_score_check")
    await world.app.execute("ALTER TABLE reputation_cache ALTER score TYPE double precision")
    first, second = [
        row["id"]
        for row in await world.app.fetch("SELECT id FROM reputation_cache WHERE score < 90 ORDER BY id LIMIT 2")
    ]
    await world.app.execute(f"UPDATE reputation_cache SET score = '{value}' WHERE id = $1", first)
    await world.app.execute("UPDATE reputation_cache SET score = score + 1 WHERE id = $1", second)
    found = {
        one.row_id: one for one in (await surveyed(await world.context(), world.subject("reputation_cache"))).values()
    }
    assert found.keys() == {str(first), str(second)}
    told = json.dumps([_finding_json(one) for one in found.values()], allow_nan=False)
    assert await world.app.fetchval("SELECT jsonb_array_length(CAST($1 AS text)::jsonb)", told) == 2
    assert all(one.can_be_written for one in found.values())


async def test_the_last_place_of_a_long_amount_is_seen(world: Mirror) -> None:
    """A value that agrees, written with other zeros, is none; one unit in the tolerance's last place is one."""
    await world.app.execute("ALTER TABLE loans ALTER amount TYPE numeric")
    ids = [row["id"] for row in await world.app.fetch("SELECT id FROM loans WHERE amount > 0 ORDER BY id LIMIT 3")]
    tolerance = Decimal(world.settings.amount_tolerance) or Decimal("0.0000001")
    await world.app.execute("UPDATE loans SET amount = amount * 1.000000000000000 WHERE id = $1", ids[0])
    await world.app.execute("UPDATE loans SET amount = amount + $2 WHERE id = $1", ids[1], 2 * tolerance)
    await world.app.execute("UPDATE loans SET amount = -amount WHERE id = $1", ids[2])
    found = {one.row_id for one in (await surveyed(await world.context(), world.subject("loans"))).values()}
    assert found == {str(ids[1]), str(ids[2])}
