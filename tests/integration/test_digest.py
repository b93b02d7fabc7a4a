"""Digests on PostgreSQL: equal ones mean that no rule finds anything, whatever is changed; native and portable ones agree."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from random import Random
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from shared import errors
from sweeper import app_access, row_images
from sweeper.digest import diff, scan, spill
from sweeper.digest.hashing import Hashing
from tests.integration.digest_parts import HISTORY, TABLES, all_findings, difference, ids, surveyed, use_portable_hashes
from tests.integration.mirror import Mirror, mirror

CHANGES = (
    "UPDATE loans SET status = {word} WHERE id = {id}",
    "UPDATE loans SET remaining_balance = {number} WHERE id = {id}",
    "UPDATE loans SET remaining_balance = remaining_balance + 0.0000001 WHERE id = {id}",
    "UPDATE loans SET amount = -amount WHERE id = {id}",
    "UPDATE loans SET guarantee = guarantee + 1 WHERE id = {id}",
    "UPDATE loans SET amount = amount * 1.00, guarantee = guarantee + 0.000 WHERE id = {id}",  # another scale, the same value
    "UPDATE loans SET guarantee = amount, amount = guarantee WHERE id = {id}",
    "UPDATE loans SET user_wallet = lower(user_wallet) WHERE id = {id}",
    "UPDATE loans SET user_wallet = '' WHERE id = {id}",
    "UPDATE loans SET vendor_id = NULL WHERE id = {id}",
    "UPDATE loans SET vendor_id = {any_vendors} WHERE id = {id}",
    "UPDATE loans SET completed_at = NULL WHERE id = {id}",
    "UPDATE loans SET completed_at = now(), defaulted_at = now() WHERE id = {id}",
    "UPDATE loans SET defaulted_at = NULL WHERE id = {id}",
    "UPDATE loans SET loan_id = 'pending-' || md5(id::text) WHERE id = {id}",
    "UPDATE loans SET loan_id = 'pending-' || md5(id::text), status = 'rejected' WHERE id = {id}",
    "UPDATE loans SET loan_id = '0' || loan_id WHERE id = {id}",
    "UPDATE loans SET loan_id = loan_id || ' ' WHERE id = {id}",
    "UPDATE loans SET interest_rate = 99, term = 9, total_repayment = 1, updated_at = now() WHERE id = {id}",
    "DELETE FROM loans WHERE id = {id}",
    "UPDATE vendors SET status = {vendor_word} WHERE id = {any_vendors}",
    "UPDATE reputation_cache SET score = {score} WHERE id = {any_reputation_cache}",
    "UPDATE reputation_cache SET tier = {word} WHERE id = {any_reputation_cache}",
    "DELETE FROM reputation_history WHERE id = {any_reputation_history}",
    "UPDATE liquidity_positions SET deposited_amount = {number} WHERE id = {any_liquidity_positions}",
    "INSERT INTO liquidity_positions (provider_wallet, deposited_amount)"
    " SELECT provider_wallet, deposited_amount FROM liquidity_positions ORDER BY md5(id::text || {seed}) LIMIT 1",
)


@pytest.fixture
async def world(database: str) -> AsyncIterator[Mirror]:
    async with mirror(database, HISTORY) as found:
        yield found


def _any(table: str, chance: Random) -> str:
    """A row of the table by chance, as SQL."""
    return f"(SELECT id FROM {table} ORDER BY md5(id::text || '{chance.random()}') LIMIT 1)"


async def change(app: asyncpg.Connection, chance: Random, count: int) -> None:
    loans = [row["id"] for row in await app.fetch("SELECT id FROM loans ORDER BY id")]
    for _ in range(count):
        statement = chance.choice(CHANGES).format(
            id=f"'{chance.choice(loans)}'",
            word=chance.choice(["'active'", "'completed'", "'defaulted'", "'paid'", "''", "'pending'", "'gold'"]),
            vendor_word=chance.choice(["'pending'", "'approved'", "'suspended'", "'rejected'"]),
            number=chance.choice(["0", "-1", "12.34", "1e30", "0.0000001"]),
            score=chance.randrange(101),
            seed=f"'{chance.random()}'",
            **{f"any_{table}": _any(table, chance) for table in (*TABLES, "vendors")},
        )
        try:
            await app.execute(statement)
        except asyncpg.UniqueViolationError:
            continue


@pytest.mark.parametrize("seed", range(4))
async def test_equal_digests_mean_that_no_rule_finds_anything(world: Mirror, seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - tests repeat
    await change(world.app, chance, 60)
    tolerance = chance.choice([Decimal(0), Decimal("0.01"), Decimal(1)])
    context = await world.context()
    for table in TABLES:
        subject = world.subject(table, amount_tolerance=tolerance)
        wanted = await all_findings(context, subject)
        found = await surveyed(context, subject)
        assert found.keys() == wanted.keys(), table
        assert {key: one.drift_class for key, one in found.items()} == {
            key: one.drift_class for key, one in wanted.items()
        }
        assert context.canaries[table]


async def test_a_true_mirror_has_no_candidate_but_those_that_nothing_could_settle(world: Mirror) -> None:
    context = await world.context()
    for table in ("loans", "vendors", "reputation_cache", "reputation_history"):
        found = await difference(context, world.subject(table))
        assert ids(found) == set(), table
        assert found.canary_found
        assert found.app_rows == await world.app.fetchval(f"SELECT count(*) FROM {table}")


async def test_portable_hashes_find_the_same(world: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    await change(world.app, Random(7), 60)  # noqa: S311 - tests repeat
    context = await world.context()
    native = {table: ids(await difference(context, world.subject(table))) for table in TABLES}

    use_portable_hashes(monkeypatch)
    for table in TABLES:
        found = await difference(context, world.subject(table))
        assert (ids(found), found.canary_found, found.hashing.native) == (native[table], True, False)


async def test_databases_that_hash_differently_get_portable_hashes(
    world: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = await world.context()
    probe = Hashing.probe
    probed = []

    async def foreign(self: Hashing, connection: Any, digest: Any) -> list[tuple[int, int]]:
        probed.append(self.native)
        found = await probe(self, connection, digest)
        is_second = len(probed) == 2
        return [(key ^ 1, row) for key, row in found] if self.native and is_second else found

    monkeypatch.setattr(Hashing, "probe", foreign)
    found = await difference(context, world.subject("loans"))
    assert (found.hashing.native, found.canary_found, ids(found)) == (False, True, set())


async def test_swapped_rows_and_swapped_columns_are_not_equal(world: Mirror) -> None:
    """Two rows that exchange all that is compared, and two columns of one row, have the same values in other places."""
    one, other = [row["id"] for row in await world.app.fetch("SELECT id FROM loans ORDER BY id LIMIT 2")]
    await world.app.execute(
        "UPDATE loans SET (user_wallet, status, vendor_id, amount, guarantee, remaining_balance, completed_at, defaulted_at) ="
        " (SELECT user_wallet, status, vendor_id, amount, guarantee, remaining_balance, completed_at, defaulted_at"
        " FROM loans AS o"
        " WHERE o.id = CASE loans.id WHEN $1 THEN $2 ELSE $1 END) WHERE id IN ($1, $2)",
        one,
        other,
    )
    found = await difference(await world.context(), world.subject("loans"))
    assert ids(found) == {str(one), str(other)}


async def test_rows_that_move_while_they_are_read_are_compared_all_the_same(
    world: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update moves a row to another page: it may be hashed twice, or not at all. Whoever changes rows must not hide drift."""
    monkeypatch.setattr(scan, "FIRST_PAGES", 1)
    monkeypatch.setattr(scan, "MOST_PAGES", 1)
    drifted = await world.app.fetch(
        "UPDATE loans SET remaining_balance = -5 WHERE id IN (SELECT id FROM loans LIMIT 40) RETURNING id"
    )
    stop = asyncio.Event()

    async def disturb() -> None:
        chance = Random(3)  # noqa: S311 - tests repeat
        every = [row["id"] for row in await world.app.fetch("SELECT id FROM loans")]
        while not stop.is_set():
            await world.app.execute("UPDATE loans SET updated_at = now() WHERE id = ANY($1)", chance.sample(every, 30))
            await world.app.execute("VACUUM loans")

    task = asyncio.create_task(disturb())
    subject = world.subject("loans")
    try:
        for _ in range(5):
            found = await surveyed(await world.context(), subject)
            assert {one.row_id for one in found.values()} == {str(row["id"]) for row in drifted}
    finally:
        stop.set()
        await task


