"""What a scan could miss: rows that an update moves, several rows of one key, users who left the map of scores."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from sqlalchemy import text

from shared import position
from sweeper import known_drift, sightings
from sweeper.context import Context, Since
from sweeper.digest import diff, scan
from sweeper.model import Finding
from tests.integration.mirror import Mirror, mirror

HISTORY = "random-1.jsonl.gz"
FORGED = "98765432101"
FIRST_PAGES = 32


@pytest.fixture
async def world(database: str) -> AsyncIterator[Mirror]:
    async with mirror(database, HISTORY) as found:
        yield found


async def surveyed(world: Mirror, context: Context, table: str = "loans") -> list[Finding]:
    """The findings as a sweep takes them."""
    subject = world.subject(table)
    survey = known_drift.surveyed(context, subject, subject.survey(context))
    async with aclosing(survey) as findings:
        return [one async for one in findings]


async def page_of(world: Mirror, row_id: str) -> int:
    return int(await world.app.fetchval("SELECT (ctid::text::point)[0]::int FROM loans WHERE id = $1", row_id))


class TestMoved:
    """A row of an entity that is not on chain stands on a page that is read late; there is room on one that is read first."""

    @pytest.fixture
    async def row_id(self, world: Mirror, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setattr(scan, "FIRST_PAGES", FIRST_PAGES)
        copied = (
            "INSERT INTO loans SELECT * FROM (SELECT (jsonb_populate_record(row, jsonb_build_object("
            "'id', gen_random_uuid(), 'loan_id', {loan_id}, 'status', {status}))).* FROM loans AS row"
            " CROSS JOIN generate_series(1, {count}) AS number ORDER BY row.id LIMIT {count}) AS copy"
        )
        await world.app.execute("CREATE SEQUENCE numbers")
        # No row is longer than the forged one: where none of them fits, that one does not either.
        filler = {"loan_id": "'loan_' || lpad(nextval('numbers')::text, 6, '0')", "status": "'rejected'"}
        await world.app.execute(copied.format(count=4000, **filler))
        await world.app.execute(copied.format(count=1, loan_id=f"'{FORGED}'", status="'defaulted'"))
        last_page = "SELECT max((ctid::text::point)[0])::int FROM loans"
        end = await world.app.fetchval(last_page) + 1
        while (
            await world.app.fetchval(last_page) < end
        ):  # then its own page has no room, nor the one that is now the last
            await world.app.execute(copied.format(count=1, **filler))
        await world.app.execute("DELETE FROM loans WHERE ctid >= CAST($1 AS text)::tid", f"({end},0)")
        await world.app.execute("VACUUM loans")
        await world.app.execute("DELETE FROM loans WHERE status = 'rejected' AND ctid >= '(20,0)' AND ctid < '(21,0)'")
        await world.app.execute("VACUUM (TRUNCATE false) loans")
        row_id = str(await world.app.fetchval("SELECT id FROM loans WHERE loan_id = $1", FORGED))
        assert await page_of(world, row_id) > FIRST_PAGES
        return row_id

    def moving(self, world: Mirror, row_id: str, monkeypatch: pytest.MonkeyPatch, *, again: bool = False) -> list[int]:
        """Let the application write the row once the first pages of its table are read (`again`: and move it out of the way of
        the second walk, too). Returns the pages on which the row then stands."""
        pages: list[int] = []
        pieces, rewritten = scan.pieces, scan.rewritten

        async def hooked(walk: scan.Walk) -> AsyncIterator[scan.Piece]:
            async for piece in pieces(walk):
                yield piece
                if walk.table == "loans" and not pages:
                    await world.app.execute("UPDATE loans SET updated_at = now() WHERE id = $1", row_id)
                    pages.append(await page_of(world, row_id))

        async def missed(*_: Any, **__: Any) -> scan.Ids:
            return (await rewritten(*_, **__))[:0]

        monkeypatch.setattr(scan, "pieces", hooked)
        if again:
            monkeypatch.setattr(scan, "rewritten", missed)
        return pages

    async def test_it_is_found_and_counted(self, world: Mirror, row_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
        pages = self.moving(world, row_id, monkeypatch)
        context = await world.context()
        found = await surveyed(world, context)
        assert pages[0] < FIRST_PAGES  # else nothing is tried here
        assert {one.row_id: one.drift_class for one in found}[row_id] == "absent_on_chain"
        assert context.compared["loans"].app_rows == await world.app.fetchval("SELECT count(*) FROM loans")
        assert context.canaries["loans"]
        assert context.not_reread == []

    async def test_known_drift_that_no_walk_saw_is_read_by_its_id(
        self, world: Mirror, row_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await sightings.note(world.engine, await surveyed(world, await world.context()), whole=["loans"])
        pages = self.moving(world, row_id, monkeypatch, again=True)
        found = await surveyed(world, await world.context())
        assert pages[0] < FIRST_PAGES
        assert row_id in {one.row_id for one in found}
        await sightings.note(world.engine, found, whole=["loans"])
        async with world.engine.connect() as connection:
            query = text("SELECT is_there FROM recon.drift WHERE row_id = :row_id")
            assert (await connection.execute(query, {"row_id": row_id})).scalar_one()

    async def test_known_drift_that_is_over_is_not_found_again(self, world: Mirror, row_id: str) -> None:
        known = await surveyed(world, await world.context())
        await sightings.note(world.engine, known, whole=["loans"])
        await world.app.execute("UPDATE loans SET status = 'rejected', loan_id = 'pending-1-a' WHERE id = $1", row_id)
        assert row_id not in {one.row_id for one in await surveyed(world, await world.context())}

    async def test_a_missing_row_that_is_known_is_looked_for_by_its_key(self, world: Mirror) -> None:
        loan = await world.app.fetchval(
            "DELETE FROM loans WHERE id = (SELECT id FROM loans WHERE status = 'completed' ORDER BY id LIMIT 1)"
            " RETURNING loan_id"
        )
        known = await surveyed(world, await world.context())
        assert f"loan:{loan}" in {one.entity for one in known if one.drift_class == "missing_row"}
        await sightings.note(world.engine, known, whole=["loans"])

        async def nothing() -> AsyncGenerator[Finding, None]:
            return
            yield

        subject = world.subject("loans")
        again = [one async for one in known_drift.surveyed(await world.context(), subject, nothing())]
        assert {one.place for one in again} == {one.place for one in known}

    async def test_more_rows_than_are_read_again_are_said(
        self, world: Mirror, row_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pages = self.moving(world, row_id, monkeypatch)
        monkeypatch.setattr(diff, "MOST_REWRITTEN", 0)
        context = await world.context()
        await surveyed(world, context)
        assert pages
        assert context.not_reread == ["loans"]


KEYS = {
    "loans": "loan_id",
    "vendors": "wallet_address",
    "reputation_cache": "wallet_address",
    "reputation_history": "event_id",
    "liquidity_positions": "provider_wallet",
}


async def without_constraints(world: Mirror, table: str) -> None:
    """Take away what keeps rows of a table apart, but for its primary key."""
    names = await world.app.fetch(
        "SELECT conname FROM pg_constraint WHERE conrelid = CAST($1 AS regclass) AND contype = 'u'", table
    )
    for row in names:
        await world.app.execute(f"ALTER TABLE {table} DROP CONSTRAINT {row['conname']} CASCADE")


async def copy(world: Mirror, table: str, condition: str = "true", **changed: str) -> set[str]:
    """A second row like one of the table's; returns the ids of both. `changed`: columns of the copy, as SQL."""
    values = ", ".join(f"'{name}', {value}" for name, value in {"id": "gen_random_uuid()", **changed}.items())
    row = await world.app.fetchrow(
        f"WITH one AS (SELECT * FROM {table} WHERE {condition} ORDER BY id LIMIT 1), other AS (INSERT INTO {table}"
        f" SELECT (jsonb_populate_record(CAST(one AS {table}), jsonb_build_object({values}))).* FROM one RETURNING id)"
        " SELECT one.id::text AS first, other.id::text AS second FROM one, other"
    )
    assert row is not None
    return {row["first"], row["second"]}


