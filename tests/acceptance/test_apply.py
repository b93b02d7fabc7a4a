"""A plan on its way: written by a sweep, read and narrowed by people, applied, applied again. The tests run in their order."""

import json
import stat
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy import stack
from tests import services
from tests.acceptance.conftest import World, drifted

Plan = dict[str, Any]
ANOTHER = "CDFACCFOC7NVBRN5S476473YZXYC6MTECISBM6J2YIM74IOZ4K74TYJP"
"""A contract of another deployment."""

MENDS_NOTHING = {"CHAINTRUE_SWEEP__POLICY__STALE_STATUS": "report"}


@pytest.fixture(scope="module")
async def world(kafka: services.RunningKafka, postgres: stack.Databases, warm: Sequence[str]) -> AsyncIterator[World]:
    """The story, indexed; the application drifted, and one loan whose status is stale is of another scale besides."""
    async with drifted(kafka, postgres, command=warm) as world:
        found = (await world.run("sweep", "--json")).json["findings"]
        stale = next(one["row_id"] for one in found if (one["class"], one["table"]) == ("stale_status", "loans"))
        await execute(
            world, f"UPDATE loans SET amount = amount * 1000, guarantee = guarantee * 1000 WHERE id = '{stale}'"
        )
        yield world


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plans") / "plan.json"


def told(path: Path) -> Plan:
    """The plan, as JSON."""
    plan: Plan = json.loads(path.read_text())
    return plan


def edited(path: Path, edit: Callable[[Plan], object]) -> str:
    """A copy of the plan, edited; returns its path."""
    plan = told(path)
    edit(plan)
    copy = path.with_name("edited.json")
    copy.write_text(json.dumps(plan))
    return str(copy)


def scaled(path: Path) -> str:
    """The row that is of another scale besides."""
    (row_id,) = (one["row_id"] for one in told(path)["changes"] if "A repair leaves amount" in one["words"])
    return str(row_id)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def execute(world: World, statement: str) -> None:
    connection = await asyncpg.connect(world.app_url)
    await connection.execute(statement)
    await connection.close()


async def fetch(world: World, query: str) -> list[Any]:
    """The query's first column."""
    connection = await asyncpg.connect(world.app_url)
    rows = await connection.fetch(query)
    await connection.close()
    return [row[0] for row in rows]


async def test_a_dry_sweep_writes_the_plan_and_nothing_else(world: World, path: Path) -> None:
    before = await world.dump()
    ended = await world.run("sweep", "--json", "--plan", str(path))
    assert ended.code == 2, ended.stderr
    assert await world.dump() == before
    assert mode_of(path) == 0o600
    plan = told(path)
    assert plan["run_id"] == ended.json["run_id"]
    proposed = {
        (one["class"], one["table"], one["row_id"], one["entity"])
        for one in ended.json["findings"]
        if one["outcome"] == "proposed"
    }
    assert {(one["class"], one["table"], one["row_id"], one["entity"]) for one in plan["changes"]} == proposed
    assert len(plan["changes"]) == len(proposed) > 5
    assert {one["policy"] for one in plan["changes"]} == {"repair", "propose"}


async def test_a_plan_is_not_written_where_there_is_no_place_for_it(world: World, path: Path) -> None:
    ended = await world.run("sweep", "--plan", str(path / "no" / "folder.json"))
    assert ended.code == 1
    assert "--plan" in ended.stderr


