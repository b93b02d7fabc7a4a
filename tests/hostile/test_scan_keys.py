"""Rows that share a key, or look as if they did: each is found, none is written, and a row beside them still is."""

import pytest

from shared import position
from sweeper import app_access, app_schema, known_drift
from sweeper.context import Since
from sweeper.model import Finding
from tests.integration.mirror import Mirror

KEYS = {
    "loans": "loan_id",
    "vendors": "wallet_address",
    "reputation_cache": "wallet_address",
    "reputation_history": "event_id",
    "liquidity_positions": "provider_wallet",
}
CONTROLS = {
    "loans": "UPDATE loans SET status = 'defaulted' WHERE id = $1 AND status <> 'defaulted'",
    "vendors": "UPDATE vendors SET status = 'suspended' WHERE id = $1 AND status <> 'suspended'",
    "reputation_cache": "UPDATE reputation_cache SET score = score + 1 WHERE id = $1",
    "liquidity_positions": "UPDATE liquidity_positions SET deposited_amount = deposited_amount + 1 WHERE id = $1",
}
"""Drift in a row of a key of its own."""


async def surveyed(world: Mirror, table: str) -> dict[str, Finding]:
    """The findings about rows, as a sweep takes them, by the row's id."""
    context, subject = await world.context(), world.subject(table)
    found = [one async for one in known_drift.surveyed(context, subject, subject.survey(context))]
    assert context.canaries[table]
    return {one.row_id: one for one in found if one.row_id is not None}


async def loosened(world: Mirror, table: str) -> None:
    """Take away all that keeps keys apart or short, but for the primary key."""
    for row in await world.app.fetch(
        "SELECT conname FROM pg_constraint WHERE conrelid = CAST($1 AS regclass) AND contype IN ('u', 'c')", table
    ):
        await world.app.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{row["conname"]}" CASCADE')
    for row in await world.app.fetch(
        "SELECT CAST(CAST(indexrelid AS regclass) AS text) AS name FROM pg_index"
        " WHERE indrelid = CAST($1 AS regclass) AND NOT indisprimary",
        table,
    ):
        await world.app.execute(f"DROP INDEX {row['name']}")
    await world.app.execute(f"ALTER TABLE {table} ALTER {KEYS[table]} TYPE text, ALTER {KEYS[table]} DROP NOT NULL")


async def copies(world: Mirror, table: str, key: str, *, count: int) -> tuple[str, set[str]]:
    """So many copies of the first row with the key, an SQL expression on it; returns the ids of that row and of the copies."""
    first = await world.app.fetchval(f"SELECT id FROM {table} ORDER BY id LIMIT 1")
    values = f"'id', gen_random_uuid(), '{KEYS[table]}', {key}"
    made = await world.app.fetch(
        f"INSERT INTO {table} SELECT (jsonb_populate_record(CAST(row AS {table}), jsonb_build_object({values}))).*"
        f" FROM (SELECT * FROM {table} WHERE id = $1) AS row"
        f" CROSS JOIN generate_series(1, {count}) RETURNING CAST(id AS text) AS id",
        first,
    )
    return str(first), {row["id"] for row in made}


async def control(world: Mirror, table: str) -> str | None:
    """A row that drifted and is to be repaired; None for a table whose rows are never changed."""
    if table not in CONTROLS:
        return None
    for row in await world.app.fetch(f"SELECT id FROM {table} ORDER BY id OFFSET 3"):
        if await world.app.execute(CONTROLS[table], row["id"]) == "UPDATE 1":
            found = (await surveyed(world, table)).get(str(row["id"]))
            if found is not None and found.can_be_written:
                return str(row["id"])
    raise AssertionError(f"no row of {table} can serve as a control")


@pytest.mark.parametrize(
    ("key", "count"),
    [("row.{key}", 2), ("'nobody'", 3), ("repeat('G', 1024)", 2), ("repeat('G', 1025)", 2), ("repeat('ü', 700)", 3)],
    ids=["as the first", "nobody", "longest that is read", "too long to be read", "too many bytes"],
)
async def test_several_rows_of_one_key(world: Mirror, key: str, count: int) -> None:
    for table, column in KEYS.items():
        await loosened(world, table)
        kept = await control(world, table)
        first, ids = await copies(world, table, key.format(key=column), count=count)
        if key == "row.{key}":
            ids.add(first)
        found = await surveyed(world, table)
        for row_id in ids:
            assert (found[row_id].drift_class, found[row_id].can_be_written) == ("duplicate_row", False)
            assert set(found[row_id].evidence["rows"]) == ids
        if kept is not None:
            assert found[kept].can_be_written