class TestDuplicates:
    @pytest.mark.parametrize("table", KEYS)
    async def test_both_rows_are_found_and_neither_is_written(self, world: Mirror, table: str) -> None:
        await without_constraints(world, table)
        both = await copy(world, table)
        found = {one.row_id: one for one in await surveyed(world, await world.context(), table)}
        for row_id in both:
            finding = found[row_id]
            assert (finding.drift_class, finding.can_be_written) == ("duplicate_row", False)
            assert set(finding.evidence["rows"]) == both
            assert finding.entity is not None

    @pytest.mark.parametrize(
        ("table", "condition", "changed"),
        [
            ("loans", "status = 'completed'", {"status": "'active'", "remaining_balance": "1"}),
            ("loans", "true", {"user_wallet": "'G'"}),
            ("reputation_cache", "true", {"score": "1000"}),
            ("vendors", "true", {"status": "'rejected'"}),
            ("liquidity_positions", "true", {"deposited_amount": "1"}),
        ],
    )
    async def test_a_copy_that_drifted_is_not_repaired(
        self, world: Mirror, table: str, condition: str, changed: dict[str, str]
    ) -> None:
        await without_constraints(world, table)
        both = await copy(world, table, condition, **changed)
        found = {one.row_id: one.drift_class for one in await surveyed(world, await world.context(), table)}
        assert {found[row_id] for row_id in both} == {"duplicate_row"}

    @pytest.mark.parametrize("table", KEYS)
    async def test_a_key_that_is_no_entity_s(self, world: Mirror, table: str) -> None:
        """Of no account for the chain, and two rows for one thing all the same."""
        await without_constraints(world, table)
        key = KEYS[table]
        first, second = [await copy(world, table, **{key: "'nobody'"}) for _ in range(2)]
        both = {str(row["id"]) for row in await world.app.fetch(f"SELECT id FROM {table} WHERE {key} = 'nobody'")}
        assert both < first | second
        found = {one.row_id: one.drift_class for one in await surveyed(world, await world.context(), table)}
        if table in ("vendors", "liquidity_positions"):  # there a row without an entity is looked at like any other
            assert both <= found.keys()
        assert {found.get(row_id) for row_id in both} == {"duplicate_row"}

    async def test_of_two_rows_with_one_provisional_id_neither_is_linked_and_no_loan_is_missing(
        self, world: Mirror
    ) -> None:
        await without_constraints(world, "loans")
        loan = await world.app.fetchval(
            "SELECT loan_id FROM loans WHERE status = 'active' AND vendor_id IS NOT NULL ORDER BY created_at DESC LIMIT 1"
        )
        await world.app.execute("DELETE FROM transactions")
        await world.app.execute("UPDATE loans SET loan_id = 'pending-1-a' WHERE loan_id = $1", loan)
        control = {one.drift_class for one in await surveyed(world, await world.context())}
        assert control == {"unresolved_provisional_id"}
        both = await copy(world, "loans", "loan_id = 'pending-1-a'", status="'rejected'")
        found = await surveyed(world, await world.context())
        assert {one.drift_class for one in found} == {"duplicate_row"}
        assert {one.row_id for one in found} <= both
        assert not any(one.can_be_written for one in found)

    async def test_a_changed_entity_shows_them_to_a_sweep_of_what_changed(self, world: Mirror) -> None:
        await without_constraints(world, "loans")
        both = await copy(world, "loans")
        context = await world.context()
        since = Since(position=position.START)
        found = [one async for one in world.subject("loans").survey_changed(context, since)]
        assert {one.row_id for one in found if one.drift_class == "duplicate_row"} == both


async def test_a_sweep_of_what_changed_sees_who_left_the_map_of_scores(world: Mirror) -> None:
    user = await world.app.fetchval("SELECT wallet_address FROM reputation_cache WHERE score > 0 ORDER BY id LIMIT 1")
    at, later = (position.end_of(world.through + ledgers) for ledgers in (1_000, 2_000))  # type: ignore[operator]  # it followed
    async with world.engine.begin() as connection:
        await connection.execute(text("UPDATE chain.reputation_maps SET position = :later"), {"later": later})
        others = text("UPDATE chain.scores SET position = :later WHERE user_address <> :user")
        await connection.execute(others, {"later": later, "user": user})
    context = await world.context()
    subject = world.subject("reputation_cache")
    whole = {one.entity: one async for one in subject.survey(context)}
    assert whole[f"user:{user}"].columns["score"].chain == 0
    assert whole[f"user:{user}"].evidence["known_at"] == later
    found = [one async for one in subject.survey_changed(await world.context(), Since(position=at))]
    assert {one.entity for one in found} == whole.keys()
    behind = [one async for one in subject.survey_changed(await world.context(), Since(position=later))]
    assert behind == []
