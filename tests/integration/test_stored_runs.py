"""Runs in a real database: found by what a person types, told with their history, shown in every form."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, null
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from deploy.commands import report as command
from shared import database as connections
from shared import errors, recon_tables
from shared.stepfi.settings import Settings
from sweeper import records
from tests import stored_reports
from tests.integration.stream_parts import database_settings
from tests.stored_reports import BEGAN


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    async with connections.connect(database_settings(database), section="database") as engine:
        await migrations.upgrade(engine)
        yield engine


async def put(engine: AsyncEngine, *, day: int, report: dict[str, Any] | None = None, **changes: Any) -> UUID:
    """A run of that day; with a report it is as the report says."""
    stored = {} if report is None else report
    row = {
        "run_id": UUID(stored["run_id"]) if stored else uuid4(),
        "mode": stored.get("mode", "dry"),
        "extent": stored.get("extent", "full"),
        "status": stored.get("status", "failed"),
        "reason": None,
        "started_at": BEGAN + timedelta(days=day),
        "finished_at": BEGAN + timedelta(days=day, minutes=1),
        "report": null() if report is None else report,
        **changes,
    }
    async with engine.begin() as connection:
        await connection.execute(insert(recon_tables.runs), [row])
    run_id: UUID = row["run_id"]
    return run_id


async def test_a_run_is_found_by_the_beginning_of_its_id(engine: AsyncEngine) -> None:
    first, second = UUID("abcd1111-0000-4000-8000-000000000001"), UUID("abcd2222-0000-4000-8000-000000000002")
    for day, run_id in enumerate((first, second)):
        await put(engine, day=day, report=stored_reports.report(run_id=str(run_id)))
    assert (await records.find(engine, "abcd1")).run_id == first
    assert (await records.find(engine, " ABCD2222-0000 ")).run_id == second
    assert (await records.find(engine, str(second))).run_id == second
    with pytest.raises(errors.RunUnknown, match=r"several runs begin with abcd: .*abcd2222.* and .*abcd1111"):
        await records.find(engine, "abcd")
    for wrong in ("abcdef", "abc", "", "%%%%", "abcd_", str(uuid4())):
        with pytest.raises(errors.RunUnknown, match=r"no (id of a )?run"):
            await records.find(engine, wrong)


async def test_the_last_run_with_a_report_is_the_default(engine: AsyncEngine) -> None:
    with pytest.raises(errors.RunUnknown, match="no run has ended with a report yet"):
        await records.last_with_report(engine)
    await put(engine, day=1, report=stored_reports.report())
    newest = await put(engine, day=2, report=stored_reports.report(status="incomplete"))
    await put(engine, day=3)
    assert (await records.last_with_report(engine)).run_id == newest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "running", "finished_at": None}, r"began 2026-03-05 03:00:00 UTC and has not ended"),
        (
            {"reason": "the chain could not be asked"},
            r"ended 2026-03-05 03:01:00 UTC without a report: the chain could not",
        ),
    ],
)
async def test_a_run_without_a_report_says_why(engine: AsyncEngine, changes: dict[str, Any], words: str) -> None:
    run_id = await put(engine, day=1, **changes)
    with pytest.raises(errors.RunUnknown, match=words):
        await records.report(engine, await records.find(engine, str(run_id)))


async def test_history_is_of_sweeps_that_can_stand_side_by_side(engine: AsyncEngine) -> None:
    for day in range(4):
        await put(engine, day=day, report=stored_reports.report(drift={"stale_value": day}))
    await put(engine, day=4)
    await put(engine, day=5, status="running", finished_at=None)
    await put(engine, day=6, report=stored_reports.report(extent="changed", drift={"stale_value": 60}))
    await put(engine, day=7, report=stored_reports.report(extent="tables", drift={"stale_value": 70}))
    applied = await put(
        engine, day=8, report=stored_reports.report(mode="apply", extent="plan", drift={"stale_value": 80})
    )
    last = await put(engine, day=9, report=stored_reports.report(drift={"stale_value": 9}))
    await put(engine, day=10, report=stored_reports.report(drift={"stale_value": 10}))

    async def drift(run_id: UUID, limit: int = 30) -> list[object]:
        points = await records.history(engine, await records.find(engine, str(run_id)), limit=limit)
        return [None if one.drift is None else one.drift["stale_value"] for one in points]

    assert await drift(last) == [0, 1, 2, 3, None, 9]
    assert await drift(last, limit=3) == [3, None, 9]
    assert await drift(applied) == [0, 1, 2, 3, None]


async def test_the_last_success_is_of_a_complete_sweep(engine: AsyncEngine) -> None:
    assert await records.last_success(engine) == records.Success()
    await put(engine, day=1, report=stored_reports.report())
    await put(engine, day=2, report=stored_reports.report(status="incomplete"))
    await put(engine, day=3, report=stored_reports.report(mode="undo", extent="run"))
    await put(engine, day=4)
    first = BEGAN + timedelta(days=1, minutes=1)
    assert await records.last_success(engine) == records.Success(ended=first, full_ended=first)
    await put(engine, day=5, report=stored_reports.report(extent="changed"))
    await put(engine, day=6, report=stored_reports.report(extent="tables"))
    await put(engine, day=7, report=stored_reports.report(status="incomplete"))
    assert await records.last_success(engine) == records.Success(ended=first + timedelta(days=5), full_ended=first)


async def test_the_failed_run_of_this_process_is_found(engine: AsyncEngine) -> None:
    await put(engine, day=1, reason="of yesterday")
    failed = await put(engine, day=3, reason="of today")
    await put(engine, day=4, report=stored_reports.report(status="failed"))
    found = await records.failed_since(engine, BEGAN + timedelta(days=2))
    assert found is not None
    assert (found.run_id, found.to_json()["reason"]) == (failed, "of today")
    assert await records.failed_since(engine, BEGAN + timedelta(days=5)) is None


async def test_every_form_of_a_stored_run(engine: AsyncEngine, database: str, tmp_path: Path) -> None:
    names = ["<script>alert(1)</script>", 'a "quoted" name', "Ünïcode 🙂"]
    stored = stored_reports.report([stored_reports.finding(number, words=name) for number, name in enumerate(names)])
    await put(engine, day=1, report=stored_reports.report(drift={"stale_status": 8}))
    run_id = await put(engine, day=2, report=stored)
    settings = Settings(database=database_settings(database))
    for form in command.Format:
        await command.run(settings, prefix=str(run_id)[:8], form=form, output=tmp_path / form)
    assert json.loads((tmp_path / "json").read_bytes()) == stored
    page = (tmp_path / "html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.count("<script") == 1
    assert "&lt;script&gt;alert(1)" in page
    assert "the oldest run first: 8, 3" in page
    said = (tmp_path / "text").read_text()
    assert "Ünïcode 🙂." in said
    assert "3 findings: 3 repaired." in said


async def test_a_file_that_cannot_be_written_names_the_option(
    engine: AsyncEngine, database: str, tmp_path: Path
) -> None:
    await put(engine, day=1, report=stored_reports.report())
    settings = Settings(database=database_settings(database))
    with pytest.raises(errors.SettingError, match=r"--output: .* cannot be written"):
        await command.run(settings, prefix=None, form=command.Format.HTML, output=tmp_path / "none" / "x.html")


@pytest.mark.parametrize(("name", "form"), [("a.html", "html"), ("a.JSON", "json"), ("a.txt", "text"), ("a", "text")])
def test_the_name_of_the_file_says_its_form(name: str, form: str) -> None:
    assert command.Format.of(Path(name)) is command.Format(form)
    assert command.Format.of(None) is command.Format.TEXT
