"""The digest sees every change: whatever columns of a row change together, a row in which a rule finds something is a candidate.

All changes of a round are made at once, each to a row of its own, in one database that is both sides. The rules look at every
row, so they are the judge. `hypothesis` is not used: a round costs a scan, and the sets of changes are small enough to take all.
"""

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from itertools import combinations, product
from random import Random
from typing import Any

import pytest

from shared import position
from sweeper.context import Since
from sweeper.digest import spec
from sweeper.digest.hashing import Hashing
from sweeper.digest.spec import Digest
from tests.integration.digest_parts import HISTORY, TABLES, all_findings, difference, ids, surveyed, use_portable_hashes
from tests.integration.mirror import Mirror, mirror

AMOUNTS = ("amount", "guarantee", "remaining_balance")
NUMBER_CHANGES = (
    "{c}", "-{c}", "{c} * 10000", "{c} / 10000", "{c} * -10000", "{c} * 100000000", "{c} * 1.000", "0", "-0.00", "NULL",
    "'NaN'", "'Infinity'", "'-Infinity'", "{c} + 0.0000001", "amount", "guarantee", "remaining_balance",
)  # fmt: skip
TEXT_CHANGES = (
    "{c}",
    "NULL",
    "''",
    "'0'",
    "' '",
    "lower({c})",
    "upper({c})",
    "{c} || ' '",
    "{c} || '|'",
    "reverse({c})",
)
STATUS_CHANGES = (
    "{c}",
    "NULL",
    "''",
    "'active'",
    "'completed'",
    "'defaulted'",
    "'cancelled'",
    "'pending'",
    "user_wallet",
)
TIME_CHANGES = ("{c}", "NULL", "now()", "'infinity'")
OTHER_VENDOR = "(SELECT id FROM vendors ORDER BY md5(id::text || loans.id::text) LIMIT 1)"
OF_LOANS: dict[str, Sequence[str]] = {
    "user_wallet": (*TEXT_CHANGES, "status"),
    "status": STATUS_CHANGES,
    "vendor_id": ("{c}", "NULL", OTHER_VENDOR),
    **dict.fromkeys(AMOUNTS, NUMBER_CHANGES),
    "completed_at": TIME_CHANGES,
    "defaulted_at": TIME_CHANGES,
}
OF_THE_REST: dict[str, dict[str, Sequence[str]]] = {
    "vendors": {"status": (*TEXT_CHANGES, "'approved'", "'pending'", "'suspended'")},
    "reputation_cache": {
        "score": ("{c}", "-{c}", "NULL", "0", "{c} * 10000", "{c} + 1"),
        "tier": (*TEXT_CHANGES, "'gold'", "'poor'"),
    },
    "liquidity_positions": {"deposited_amount": NUMBER_CHANGES[:-3]},
}
Changes = dict[str, str]


@pytest.fixture
async def world(database: str) -> AsyncIterator[Mirror]:
    """A mirror whose application forbids no value, and remembers its rows."""
    async with mirror(database, HISTORY) as made:
        for table, columns in {"loans": OF_LOANS, **OF_THE_REST}.items():
            for column in columns:
                await made.app.execute(f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL")
            for constraint in await made.app.fetch(
                "SELECT conname FROM pg_constraint WHERE conrelid = to_regclass($1) AND contype = 'c'", table
            ):
                await made.app.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint['conname']}")
            await made.app.execute(f"CREATE TABLE as_it_was_{table} AS TABLE {table}")
        yield made


def rounds(changes: Sequence[Changes], size: int) -> list[Sequence[Changes]]:
    return [changes[start : start + size] for start in range(0, len(changes), size)]


async def restore(world: Mirror, table: str, columns: Sequence[str]) -> None:
    values = ", ".join(f"{column} = old.{column}" for column in columns)
    await world.app.execute(f"UPDATE {table} SET {values} FROM as_it_was_{table} AS old WHERE old.id = {table}.id")


async def apply(world: Mirror, table: str, changes: Sequence[Changes]) -> None:
    """Make each of the changes to a row of its own."""
    rows = [row["id"] for row in await world.app.fetch(f"SELECT id FROM {table} ORDER BY md5(id::text)")]
    async with world.app.transaction():
        for row, change in zip(rows, changes, strict=False):
            values = ", ".join(f"{column} = {value.format(c=column)}" for column, value in change.items())
            await world.app.execute(f"UPDATE {table} SET {values} WHERE id = $1", row)


