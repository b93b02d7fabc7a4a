"""The replay on a real Kafka and PostgreSQL: what it finds to be the same, and what it finds to differ."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest

from shared import errors, frames
from shared.chain_tables import metadata
from streams.facts import Fact
from streams.replay import source
from streams.replay.outcome import Pair, TableComparison
from streams.stepfi.application import StepfiStream
from tests import services
from tests.integration import replay_parts as parts
from tests.integration.replay_parts import Deployment
from tests.integration.stream_parts import delete_records
from tests.stepfi_frames import History


@pytest.fixture(scope="session")
def story() -> History:
    return History("story-small.jsonl")


@pytest.fixture
async def world(
    kafka: services.RunningKafka, topic_name: str, database: str, story: History
) -> AsyncIterator[Deployment]:
    async with parts.deployment(kafka.bootstrap_servers, topic_name, database, story) as world:
        yield world


def small_batches(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A replay that loads so many records at a time, as if the history were long."""
    monkeypatch.setattr(source, "POLL_RECORDS", size)
    monkeypatch.setattr(source, "BATCH_RECORDS", size)


def by_name(tables: Iterable[TableComparison]) -> dict[str, TableComparison]:
    """The tables that differ."""
    return {table.table: table for table in tables if not table.identical}


@pytest.mark.parametrize("seed", range(4))
async def test_live_tables_filled_in_any_order_are_found_identical(
    world: Deployment, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = parts.dice(seed)
    log = parts.disorder(parts.history(world.story, pages=chance.choice([3, 17, 60])), chance)
    await world.write(log)
    await world.apply(chance=chance)
    before = await world.dump()
    small_batches(monkeypatch, chance.choice([1, 2, 7, 50]))
    outcome = await world.replay()
    assert by_name(outcome.tables) == {}
    assert (outcome.exit_code, outcome.swapped, outcome.records) == (0, False, len(log))
    assert outcome.offsets == {0: len(log)}
    counted = {table.table: table.replay_rows for table in outcome.tables}
    assert counted == {name: len(rows) for name, rows in before.items()}
    assert counted["loans"] > 0
    assert await world.dump() == before
    assert await world.schemas() == {"chain"}


async def test_nothing_applied_is_nothing_to_compare(world: Deployment) -> None:
    await world.write(parts.history(world.story, pages=2))
    outcome = await world.replay(swap=True)
    assert (outcome.identical, outcome.records, outcome.offsets) == (True, 0, {})
    await world.apply()
    assert (await world.replay()).identical


async def test_two_values_at_one_place_fold_to_the_one_that_has_won(
    world: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Observations of one ledger that differ, far apart in the log: the lower bytes win, and the row follows them."""
    log = parts.history(world.story, pages=5)
    last, older = log[-1], log[-2]
    assert isinstance(last, frames.Observation)
    assert isinstance(older, frames.Observation)
    liar = replace(older, latest_ledger=last.latest_ledger)
    await world.write([*log[:-2], liar, log[1], last, liar, last])
    await world.apply(chance=parts.dice(1))
    assert await world.value("SELECT count(*) FROM chain.facts WHERE conflict") > 0
    small_batches(monkeypatch, 1)
    assert by_name((await world.replay()).tables) == {}


async def test_a_row_that_was_tampered_with_is_named_with_its_columns(world: Deployment) -> None:
    await world.write(parts.history(world.story, pages=5))
    await world.apply()
    key = await world.value("SELECT min(key) FROM chain.loans WHERE total_amount IS NOT NULL")
    amount = await world.value(f"SELECT total_amount::text FROM chain.loans WHERE key = '{key}'")
    gone = await world.value("SELECT min(key) FROM chain.vendors")
    await world.execute(
        "UPDATE chain.loans SET total_amount = total_amount + 1, borrower = NULL WHERE key = :key", key=key
    )
    await world.execute("DELETE FROM chain.vendors WHERE key = :key", key=gone)
    await world.execute("UPDATE chain.scores SET key = key || 'X' WHERE key = (SELECT min(key) FROM chain.scores)")
    tampered = await world.dump()
    outcome = await world.replay()
    assert outcome.exit_code == 2
    found = by_name(outcome.tables)
    assert set(found) == {"loans", "vendors", "scores"}
    (loan,) = found["loans"].rows
    assert (loan.key, loan.found, set(loan.columns)) == ({"key": key}, "both", {"total_amount", "borrower"})
    assert loan.columns["total_amount"] == Pair(str(int(amount) + 1), amount)
    assert loan.columns["borrower"].live is None
    (vendor,) = found["vendors"].rows
    assert (vendor.key, vendor.found, vendor.columns["key"]) == ({"key": gone}, "replay", Pair(None, gone))
    assert [found["scores"].only_live, found["scores"].only_replay, found["scores"].changed] == [1, 1, 0]
    printed = orjson.loads(orjson.dumps(outcome.to_json()))
    assert printed["tables"]["loans"]["rows"][0]["columns"]["borrower"]["live"] is None
    assert await world.dump() == tampered  # compared, not mended


async def test_a_swap_puts_the_rebuilt_tables_in_the_place_of_the_live_ones(world: Deployment) -> None:
    await world.write(parts.history(world.story, pages=5))
    await world.apply(until=5)
    right = await world.dump()
    made = await structure(world)
    await world.execute("UPDATE chain.loans SET status = 'Defaulted'")
    await world.execute("UPDATE chain.offsets SET newest_fact = '0'")
    outcome = await world.replay(swap=True)
    assert (outcome.identical, outcome.swapped, outcome.exit_code, outcome.notes) == (False, True, 0, ())
    assert await world.dump() == right
    assert await structure(world) == made
    assert await world.schemas() == {"chain"}
    await world.apply(chance=parts.dice(2))  # the rest of the log goes on in the new tables
    assert (await world.replay()).identical


async def structure(world: Deployment) -> dict[str, list[str]]:
    """Indexes, constraints, columns and rights of the schema, as PostgreSQL writes them."""
    queries = {
        "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'chain'",
        "constraints": "SELECT format('%s %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint"
        " WHERE connamespace = 'chain'::regnamespace",
        "relations": "SELECT format('%s %s %s %s %s', relname, relkind, relpersistence, pg_get_userbyid(relowner),"
        " obj_description(oid, 'pg_class')) FROM pg_class WHERE relnamespace = 'chain'::regnamespace",
        "rights": "SELECT format('%s %s', relname, acl) FROM pg_class, unnest(relacl) AS acl"
        " WHERE relnamespace = 'chain'::regnamespace",
        "schema": "SELECT acl::text FROM pg_namespace, unnest(nspacl) AS acl WHERE nspname = 'chain'",
        "columns": "SELECT format('%s %s %s %s', relname, attname, attnum, attacl) FROM pg_attribute"
        " JOIN pg_class ON pg_class.oid = attrelid WHERE relnamespace = 'chain'::regnamespace AND attnum > 0",
        "default rights": "SELECT acl::text FROM pg_default_acl, unnest(defaclacl) AS acl"
        " WHERE defaclnamespace = 'chain'::regnamespace",
    }
    found = {}
    for name, query in queries.items():
        found[name] = await world.value(f"SELECT array_agg(one ORDER BY one) FROM ({query}) AS found (one)")
    return found


async def test_rights_that_were_given_stay_given(world: Deployment) -> None:
    await world.write(parts.history(world.story, pages=5))
    await world.apply(until=3)
    role = f"reader_{abs(hash(world.settings.kafka.topic))}"
    await world.execute(f"CREATE ROLE {role}")
    try:
        for grant in (
            f"GRANT USAGE ON SCHEMA chain TO {role}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA chain TO {role} WITH GRANT OPTION",
            "GRANT SELECT ON chain.loans TO PUBLIC",
            f"GRANT UPDATE (status) ON chain.loans TO {role}",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA chain GRANT SELECT ON TABLES TO {role} WITH GRANT OPTION",
        ):
            await world.execute(grant)
        made = await structure(world)
        assert (await world.replay(swap=True)).swapped
        assert await structure(world) == made
    finally:
        await world.execute(f"DROP OWNED BY {role}")
        await world.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE VIEW public.open_loans AS SELECT * FROM chain.loans", "view open_loans"),
        ("CREATE VIEW chain.open_loans AS SELECT * FROM chain.loans", "view chain.open_loans"),
        ("CREATE TABLE chain.notes (words text)", "table chain.notes"),
        ("CREATE TABLE public.notes (loan text REFERENCES chain.loans (key))", "constraint notes_loan_fkey"),
        ("CREATE FUNCTION chain.one() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function chain.one()"),
        ("CREATE PUBLICATION told FOR TABLE chain.loans", "publication of table chain.loans"),
        ("CREATE POLICY mine ON chain.loans USING (true)", "policy mine on table chain.loans"),
        ("CREATE STATISTICS chain.more ON borrower, vendor FROM chain.loans", "statistics object chain.more"),
    ],
)
async def test_what_would_stay_with_the_replaced_tables_is_named_before_anything_is_done(
    world: Deployment, statement: str, words: str
) -> None:
    await world.write(parts.history(world.story, pages=2))
    await world.apply()
    await world.execute(statement)
    with pytest.raises(errors.ReplayRefused, match=words.replace("(", r"\(").replace(")", r"\)")) as caught:
        await world.replay(swap=True)
    assert caught.value.cure
    assert (await world.replay()).identical  # a comparison touches nothing of it


@dataclass(frozen=True)
class Older:
    """StepFi as a version that did not know vendors: their events are stored as undecodable."""

    inner: StepfiStream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def facts_of_event(self, event: frames.Event) -> Iterable[Fact]:
        for fact in self.inner.facts_of_event(event):
            if fact.prefix == "vendor":
                problem = f"{fact.kind} is not known"
                yield fact._replace(key=f"undecodable:{event.contract}", payload=None, problem=problem)
            else:
                yield fact


async def test_a_decoder_that_has_learned_reads_what_was_stored_raw(world: Deployment) -> None:
    await world.write(parts.history(world.story, pages=5))
    await world.apply()
    right = await world.dump()
    await world.execute(f"TRUNCATE {', '.join(table.fullname for table in metadata.sorted_tables)}")
    world.application = Older(world.story.application)
    await world.apply()
    assert await world.value("SELECT count(*) FROM chain.facts WHERE problem IS NOT NULL") > 0
    assert (await world.replay()).identical
    world.application = world.story.application
    outcome = await world.replay(swap=True)
    assert {"facts", "vendors"} <= by_name(outcome.tables).keys()
    assert await world.dump() == right


async def test_two_replays_at_once_one_says_so(world: Deployment) -> None:
    await world.write(parts.history(world.story, pages=40))
    await world.apply()
    both = await asyncio.gather(world.replay(), world.replay(), return_exceptions=True)
    assert sorted(type(one).__name__ for one in both) == ["AlreadyRunning", "Outcome"]
    assert (await world.replay()).identical


async def test_a_log_without_its_beginning_needs_the_state_before(world: Deployment) -> None:
    await world.write(parts.history(world.story, pages=20))
    await world.apply(until=8, chance=parts.dice(3))
    await world.execute("ALTER SCHEMA chain RENAME TO backup")  # a backup of the eighth record, restored under a name
    await clone(world, "backup")
    await world.apply(chance=parts.dice(4))
    assert (await world.replay(base="backup")).identical
    await delete_records(world.settings.kafka, before=6)
    with pytest.raises(errors.TopicInvalid, match="begins at offset 6") as caught:
        await world.replay()
    assert "--base" in (caught.value.cure or "")
    before = await world.dump()
    backup = await world.dump("backup")
    outcome = await world.replay(base="backup", swap=True)
    assert by_name(outcome.tables) == {}
    assert outcome.records == outcome.offsets[0] - 8
    assert await world.dump() == before
    assert await world.dump("backup") == backup
    await delete_records(world.settings.kafka, before=9)
    with pytest.raises(errors.TopicInvalid, match="the base ends at 8"):
        await world.replay(base="backup")


async def clone(world: Deployment, source_schema: str) -> None:
    """The schema `chain` with the rows of another: what a restore of the backup beside it gives."""
    from shared.chain_schema import placed
    from streams.replay import base, shadow

    async with placed(world.engine, shadow.SHADOW).begin() as connection:
        await shadow.create(connection, bulk=[])
    await base.copy(placed(world.engine, shadow.SHADOW), source_schema)
    await world.execute("ALTER SCHEMA chain_replay RENAME TO chain")


@pytest.mark.parametrize(
    ("name", "statement", "words"),
    [
        ("nowhere", None, "there is no such schema"),
        ("chain", None, "there is no such schema"),
        ("chain_replay", None, "there is no such schema"),
        ("backup", "ALTER TABLE backup.loans DROP COLUMN status", "loans.status is missing"),
        ("backup", "UPDATE backup.scopes SET began_at = 1", "another log"),
        ("backup", "UPDATE backup.offsets SET next_offset = 100", "ends at offset 100"),
        ("backup", "ALTER TABLE backup.facts DETACH PARTITION backup.facts_from_0000000000", "is detached"),
    ],
)
async def test_a_base_that_does_not_fit_is_refused(
    world: Deployment, name: str, statement: str | None, words: str
) -> None:
    await world.write(parts.history(world.story, pages=2))
    await world.apply()
    await world.execute("ALTER SCHEMA chain RENAME TO backup")
    await clone(world, "backup")
    if statement is not None:
        partition = await world.value("SELECT min(name) FROM backup.facts_partitions")
        await world.execute(statement.replace("facts_from_0000000000", partition))
    with pytest.raises(errors.SettingError, match=words) as caught:
        await world.replay(base=name)
    assert caught.value.cure
    assert f"--base {name}" in str(caught.value)


async def test_a_log_that_is_not_the_one_of_the_tables_is_refused(world: Deployment) -> None:
    log = parts.history(world.story, pages=5)
    await world.write(log)
    await world.apply()
    before = await world.dump()
    await world.execute("UPDATE chain.scopes SET began_at = 1")
    with pytest.raises(errors.TopicInvalid, match="not the one that the database was filled from"):
        await world.replay(swap=True)
    await world.execute("UPDATE chain.offsets SET next_offset = 100")
    with pytest.raises(errors.TopicInvalid, match="has applied 100 records"):
        await world.replay(swap=True)
    after = await world.dump()
    assert {name for name in after if after[name] != before[name]} == {"scopes", "offsets"}


async def test_a_partition_that_was_detached_is_not_compared_and_comes_back_by_a_swap(world: Deployment) -> None:
    await world.write(parts.history(world.story, pages=5))
    await world.apply()
    right = await world.dump()
    partition = await world.value("SELECT min(name) FROM chain.facts_partitions")
    await world.execute(f"ALTER TABLE chain.facts DETACH PARTITION chain.{partition}")
    outcome = await world.replay()
    assert outcome.identical
    assert partition in outcome.notes[0]
    assert (await world.replay(swap=True)).swapped
    assert await world.dump() == right
