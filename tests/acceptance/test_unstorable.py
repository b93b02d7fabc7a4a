"""What the application's database cannot take: values that a column cannot hold, and a database that was made read-only."""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy import localnet, stack
from deploy.demo.app import rows, schema
from tests import app_role, services
from tests.acceptance.conftest import Ended, World, deployment

APP = "CHAINTRUE_APP_DATABASE__URL"
DRIFT = """
UPDATE loans SET status = 'pending', completed_at = NULL, defaulted_at = NULL WHERE loan_id IN ('1', '2', '3');
UPDATE loans SET remaining_balance = remaining_balance + 1 WHERE loan_id = '5';
"""
GENERATED = """
ALTER TABLE loans DROP COLUMN remaining_balance;
ALTER TABLE loans ADD remaining_balance numeric GENERATED ALWAYS AS (total_repayment) STORED;
"""
MILLISECONDS = """
ALTER TABLE loans ALTER {0} DROP DEFAULT, ALTER {0} TYPE bigint USING extract(epoch FROM {0})::bigint * 1000;
"""


@pytest.fixture(scope="module")
async def mirror(kafka: services.RunningKafka, postgres: stack.Databases, warm: Sequence[str]) -> AsyncIterator[World]:
    """A deployment whose tables are filled; each test brings an application's database of its own."""
    async with deployment(kafka, postgres, localnet.STORY, command=warm) as world:
        assert (await world.run("migrate")).code == 0
        async with world.streaming():
            reached = await world.run("status", "--wait-ledger", str(world.truth.ledger), "--timeout", "80")
            assert reached.code == 0, reached.stderr
            await world.until_observed()
        yield world


@asynccontextmanager
async def application(mirror: World, postgres: stack.Databases, *statements: str) -> AsyncIterator[World]:
    """The world with an application's database of its own, whose rows agree with the chain but for the statements."""
    name = f"app_{uuid.uuid4().hex}"
    url = await postgres.create_database(name)
    await schema.create(url)
    connection = await asyncpg.connect(url)
    await rows.insert(connection, rows.build(mirror.truth))
    await connection.execute("UPDATE loans SET id = gen_random_uuid()")  # no memory of what other tests did
    for statement in statements:
        await connection.execute(statement)
    await connection.close()
    yield replace(mirror, app_url=url, environment={**mirror.environment, APP: url})
    await postgres.drop_database(name)


async def execute(world: World, statements: str) -> None:
    await app_role.run(world.app_url, statements)


def findings(ended: Ended) -> dict[str, Any]:
    """The findings by entity."""
    return {one["entity"]: one for one in ended.json["findings"]}


async def loans(world: World) -> dict[str, Any]:
    connection = await asyncpg.connect(world.app_url)
    try:
        return {row["loan_id"]: dict(row) for row in await connection.fetch("SELECT * FROM loans")}
    finally:
        await connection.close()


async def test_an_amount_that_its_column_would_round_is_reported_and_nobody_is_blamed(
    mirror: World, postgres: stack.Databases
) -> None:
    narrow = "ALTER TABLE loans ALTER remaining_balance TYPE numeric(14, 2)"
    async with application(mirror, postgres, narrow) as world:
        before = await world.dump()
        for _ in range(5):
            ended = await world.run("sweep", "--repair", "--json", CHAINTRUE_SWEEP__FLAP_LIMIT="3")
            assert ended.code == 0, ended.stderr
            assert ended.json["status"] == "complete"
            assert ended.json["repaired"] == 0
            narrowed = findings(ended)
            assert {"loan:5", "loan:8"} <= set(narrowed)
            for one in narrowed.values():
                assert one["outcome"] == "reported"
                assert "loans.remaining_balance (numeric(14,2)) cannot hold " in one["evidence"]["reason"]
                assert "ALTER TABLE loans ALTER COLUMN remaining_balance TYPE numeric" in one["evidence"]["reason"]
                assert "CHAINTRUE_STEPFI__AMOUNT_TOLERANCE" in one["evidence"]["reason"]
                assert "written back" not in one["words"]
                assert "flapping" not in one["evidence"]
            assert any("loans.remaining_balance cannot store" in note for note in ended.json["notes"])
        assert await world.dump() == before
        strict = await world.run("sweep", "--strict", "--json")
        assert strict.code == 2
        doctor = await world.run("doctor", "--json")
        assert any("numeric(14,2)" in one["words"] and one["cure"] for one in doctor.json)
        tolerant = await world.run("sweep", "--strict", "--json", CHAINTRUE_STEPFI__AMOUNT_TOLERANCE="0.005")
        assert (tolerant.code, tolerant.json["findings"]) == (0, [])
        await execute(world, "ALTER TABLE loans ALTER COLUMN remaining_balance TYPE numeric")
        repaired = await world.run("sweep", "--repair", "--json")
        assert {one["outcome"] for one in repaired.json["findings"]} == {"repaired"}
        assert (await world.run("sweep", "--strict", "--json")).json["findings"] == []