async def check(world: Mirror, table: str, **settings: Any) -> int:
    """Hold the candidates against the rules; return how many rows the rules find something in."""
    subject, context = world.subject(table, **settings), await world.context()
    wanted = await all_findings(context, subject)
    rows = {finding.row_id for finding in wanted.values()} - {None}
    candidates = await difference(context, subject)
    hidden = [finding.words for finding in wanted.values() if finding.row_id in rows - ids(candidates)]
    assert hidden == []
    assert (await surveyed(context, subject)).keys() == wanted.keys()
    return len(rows)


@pytest.mark.parametrize("portable", [False, True], ids=["native", "portable"])
@pytest.mark.parametrize("tolerance", ["0", "0.01", "0.3"])
async def test_no_two_or_three_amounts_hide_each_other(
    world: Mirror, monkeypatch: pytest.MonkeyPatch, portable: bool, tolerance: str
) -> None:
    """Sign, scale, zero, NULL, NaN, infinities and exchanged columns, in all pairs; and all three changed in the same way."""
    if portable:
        use_portable_hashes(monkeypatch)
    pairs = [
        dict(zip(columns, values, strict=True))
        for columns in combinations(AMOUNTS, 2)
        for values in product(NUMBER_CHANGES, repeat=2)
    ]
    triples = [dict.fromkeys(AMOUNTS, value) for value in NUMBER_CHANGES]
    count = await world.app.fetchval("SELECT count(*) FROM loans")
    found = 0
    for changes in rounds(pairs + triples, count):
        await apply(world, "loans", changes)
        found += await check(world, "loans", amount_tolerance=Decimal(tolerance))
        await restore(world, "loans", AMOUNTS)
    assert found > len(pairs) // 2


@pytest.mark.parametrize("portable", [False, True], ids=["native", "portable"])
async def test_no_set_of_changed_columns_hides_a_finding(
    world: Mirror, monkeypatch: pytest.MonkeyPatch, portable: bool
) -> None:
    """Any number of columns of a row at once, by chance."""
    if portable:
        use_portable_hashes(monkeypatch)
    count = await world.app.fetchval("SELECT count(*) FROM loans")
    for seed in range(3):
        chance = Random(seed)  # noqa: S311 - tests repeat
        changes = [
            {
                name: chance.choice(OF_LOANS[name])
                for name in chance.sample(list(OF_LOANS), chance.randint(1, len(OF_LOANS)))
            }
            for _ in range(count)
        ]
        await apply(world, "loans", changes)
        assert await check(world, "loans", amount_tolerance=chance.choice([Decimal(0), Decimal("0.01")])) > count // 2
        await restore(world, "loans", list(OF_LOANS))


@pytest.mark.parametrize("portable", [False, True], ids=["native", "portable"])
@pytest.mark.parametrize("table", list(OF_THE_REST))
async def test_every_change_of_the_small_tables_is_seen(
    world: Mirror, monkeypatch: pytest.MonkeyPatch, table: str, portable: bool
) -> None:
    if portable:
        use_portable_hashes(monkeypatch)
    columns = OF_THE_REST[table]
    changes: list[Changes] = [dict(zip(columns, values, strict=True)) for values in product(*columns.values())]
    count, found = await world.app.fetchval(f"SELECT count(*) FROM {table}"), 0
    for some in rounds(changes, count):
        await apply(world, table, some)
        found += await check(world, table)
        await restore(world, table, list(columns))
    assert found > len(changes) // 2


async def test_a_vendor_without_a_status_is_seen_where_the_chain_does_not_know_its_status(world: Mirror) -> None:
    """NULL on both sides is equal; that the application's row has no word of the registry is a finding all the same."""
    await world.app.execute("UPDATE vendors SET status = NULL")
    await world.app.execute("UPDATE chain.vendors SET status = NULL")
    assert await check(world, "vendors") == await world.app.fetchval("SELECT count(*) FROM vendors")


async def test_rows_that_exchange_everything_are_seen(world: Mirror) -> None:
    """Each loan gets all that the digest holds of the next one."""
    columns = ", ".join(OF_LOANS)
    await world.app.execute(
        f"UPDATE loans SET ({columns}) = (SELECT {columns} FROM as_it_was_loans AS old WHERE old.id = turned.other)"
        " FROM (SELECT id, coalesce(lead(id) OVER w, first_value(id) OVER w) AS other FROM as_it_was_loans"
        " WINDOW w AS (ORDER BY id)) AS turned WHERE turned.id = loans.id"
    )
    assert await check(world, "loans") > 0


# The hashes alone

TEXTS = ("NULL", "''", "'0'", "' '", "'~'", "'|'", "'1=a'", "'aaaa'")
NUMBERS = ("NULL", "0", "1", "-1", "2", "10000", "-10000", "0.0001", "100000000", "'NaN'", "'Infinity'", "'-Infinity'")
FLAGS = ("NULL", "true", "false")


