"""Runs taken back, to the byte, with the chain out of reach. The tests run in their order."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncpg
import pytest

from deploy import stack
from tests import services
from tests.acceptance.conftest import World, drifted

OFFLINE = {
    "CHAINTRUE_RPC__URLS": "http://127.0.0.1:1",
    "CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "CHAINTRUE_NETWORK__PASSPHRASE": None,
}
Dump = dict[str, list[str]]


@pytest.fixture(scope="module")
async def world(kafka: services.RunningKafka, postgres: stack.Databases, warm: Sequence[str]) -> AsyncIterator[World]:
    async with drifted(kafka, postgres, command=warm) as world:
        yield world


@pytest.fixture(scope="module")
async def dumps(world: World) -> list[Dump]:
    """The application before each run that wrote."""
    return [await world.dump()]


@pytest.fixture(scope="module")
def written() -> list[str]:
    """The runs that wrote, in their order."""
    return []


async def test_the_runs_to_be_undone(world: World, dumps: list[Dump], written: list[str], tmp_path: Path) -> None:
    policy = {"CHAINTRUE_SWEEP__POLICY__STALE_STATUS": "propose"}
    repaired = await world.run("sweep", "--repair", "--json", "--plan", str(tmp_path / "plan.json"), **policy)
    assert repaired.json["repaired"] > 3, repaired.stderr
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert {one["policy"] for one in plan["changes"]} == {"propose"}
    dumps.append(await world.dump())
    applied = await world.run("apply", "--json", str(tmp_path / "plan.json"), **policy)
    assert applied.json["repaired"] > 1, applied.stderr
    written += [repaired.json["run_id"], applied.json["run_id"]]


async def test_a_row_that_changed_since_is_left_and_the_others_are_put_back(
    world: World, dumps: list[Dump], written: list[str]
) -> None:
    touched = (await world.own(
        f"SELECT row_id FROM recon.changes WHERE run_id = '{written[0]}' AND outcome = 'repaired' AND table_name = 'loans'"
    ))[0][0]  # fmt: skip
    connection = await asyncpg.connect(world.app_url)
    before = await connection.fetchval("SELECT l::text FROM loans AS l WHERE id = $1", touched)
    reservation = await connection.fetchval("SELECT reservation_id FROM loans WHERE id = $1", touched)
    await connection.execute("UPDATE loans SET reservation_id = 'by the app' WHERE id = $1", touched)
    ended = await world.run("undo", "--json", written[0], **OFFLINE)
    assert (ended.code, ended.json["skipped_changed"]) == (2, 1), ended.stderr
    assert [one["row_id"] for one in ended.json["findings"] if one["outcome"] == "skipped_changed"] == [touched]
    await connection.execute("UPDATE loans SET reservation_id = $2 WHERE id = $1", touched, reservation)
    assert await connection.fetchval("SELECT l::text FROM loans AS l WHERE id = $1", touched) == before
    await connection.close()
    again = await world.run("undo", "--json", written[0][:13], **OFFLINE)
    assert (again.code, again.json["repaired"], again.json["skipped_changed"]) == (0, 1, 0), again.stderr


async def test_undo_is_to_the_byte_and_leaves_inserted_rows(
    world: World, dumps: list[Dump], written: list[str]
) -> None:
    ended = await world.run("undo", "--json", written[1], **OFFLINE)
    assert (ended.code, ended.json["mode"], ended.json["extent"]) == (0, "undo", "run"), ended.stderr
    inserted = {one["row_id"] for one in ended.json["findings"] if one["outcome"] == "reported"}
    assert inserted
    now = await world.dump()
    assert {table: [row for row in rows if row[1:37] not in inserted] for table, rows in now.items()} == dumps[0]


async def test_a_second_undo_has_nothing_to_do(world: World, written: list[str]) -> None:
    before = await world.dump()
    for run_id in written:
        ended = await world.run("undo", "--json", run_id, **OFFLINE)
        assert (ended.code, ended.json["repaired"]) == (0, 0), ended.stderr
        assert {one["outcome"] for one in ended.json["findings"]} <= {"reported"}
    assert await world.dump() == before
    shown = await world.run("undo", written[0], **OFFLINE)
    assert (shown.code, "Nothing to do" in shown.stdout) == (0, True), shown.stdout


async def test_an_undo_can_be_undone(world: World, dumps: list[Dump], written: list[str]) -> None:
    """The undo of the proposals is the last run that wrote; taken back, the rows are as the plan had made them."""
    undone = (await world.own(
        "SELECT run_id FROM recon.runs AS run WHERE mode = 'undo' AND EXISTS (SELECT FROM recon.changes AS change "
        "WHERE change.run_id = run.run_id) ORDER BY started_at DESC LIMIT 1"
    ))[0][0]  # fmt: skip
    ended = await world.run("undo", "--json", str(undone), **OFFLINE)
    assert (ended.code, ended.json["repaired"] > 0) == (0, True), ended.stderr
    again = await world.run("undo", "--json", written[1], **OFFLINE)
    assert (again.code, again.json["repaired"]) == (0, ended.json["repaired"])


@pytest.mark.parametrize(
    ("named", "words"), [("00000000", "no run"), ("nonsense", "no id of a run"), ("", "no id of a run")]
)
async def test_a_run_that_is_not_there_is_said(world: World, named: str, words: str) -> None:
    ended = await world.run("undo", named, **OFFLINE)
    assert (ended.code, ended.stdout) == (1, "")
    assert words in ended.stderr
    assert "Cure" in ended.stderr


async def test_a_run_that_wrote_nothing_has_nothing_to_undo(world: World) -> None:
    dry = await world.run("sweep", "--json")
    ended = await world.run("undo", dry.json["run_id"], **OFFLINE)
    assert ended.code == 0, ended.stderr
    assert "wrote nothing" in ended.stdout