async def test_within_the_tolerance_a_rounded_amount_is_repaired(mirror: World, postgres: stack.Databases) -> None:
    narrow = "ALTER TABLE loans ALTER remaining_balance TYPE numeric(14, 2)"
    tolerant = {"CHAINTRUE_STEPFI__AMOUNT_TOLERANCE": "0.005"}
    async with application(
        mirror, postgres, narrow, "UPDATE loans SET remaining_balance = 7 WHERE loan_id = '5'"
    ) as world:
        ended = await world.run("sweep", "--repair", "--json", **tolerant)
        assert (ended.code, findings(ended)["loan:5"]["outcome"]) == (0, "repaired"), ended.stdout
        again = await world.run("sweep", "--strict", "--json", **tolerant)
        assert (again.code, again.json["findings"]) == (0, [])


async def test_a_generated_balance_blocks_no_status(mirror: World, postgres: stack.Databases) -> None:
    async with application(mirror, postgres, DRIFT, GENERATED) as world:
        ended = await world.run("sweep", "--repair", "--json")
        assert ended.json["failed"] == 0
        found = findings(ended)
        stale = [found[f"loan:{number}"] for number in (1, 2, 3)]
        assert [one["outcome"] for one in stale] == ["repaired"] * 3
        left = [one for one in stale if "remaining_balance" in one["columns"]]
        assert left
        for one in left:
            assert one["left"] == ["remaining_balance"]
            assert "generated column" in one["evidence"]["cannot_be_stored"]["remaining_balance"]
            assert "A repair leaves remaining_balance alone" in one["words"]
        assert ended.json["repaired_in_part"] == len(left)
        again = await world.run("sweep", "--repair", "--json")
        assert again.code == 0
        assert {one["outcome"] for one in again.json["findings"]} == {"reported"}
        assert {one["class"] for one in again.json["findings"]} == {"stale_value"}
        doctor = await world.run("doctor", "--json")
        assert any("remaining_balance is a generated column" in one["words"] for one in doctor.json)


async def test_a_plan_is_applied_without_what_cannot_be_stored(
    mirror: World, postgres: stack.Databases, tmp_path: Path
) -> None:
    async with application(mirror, postgres, DRIFT, GENERATED) as world:
        path = str(tmp_path / "plan.json")
        dry = await world.run("sweep", "--plan", path, "--json")
        assert dry.code == 2
        applied = await world.run("apply", path, "--json")
        assert applied.code == 0, applied.stderr
        assert {one["outcome"] for one in applied.json["findings"]} == {"repaired"}
        assert {one["entity"] for one in applied.json["findings"]} == {"loan:1", "loan:2", "loan:3"}


async def test_a_time_of_writing_that_is_no_time_blocks_nothing(mirror: World, postgres: stack.Databases) -> None:
    async with application(mirror, postgres, DRIFT, MILLISECONDS.format("updated_at")) as world:
        before = await loans(world)
        ended = await world.run("sweep", "--repair", "--json")
        assert ended.code == 0, ended.stderr
        assert {one["outcome"] for one in ended.json["findings"]} == {"repaired"}
        assert set(findings(ended)) == {"loan:1", "loan:2", "loan:3", "loan:5"}
        assert all("updated_at" in one["evidence"]["cannot_be_stored"] for one in ended.json["findings"])
        assert any("loans.updated_at is left out of 4 findings" in note for note in ended.json["notes"])
        after = await loans(world)
        assert {name: row["updated_at"] for name, row in after.items()} == {
            name: row["updated_at"] for name, row in before.items()
        }
        assert (await world.run("sweep", "--strict", "--json")).code == 0