def values_of(name: str, kind: str, values: Sequence[str]) -> str:
    return f"(VALUES {', '.join(f'(CAST({value} AS {kind}))' for value in values)}) AS {name} ({name})"


def row_hashes(hashing: Hashing, digest: Digest, rows: str) -> str:
    canonical = hashing.canonical(digest, of_app=True, rows=rows, row_id="it.id", with_canaries=False)
    return hashing.hashed(digest, canonical, with_id=True)


@pytest.mark.parametrize("native", [True, False])
async def test_rows_have_equal_hashes_exactly_where_all_columns_are_equal(world: Mirror, native: bool) -> None:
    """All rows over the values that PostgreSQL's functions confuse: 331,776 rows, no two of the same hash."""
    digest = Digest(
        app_key="it.key",
        expected_key="it.key",
        forms=(spec.text("t"), spec.number("x"), spec.number("y"), spec.text("u"), spec.number("z"), spec.flag("it.f")),
    )
    tables = [
        *(values_of(name, "text", TEXTS) for name in "tu"),
        *(values_of(name, "numeric", NUMBERS) for name in "xyz"),
        values_of("f", "boolean", FLAGS),
    ]
    rows = f"SELECT CAST(NULL AS uuid) AS id, 'key' AS key, * FROM {', '.join(tables)}"
    hashed = row_hashes(Hashing(seed=Hashing.fresh().seed, native=native), digest, rows)
    counted = await world.app.fetchrow(f"SELECT count(*), count(DISTINCT row_hash) FROM ({hashed}) AS it")
    assert counted[0] == len(TEXTS) ** 2 * len(NUMBERS) ** 3 * len(FLAGS)
    assert counted[1] == counted[0]


@pytest.mark.parametrize("native", [True, False])
async def test_values_that_are_the_same_number_have_the_same_hash(world: Mirror, native: bool) -> None:
    digest = Digest(app_key="it.key", expected_key="it.key", forms=(spec.number("x"), spec.number("x")))
    for same in (("0", "0.00", "-0", "-0.000", "0e5"), ("-12.5", "-12.50"), ("10000", "1e4", "10000.000000")):
        rows = f"SELECT CAST(NULL AS uuid) AS id, 'key' AS key, x FROM {values_of('x', 'numeric', same)}"
        hashed = row_hashes(Hashing(seed=Hashing.fresh().seed, native=native), digest, rows)
        assert await world.app.fetchval(f"SELECT count(DISTINCT row_hash) FROM ({hashed}) AS it") == 1, same


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("changed", ["key", "t", "x", "y"])
async def test_a_row_hash_has_64_bits_whatever_column_changes(world: Mirror, changed: str, native: bool) -> None:
    """Of 600,000 hashes of 32 bits, 42 would be taken twice; so would they be if one step on the way had 32 bits."""
    digest = Digest(
        app_key="it.key",
        expected_key="it.key",
        forms=(spec.text("t"), spec.number("x"), spec.number("y"), spec.flag("true")),
    )
    values = {"key": "'key'", "t": "'text'", "x": "1", "y": "2"} | {changed: "n"}
    columns = ", ".join(
        f"CAST({value} AS {'numeric' if name in 'xy' else 'text'}) AS {name}" for name, value in values.items()
    )
    rows = f"SELECT CAST(NULL AS uuid) AS id, {columns} FROM generate_series(1, 600000) AS n"
    hashed = row_hashes(Hashing(seed=Hashing.fresh().seed, native=native), digest, rows)
    counted = await world.app.fetchrow(
        f"SELECT count(DISTINCT row_hash), count(DISTINCT key_hash) FROM ({hashed}) AS it"
    )
    assert counted[0] == 600_000
    assert counted[1] == (600_000 if changed == "key" else 1)


async def test_more_columns_than_one_step_takes_are_all_seen(world: Mirror) -> None:
    """The marks of ten columns fill an integer: those of 25 columns take three steps."""
    digest = Digest(app_key="it.key", expected_key="it.key", forms=tuple(spec.number(f"x{n}") for n in range(25)))
    columns = ", ".join(f"CASE WHEN n = {n} THEN -1 ELSE 1 END AS x{n}" for n in range(25))
    rows = f"SELECT CAST(NULL AS uuid) AS id, 'key' AS key, {columns} FROM generate_series(0, 25) AS n"
    hashed = row_hashes(Hashing.fresh(), digest, rows)
    assert await world.app.fetchval(f"SELECT count(DISTINCT row_hash) FROM ({hashed}) AS it") == 26


# Keys with equal hashes