REFUSED: Mapping[str, tuple[Callable[[Plan], object], str]] = {
    "version": (lambda plan: plan.update(version=2), "version"),
    "network": (lambda plan: plan["made_for"].update(network="Another Network"), "network"),
    "contract": (lambda plan: plan["made_for"]["contracts"].pop(), "contracts"),
    "log": (lambda plan: plan["made_for"]["log"].update(began_at=1), "another log"),
    "older tables": (lambda plan: plan["made_for"].update(watermark_ledger=2_000_000_000), "older than the plan"),
    "schema": (lambda plan: plan["made_for"]["tables"].update(loans="0"), "table loans"),
    "age": (lambda plan: plan.update(made_at="2020-01-01T00:00:00Z"), "PLAN_MAX_AGE_SECONDS"),
    "selector": (lambda plan: plan["select"].update(tables=["lones"]), "select.tables[0]"),
    "row": (lambda plan: plan["changes"][0].update(row_id="12") if plan["changes"][0]["row_id"] else None, "row_id"),
    "table": (lambda plan: plan["changes"][0].update(table="users"), "users"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_plan_for_elsewhere_is_refused(world: World, path: Path, name: str) -> None:
    edit, word = REFUSED[name]
    before = await world.dump()
    ended = await world.run("apply", edited(path, edit))
    assert ended.code == 1, ended.stdout
    assert word in ended.stderr
    assert "Cure" in ended.stderr
    assert "unexpected" not in ended.stderr
    assert ended.stdout == ""
    assert await world.dump() == before


async def test_other_settings_or_another_schema_refuse_the_plan(world: World, path: Path) -> None:
    before = await world.dump()
    other = await world.run("apply", str(path), CHAINTRUE_STEPFI__CREDITLINE=ANOTHER)
    assert (other.code, "other contracts" in other.stderr) == (1, True), other.stderr
    await execute(world, "ALTER TABLE loans ADD COLUMN note text")
    schema = await world.run("apply", str(path))
    assert (schema.code, "table loans" in schema.stderr) == (1, True), schema.stderr
    await execute(world, "ALTER TABLE loans DROP COLUMN note")
    assert await world.dump() == before


async def test_nothing_is_written_when_the_chain_cannot_be_asked(world: World, path: Path) -> None:
    before = await world.dump()
    down = {"CHAINTRUE_RPC__URLS": "http://127.0.0.1:1", "CHAINTRUE_RPC__MAX_ATTEMPTS": "1"}
    ended = await world.run("apply", "--json", str(path), **down)
    assert (ended.code, ended.json["status"]) == (3, "incomplete"), ended.stderr
    assert await world.dump() == before


async def test_an_edited_value_is_never_written(world: World, path: Path) -> None:
    def edit(plan: Plan) -> None:
        for change in plan["changes"]:
            if "status" in change["set"]:
                change["set"]["status"] = "cancelled"
            elif change["set"]:
                name = next(iter(change["set"]))
                change["set"][name] = "999"
            else:
                name = next(name for name, value in change["insert"].items() if isinstance(value, str))
                change["insert"][name] = "999"

    before = await world.dump()
    ended = await world.run("apply", "--json", edited(path, edit))
    assert ended.code == 2, ended.stderr
    assert {one["outcome"] for one in ended.json["findings"]} == {"skipped_changed"}
    assert all("edited" in one["evidence"]["reason"] for one in ended.json["findings"])
    assert await world.dump() == before


async def test_limits_and_policies_of_now_hold(world: World, path: Path) -> None:
    before = await world.dump()
    limited = await world.run("apply", "--json", str(path), CHAINTRUE_SWEEP__MAX_REPAIRS="1")
    assert (limited.code, limited.json["repaired"]) == (3, 0)
    assert "MAX_REPAIRS" in limited.json["reasons"][0]
    tables = {one["table"] for one in told(path)["changes"]}
    reported = await world.run(
        "apply", "--json", str(path), **{f"CHAINTRUE_SWEEP__TABLE_POLICY__{name.upper()}": "report" for name in tables}
    )
    assert reported.code == 0, reported.stdout
    assert {one["outcome"] for one in reported.json["findings"]} == {"reported"}
    assert await world.dump() == before


async def test_a_row_that_changed_since_is_left(world: World, path: Path) -> None:
    change = next(one for one in told(path)["changes"] if one["table"] == "loans" and one["set"])
    row = f"WHERE id = '{change['row_id']}'"
    await execute(world, f"UPDATE loans SET updated_at = updated_at + interval '1 s' {row}")
    before = await world.dump()
    ended = await world.run(
        "apply", "--json", edited(path, lambda plan: plan["select"].update(rows=[change["row_id"]]))
    )
    assert (ended.code, ended.json["skipped_changed"], len(ended.json["findings"])) == (2, 1, 1), ended.stderr
    assert "updated_at" in ended.json["findings"][0]["evidence"]["reason"]
    assert await world.dump() == before
    await execute(world, f"UPDATE loans SET updated_at = updated_at - interval '1 s' {row}")


async def test_a_row_that_is_somebody_else_s_by_now_is_left_and_stops_nothing(world: World, path: Path) -> None:
    """What it is found as can never be written, so there is nothing to hold the plan's values against."""
    stale = [one for one in told(path)["changes"] if one["class"] == "stale_status"]
    forged = next(one["row_id"] for one in stale if one["table"] == "loans")
    other = next(one["row_id"] for one in stale if one["row_id"] != forged)
    (owner,) = await fetch(world, f"SELECT user_wallet FROM loans WHERE id = '{forged}'")
    await execute(world, f"UPDATE loans SET user_wallet = 'G{'A' * 55}' WHERE id = '{forged}'")
    before = await world.dump()
    ended = await world.run(
        "apply", "--json", edited(path, lambda plan: plan["select"].update(rows=[forged, other])), **MENDS_NOTHING
    )
    assert ended.code == 2, ended.stderr
    reasons = {one["row_id"]: (one["outcome"], one["evidence"].get("reason")) for one in ended.json["findings"]}
    assert reasons[forged][0] == "skipped_changed"
    assert "it is forged_owner by now" in reasons[forged][1]
    assert reasons[other][0] == "reported"
    assert await world.dump() == before
    await execute(world, f"UPDATE loans SET user_wallet = '{owner}' WHERE id = '{forged}'")


async def test_a_narrowed_plan_writes_only_what_it_names(world: World, path: Path) -> None:
    plan = told(path)
    repairs = [one for one in plan["changes"] if one["table"] == "loans" and one["policy"] == "repair"]
    wanted = next(one for one in repairs if one["row_id"] != scaled(path))
    before = await world.dump()
    ended = await world.run(
        "apply", "--json", edited(path, lambda plan: plan["select"].update(rows=[wanted["row_id"]]))
    )
    assert (ended.code, ended.json["mode"], ended.json["extent"], ended.json["repaired"]) == (0, "apply", "plan", 1)
    after = await world.dump()
    changed = [row for row in after["loans"] if row not in before["loans"]]
    assert len(changed) == 1
    assert wanted["row_id"] in changed[0]
    assert {**after, "loans": []} == {**before, "loans": []}


async def test_all_of_it_is_written_proposals_too_and_a_second_time_nothing(world: World, path: Path) -> None:
    count = len(told(path)["changes"])
    first = await world.run("apply", "--json", str(path))
    assert first.code in (0, 2), first.stderr
    left = [one for one in first.json["findings"] if one["outcome"] != "repaired"]
    assert all(one["outcome"] == "failed" and one["evidence"]["reason"] for one in left), left
    assert first.json["repaired"] == count - 1 - len(left)
    assert {one["class"] for one in first.json["findings"]} >= {"missing_row", "stale_status"}
    in_part = {one["row_id"]: one["left"] for one in first.json["findings"] if one["left"]}
    assert {*in_part} == {scaled(path)}
    assert {"amount", "guarantee"} <= {*in_part[scaled(path)]}
    assert first.json["repaired_in_part"] == 1
    there = await world.own(
        "SELECT row_id, is_there FROM recon.drift WHERE row_id IS NOT NULL AND table_name = 'loans'"
    )
    repaired = {one["row_id"] for one in first.json["findings"] if one["outcome"] == "repaired"}
    assert {row_id for row_id, is_there in there if is_there and row_id in repaired} == {scaled(path)}
    before = await world.dump()
    again = await world.run("apply", "--json", str(path))
    assert "1 changes of loans are done already: the rows hold what the plan sets" in again.json["notes"]
    assert (again.code, again.json["repaired"], again.json["findings"]) == (first.code, 0, left)
    assert await world.dump() == before
    shown = await world.run("apply", edited(path, lambda plan: plan["select"].update(classes=["missing_row"])))
    assert (shown.code, "Nothing to do" in shown.stdout) == (0, True), shown.stdout + shown.stderr