@pytest.mark.parametrize(
    "altered",
    [
        MILLISECONDS.format("completed_at"),
        "ALTER TABLE loans DROP completed_at; ALTER TABLE loans ADD completed_at timestamptz GENERATED ALWAYS AS"
        " (CASE WHEN status = 'completed' THEN updated_at END) STORED",
    ],
    ids=["milliseconds", "generated"],
)
async def test_a_status_whose_time_cannot_be_stored_is_not_written(
    mirror: World, postgres: stack.Databases, altered: str
) -> None:
    async with application(mirror, postgres, DRIFT, altered) as world:
        before = await loans(world)
        ended = await world.run("sweep", "--repair", "--json")
        completed = [
            one for one in ended.json["findings"] if one["columns"].get("status", {}).get("chain") == "completed"
        ]
        assert completed
        for one in completed:
            assert one["outcome"] == "reported"
            assert "loans.completed_at" in one["evidence"]["reason"]
        after = await loans(world)
        for one in completed:
            number = one["entity"].removeprefix("loan:")
            assert before[number] == after[number]
        assert findings(ended)["loan:5"]["outcome"] == "repaired"


async def test_an_enum_without_the_word_of_the_chain(mirror: World, postgres: stack.Databases) -> None:
    domain = """
CREATE DOMAIN loan_status AS text CHECK (VALUE <> 'defaulted');
UPDATE loans SET status = 'active', defaulted_at = NULL WHERE status = 'defaulted';
ALTER TABLE loans ALTER status TYPE loan_status"""
    async with application(mirror, postgres, DRIFT, domain) as world:
        ended = await world.run("sweep", "--repair", "--json")
        outcomes = {
            (one["columns"]["status"]["chain"], one["outcome"])
            for one in ended.json["findings"]
            if "status" in one["columns"]
        }
        assert ("defaulted", "reported") in outcomes
        assert ("completed", "repaired") in outcomes
        assert not {"failed", "unknown"} & {one["outcome"] for one in ended.json["findings"]}


async def test_a_missing_row_that_does_not_fit_is_not_planned(
    mirror: World, postgres: stack.Databases, tmp_path: Path
) -> None:
    needed = """
DELETE FROM default_detection_results; DELETE FROM loans WHERE loan_id = '1';
ALTER TABLE loans ADD branch text; UPDATE loans SET branch = 'x'; ALTER TABLE loans ALTER branch SET NOT NULL"""
    async with application(mirror, postgres, needed) as world:
        path = str(tmp_path / "plan.json")
        ended = await world.run("sweep", "--plan", path, "--json")
        (one,) = ended.json["findings"]
        assert (one["class"], one["outcome"], one["action"]) == ("missing_row", "reported", "report")
        assert "loans.branch is NOT NULL without a default" in one["evidence"]["reason"]
        await execute(world, "ALTER TABLE loans ALTER branch SET DEFAULT 'x'")
        assert (await world.run("sweep", "--plan", path, "--json")).code == 2
        applied = await world.run("apply", path, "--json")
        assert [one["outcome"] for one in applied.json["findings"]] == ["repaired"], applied.stdout