def use_short_key_hashes(monkeypatch: pytest.MonkeyPatch, mask: int) -> None:
    """Cut the hashes of all keys but the canaries'."""
    key = Hashing.key

    def short(self: Hashing, expression: str) -> str:
        whole = key(self, expression)
        return f"CASE WHEN starts_with({expression}, 'canary:') THEN {whole} ELSE 1 + ({whole} & {mask}) END"

    monkeypatch.setattr(Hashing, "key", short)


@pytest.mark.parametrize("mask", [0, 15, 511])
async def test_rows_and_entities_with_equal_key_hashes_do_not_hide_each_other(
    world: Mirror, monkeypatch: pytest.MonkeyPatch, mask: int
) -> None:
    """Rows without an entity, entities without a row, provisional rows and drift, on the same hashes: nothing else is found."""
    use_short_key_hashes(monkeypatch, mask)
    for seed in range(2):
        await spoil(world, seed)
        context = await world.context()
        for table in TABLES:
            subject = world.subject(table)
            wanted = await all_findings(context, subject)
            findings = [finding async for finding in subject.survey(context)]
            assert {finding.identity: finding.drift_class for finding in findings} == {
                identity: finding.drift_class for identity, finding in wanted.items()
            }, (table, seed)
            assert len(findings) == len(wanted), (table, seed)
            assert context.canaries[table]


async def spoil(world: Mirror, seed: int) -> None:
    """Some rows are lost, some name nothing on chain, some do not know their loan, and some hold other values."""
    for table, columns in SPOILED.items():
        for number, change in enumerate(columns):
            where = f"hashtext(id::text || {number}) & 31 = {seed}"
            await world.app.execute(f"{change.format(table=table)} WHERE {where}")


SPOILED = {
    "loans": (
        "DELETE FROM {table}",
        "UPDATE {table} SET loan_id = 'pending-' || md5(id::text)",
        "UPDATE {table} SET loan_id = '99' || loan_id",
        "UPDATE {table} SET status = 'defaulted'",
        "UPDATE {table} SET amount = -amount, guarantee = -guarantee",
    ),
    "reputation_history": ("DELETE FROM {table}", "UPDATE {table} SET event_id = md5(event_id)"),
    "reputation_cache": (
        "DELETE FROM {table}",
        "UPDATE {table} SET score = score + 1",
        "UPDATE {table} SET wallet_address = id",
    ),
    "liquidity_positions": ("DELETE FROM {table}", "UPDATE {table} SET provider_wallet = id"),
    "vendors": ("UPDATE {table} SET status = 'pending'", "UPDATE {table} SET wallet_address = id, status = NULL"),
}


@pytest.mark.parametrize("mask", [0, 511])
async def test_a_sweep_of_what_changed_sees_entities_that_share_a_key_hash(
    world: Mirror, monkeypatch: pytest.MonkeyPatch, mask: int
) -> None:
    use_short_key_hashes(monkeypatch, mask)
    await spoil(world, 1)
    context = await world.context()
    for table in ("loans", "reputation_history"):
        subject = world.subject(table)
        wanted = {
            one.identity for one in (await all_findings(context, subject)).values() if one.drift_class == "missing_row"
        }
        since = Since(position=position.START, row_ids={}, keys={})
        findings = [one async for one in subject.survey_changed(context, since) if one.drift_class == "missing_row"]
        assert wanted
        assert {one.identity for one in findings} == wanted, table
        assert len(findings) == len(wanted), table


async def test_amounts_that_are_rounded_to_the_same_multiple_differ_by_less_than_the_tolerance(world: Mirror) -> None:
    """On both sides of each half, as near as 40 digits allow: a rounded quotient would cross it."""
    for tolerance in ("0.01", "0.3", "1", "3000", "0.0000007"):
        step = Decimal(tolerance)
        form = spec.number("x", tolerance=step).app
        near = [f"{sign}1e-{digits}" for sign in ("", "-") for digits in (7, 17, 29, 30, 31, 40)] + ["0"]
        values = ", ".join(
            f"({half} * CAST({tolerance} AS numeric) / 2 + {little})" for half in range(-5, 6) for little in near
        )
        query = f"WITH it AS (SELECT column1 AS x FROM (VALUES {values}) AS v), m AS (SELECT it.x, {form} AS f FROM it)"
        widest = await world.app.fetchval(
            f"{query} SELECT max(d) FROM (SELECT max(x) - min(x) AS d FROM m GROUP BY f) AS g"
        )
        assert 0 < widest < step
    for special in ("NaN", "Infinity", "-Infinity"):
        query = f"SELECT {spec.number('x', tolerance=Decimal(1)).app} FROM (VALUES (CAST('{special}' AS numeric))) AS it (x)"
        assert str(await world.app.fetchval(query)) == special