async def test_a_scan_that_broke_off_goes_on_where_it_stood(
    world: Mirror, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "FIRST_PAGES", 1)
    monkeypatch.setattr(scan, "MOST_PAGES", 1)
    await world.app.execute(
        "UPDATE loans SET status = 'nobody' WHERE id IN (SELECT id FROM loans ORDER BY ctid DESC LIMIT 3)"
    )
    context = await world.context(scan_directory=tmp_path)
    subject = world.subject("loans")
    from_scratch = await difference(context, subject)
    whole = ids(from_scratch)
    assert not from_scratch.is_resumed
    add = spill.Spill.add
    added: list[str] = []

    def broken(self: spill.Spill, side: str, records: Any, *, next_page: int | None) -> None:
        if side == "app" and len(added) == 2:
            raise OSError("the disk is full")
        if side == "app":
            added.append(side)
        add(self, side, records, next_page=next_page)

    monkeypatch.setattr(spill.Spill, "add", broken)
    with pytest.raises(ExceptionGroup):
        await difference(context, subject)
    monkeypatch.setattr(spill.Spill, "add", add)
    read, pages = scan._read, []

    async def noted(walk: Any, condition: str, *, with_canaries: bool) -> Any:
        if walk.with_id:
            pages.append(condition)
        return await read(walk, condition, with_canaries=with_canaries)

    monkeypatch.setattr(scan, "_read", noted)
    found = await difference(context, subject)
    assert (ids(found), found.canary_found, found.is_resumed) == (whole, True, True)
    assert "'(2,0)'" in pages[0]
    assert found.app_rows == await world.app.fetchval("SELECT count(*) FROM loans")
    assert list(tmp_path.rglob("*-00?")) == [], "what is done leaves no file"