@pytest.mark.parametrize("by", ["role", "database"])
async def test_a_read_only_database_is_not_written_to(
    mirror: World, postgres: stack.Databases, tmp_path: Path, by: str
) -> None:
    async with application(mirror, postgres, DRIFT) as world:
        path = str(tmp_path / "plan.json")
        first = await world.run("sweep", "--repair", "--json")  # what undo would take back
        assert first.json["repaired"] == 4
        await execute(world, "UPDATE loans SET remaining_balance = remaining_balance + 1 WHERE loan_id = '6'")
        planned = await world.run("sweep", "--plan", path, "--json")
        assert (planned.code, planned.json["notes"]) == (2, [])
        name = world.app_url.rpartition("/")[2]
        role = f"watcher_{uuid.uuid4().hex[:12]}"
        await execute(world, f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'watcher1234'")
        target = f"ROLE {role}" if by == "role" else f"DATABASE {name}"
        await execute(world, f"ALTER {target} SET default_transaction_read_only = on")
        world.environment[APP] = app_role.address(world.app_url, role, "watcher1234")
        before = await world.dump()
        reason = f"the application database is read-only: default_transaction_read_only is on for the {by}"
        for command in (("sweep", "--repair"), ("apply", path), ("undo", first.json["run_id"])):
            ended = await world.run(*command, "--json")
            assert ended.code == 2, (command, ended.stdout, ended.stderr)
            tried = ended.json["findings"]
            assert len(tried) == (4 if command[0] == "undo" else 1)
            assert {one["outcome"] for one in tried} == {"failed"}
            assert all(one["evidence"]["reason"].startswith(reason) for one in tried)
            assert any(note.startswith(reason) for note in ended.json["notes"]), command
        dry = await world.run("sweep", "--json")
        assert dry.code == 2
        assert any(note.startswith(reason) for note in dry.json["notes"])
        doctor = await world.run("doctor", "--json")
        assert doctor.code == 1
        assert [one["words"] for one in doctor.json if one["check"] == "app database: writes"] == [reason]
        assert await world.dump() == before
        await execute(world, f"SET transaction_read_only = off; ALTER {target} RESET default_transaction_read_only")
        again = await world.run("sweep", "--repair", "--json")
        assert again.code == 0, again.stdout
        assert {one["outcome"] for one in again.json["findings"]} == {"repaired"}
        await app_role.run(postgres.admin_url, f"DROP ROLE {role}")


DROPS = """
CREATE FUNCTION nope() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN IF NEW.status IS DISTINCT FROM OLD.status THEN RETURN NULL; END IF; RETURN NEW; END';
CREATE TRIGGER nope BEFORE UPDATE ON loans FOR EACH ROW EXECUTE FUNCTION nope();
"""
DROPS_BY_RULE = "CREATE RULE nope AS ON UPDATE TO loans WHERE NEW.status <> OLD.status DO INSTEAD NOTHING;"
TAKES_BACK = """
CREATE FUNCTION nope() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN UPDATE loans SET status = OLD.status WHERE id = NEW.id AND OLD.status = ''pending''; RETURN NULL; END';
CREATE CONSTRAINT TRIGGER nope AFTER UPDATE OF status ON loans DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (NEW.status <> OLD.status AND OLD.status = 'pending') EXECUTE FUNCTION nope();
"""
REASONS = {
    DROPS: "the application's database dropped the write without an error: a trigger or rule",
    DROPS_BY_RULE: "the application's database dropped the write without an error: a trigger or rule",
    TAKES_BACK: "the application's database changed column status to pending: a trigger or rule",
}


@pytest.mark.parametrize("hindrance", REASONS, ids=["trigger", "rule", "deferred trigger"])
async def test_a_write_that_the_application_drops_or_takes_back_is_failed_in_each_run(
    mirror: World, postgres: stack.Databases, hindrance: str
) -> None:
    async with application(mirror, postgres, DRIFT, hindrance) as world:
        for turn in range(4):
            ended = await world.run("sweep", "--repair", "--json", CHAINTRUE_SWEEP__FLAP_LIMIT="2")
            assert ended.code == 2, ended.stderr
            found = findings(ended)
            for number in (1, 2, 3):
                one = found[f"loan:{number}"]
                assert (one["outcome"], one["evidence"]["reason"]) == ("failed", REASONS[hindrance])
                assert "flapping" not in one["evidence"]
            assert (ended.json["repaired"], ended.json["skipped_changed"]) == (int(turn == 0), 0)
        held = await loans(world)
        assert {held[number]["status"] for number in ("1", "2", "3")} == {"pending"}
        assert {held[number]["completed_at"] for number in ("1", "2", "3")} == {None}


async def test_a_table_without_a_unique_key_gets_no_row_unless_the_setting_names_it(
    mirror: World, postgres: stack.Databases, tmp_path: Path
) -> None:
    setting, path = "CHAINTRUE_SWEEP__INSERT_WITHOUT_UNIQUE_KEY", str(tmp_path / "plan.json")
    allowed = {
        "CHAINTRUE_SWEEP__TABLE_POLICY__LIQUIDITY_POSITIONS": "repair",
        "CHAINTRUE_SWEEP__POLICY__MISSING_ROW": "repair",
    }
    largest = "SELECT id FROM liquidity_positions ORDER BY deposited_amount DESC LIMIT 1"
    gone = f"DELETE FROM liquidity_positions WHERE id = ({largest})"
    async with application(mirror, postgres, gone) as world:
        before = await world.dump()
        for command in (("sweep",), ("sweep", "--repair", "--plan", path), ("apply", path)):
            ended = await world.run(*command, "--json", **allowed)
            assert ended.code == 2, (command, ended.stderr)
            (one,) = ended.json["findings"]
            assert (one["class"], one["table"], one["outcome"]) == ("missing_row", "liquidity_positions", "proposed")
            assert setting in one["evidence"]["reason"]
        assert await world.dump() == before
        wrong = await world.run("sweep", "--json", **allowed, **{setting: "liquidity_position"})
        assert wrong.code == 1
        assert f"{setting}: there is no table 'liquidity_position'" in wrong.stderr
        ended = await world.run("apply", path, "--json", **allowed, **{setting: "liquidity_positions"})
        assert (ended.code, ended.json["repaired"]) == (0, 1), ended.stdout
        assert (await world.run("sweep", "--strict", "--json", **allowed)).json["findings"] == []