@pytest.mark.parametrize("key", ["NULL", "''", "lower(row.{key}) || '-' || gen_random_uuid()"])
async def test_rows_without_a_key_are_no_duplicates(world: Mirror, key: str) -> None:
    for table, column in KEYS.items():
        await loosened(world, table)
        kept = await control(world, table)
        _, ids = await copies(world, table, key.format(key=column), count=3)
        found = await surveyed(world, table)
        assert "duplicate_row" not in {one.drift_class for one in found.values()}
        assert not any(found[row_id].can_be_written for row_id in ids & found.keys())
        if kept is not None:
            assert found[kept].can_be_written


async def test_a_unique_key_does_not_reach_into_tables_that_inherit(world: Mirror) -> None:
    for table in KEYS:
        kept = await control(world, table)
        await world.app.execute(f"CREATE TABLE child_of_{table} () INHERITS ({table})")
        await world.app.execute(f"INSERT INTO child_of_{table} SELECT * FROM ONLY {table} ORDER BY id LIMIT 1")
        row_id = str(await world.app.fetchval(f"UPDATE child_of_{table} SET id = gen_random_uuid() RETURNING id"))
        found = await surveyed(world, table)
        assert (found[row_id].drift_class, found[row_id].evidence["row_count"]) == ("duplicate_row", 2)
        since = Since(position=position.START)
        again = [one async for one in world.subject(table).survey_changed(await world.context(), since)]
        assert row_id in {one.row_id for one in again if one.drift_class == "duplicate_row"}
        if kept is not None:
            assert found[kept].can_be_written


@pytest.mark.parametrize(
    ("index", "is_unique"),
    [
        ("UNIQUE INDEX own ON vendors (wallet_address)", True),
        ("UNIQUE INDEX own ON vendors (wallet_address) INCLUDE (status)", True),
        ("UNIQUE INDEX own ON vendors (wallet_address) WHERE status = 'approved'", False),
        ("UNIQUE INDEX own ON vendors (lower(wallet_address))", False),
        ("UNIQUE INDEX own ON vendors (wallet_address, status)", False),
        ("INDEX own ON vendors (wallet_address)", False),
    ],
)
async def test_what_counts_as_unique(world: Mirror, index: str, is_unique: bool) -> None:
    await loosened(world, "vendors")
    await world.app.execute(f"CREATE {index}")
    async with app_access.transaction(world.engine) as connection:
        table = await app_schema.read_table(connection, "vendors")
    assert table is not None
    assert (("wallet_address",) in table.unique) is is_unique


@pytest.mark.parametrize("users", [0, 1, 2, 3])
async def test_a_missing_score_belongs_to_one_user_or_is_not_written(world: Mirror, users: int) -> None:
    for row in await world.app.fetch(
        "SELECT conname FROM pg_constraint WHERE conrelid = CAST('users' AS regclass) AND contype = 'u'"
    ):
        await world.app.execute(f"ALTER TABLE users DROP CONSTRAINT {row['conname']} CASCADE")
    wallets = [
        row["wallet_address"]
        for row in await world.app.fetch(
            "DELETE FROM reputation_cache WHERE id IN (SELECT id FROM reputation_cache ORDER BY id LIMIT 2)"
            " RETURNING wallet_address"
        )
    ]
    copied = (
        "INSERT INTO users SELECT (jsonb_populate_record(row, jsonb_build_object('id', gen_random_uuid()))).*"
        " FROM users AS row CROSS JOIN generate_series(2, $2) WHERE wallet_address = $1"
    )
    await world.app.execute(copied, wallets[0], users)
    if users == 0:
        await world.app.execute("UPDATE users SET wallet_address = 'nobody' WHERE wallet_address = $1", wallets[0])
    context, subject = await world.context(), world.subject("reputation_cache")
    found = {one.entity: one async for one in subject.survey(context)}
    attacked, kept = (found[f"user:{wallet}"] for wallet in wallets)
    assert {attacked.drift_class, kept.drift_class} == {"missing_row"}
    assert (attacked.insert is not None) is (users == 1)
    assert ("several users" in attacked.words) is (users > 1)
    owner = await world.app.fetchval("SELECT id FROM users WHERE wallet_address = $1", wallets[1])
    assert kept.insert is not None
    assert kept.insert["user_id"] == owner