async def test_a_survey_tells_of_hashes_that_are_of_an_earlier_run(
    world: Mirror, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise OSError("it was stopped")

    subject, first = world.subject("loans"), await world.context(scan_directory=tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(diff, "_matched", stopped)
        with pytest.raises(OSError, match="it was stopped"):
            await surveyed(first, subject)
    resumed, fresh = await world.context(scan_directory=tmp_path), await world.context(scan_directory=tmp_path)
    assert await surveyed(resumed, subject) == await surveyed(fresh, subject)
    assert (resumed.resumed, fresh.resumed) == (["loans"], [])


async def test_a_partitioned_table_is_walked_by_its_ids(world: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "ROWS_BY_ID", 50)
    await world.app.execute("ALTER TABLE reputation_history RENAME TO old_history")
    await world.app.execute(
        "CREATE TABLE reputation_history (LIKE old_history INCLUDING DEFAULTS) PARTITION BY HASH (id);"
        "CREATE TABLE h0 PARTITION OF reputation_history FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE h1 PARTITION OF reputation_history FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
        "INSERT INTO reputation_history SELECT * FROM old_history;"
        "DELETE FROM reputation_history WHERE id IN (SELECT id FROM reputation_history ORDER BY id DESC LIMIT 2)"
    )
    context = await world.context()
    found = await surveyed(context, world.subject("reputation_history"))
    assert [one.drift_class for one in found.values()] == ["missing_row"] * 2
    assert context.compared["reputation_history"].app_rows == await world.app.fetchval(
        "SELECT count(*) FROM reputation_history"
    )


async def test_words_of_the_settings_are_literals_whatever_they_hold(world: Mirror) -> None:
    word = "it's :over \\ %s"
    subject = world.subject("loans", cancelled_status=word)
    cancelled = [
        row["id"]
        for row in await world.app.fetch("UPDATE loans SET status = $1 WHERE status = 'cancelled' RETURNING id", word)
    ]
    assert cancelled
    assert ids(await difference(await world.context(), subject)) == set()


async def test_an_empty_application_is_all_missing(world: Mirror) -> None:
    await world.app.execute("TRUNCATE loans CASCADE")
    context = await world.context()
    subject = world.subject("loans")
    assert (await all_findings(context, subject)).keys() == (await surveyed(context, subject)).keys()
    assert context.compared["loans"].app_rows == 0
    assert context.canaries["loans"]


async def test_a_missing_right_is_told_by_the_setting_though_hashes_go_past_sqlalchemy(world: Mirror) -> None:
    """The table has row-level security: a role that may not pass it is refused, and sees no empty table."""
    role = f"nobody_{uuid4().hex}"
    await world.app.execute(f"CREATE ROLE {role}")
    hashes = "SELECT 1::bigint AS key_hash, 1::bigint AS row_hash FROM loans"
    words = 'the role of CHAINTRUE_APP_DATABASE__URL lacks a right: .* table "?loans'

    async def read() -> None:
        async with app_access.transaction(world.engine) as connection:
            await connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
            await scan.fetch(connection, hashes, with_id=False)

    try:
        with pytest.raises(errors.SettingError, match=words):
            await read()
    finally:
        await world.app.execute(f"DROP ROLE {role}")


async def test_times_beyond_all_others_are_findings_and_end_nothing(world: Mirror) -> None:
    """Anybody may have written the row: under some policies of the application loans are for all to insert."""
    known = [row["id"] for row in await world.app.fetch("SELECT id FROM loans ORDER BY id LIMIT 4")]
    times = ("infinity", "-infinity", "20000-01-01", "4000-01-01 BC")
    for number, (row, time) in enumerate(zip(known, times, strict=True)):
        await world.app.execute(
            "UPDATE loans SET loan_id = $2, status = 'active', created_at = CAST(CAST($3 AS text) AS timestamptz) WHERE id = $1",
            row,
            f"pending-{number}-a",
            time,
        )
    found = await surveyed(await world.context(), world.subject("loans"))
    classes = {row: [one.drift_class for one in found.values() if one.row_id == str(row)] for row in known}
    of_the_past = ["absent_on_chain"]
    assert list(classes.values()) == [[], of_the_past, [], of_the_past]  # what is yet to be waits for its loan


async def test_a_row_of_infinite_time_is_guarded_by_it(world: Mirror) -> None:
    """A column without a zone is read as UTC; what is written back as a guard is what stands there."""
    await world.app.execute(
        "ALTER TABLE loans ALTER COLUMN updated_at TYPE timestamp USING updated_at AT TIME ZONE 'UTC'"
    )
    row = await world.app.fetchval("SELECT id FROM loans WHERE status = 'active' ORDER BY id LIMIT 1")
    await world.app.execute("UPDATE loans SET status = 'completed', created_at = 'infinity' WHERE id = $1", row)
    found = await surveyed(await world.context(), world.subject("loans"))
    (finding,) = [one for one in found.values() if one.row_id == str(row)]
    guard = row_images.of({name: finding.guard[name] for name in ("created_at", "updated_at")})
    assert guard["created_at"] == "infinity"
    statement = (
        "SELECT created_at = $2::text::timestamptz AND updated_at = $3::text::timestamp FROM loans WHERE id = $1"
    )
    assert await world.app.fetchval(statement, row, guard["created_at"], guard["updated_at"])
