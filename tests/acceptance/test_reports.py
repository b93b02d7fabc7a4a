"""What people and machines are told of runs: `chaintrue report`, the page, the webhook, the metrics. In their order."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy import localnet, stack
from deploy.demo.app import drift
from tests import receiver, services
from tests.acceptance.conftest import World, deployment

SECRET = "s3cret-of-the-receiver"


@pytest.fixture(scope="module")
async def told(kafka: services.RunningKafka, postgres: stack.Databases, warm: Sequence[str]) -> AsyncIterator[World]:
    """A deployment of this file's own."""
    async with deployment(kafka, postgres, localnet.STORY, command=warm) as world:
        yield world


def metric(path: Path, name: str) -> float:
    (found,) = [
        sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
        if sample.name == f"chaintrue_{name}" and not sample.labels
    ]
    return found


def labelled(path: Path, name: str) -> dict[tuple[str, ...], float]:
    """Its samples by the values of their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
        if sample.name == f"chaintrue_{name}"
    }


async def report(world: World, *arguments: str) -> tuple[int, str, str]:
    """`chaintrue report …` with the one setting that it needs."""
    alone = {name: None for name in world.environment if name != "CHAINTRUE_DATABASE__URL"}
    ended = await world.run("report", *arguments, **alone)
    assert "Traceback" not in ended.stderr
    return ended.code, ended.stdout, ended.stderr


async def test_there_is_nothing_to_report_yet(told: World) -> None:
    assert (await told.run("migrate")).code == 0
    code, out, said = await report(told)
    assert (code, out) == (1, "")
    assert "no run has ended with a report yet" in said
    assert "chaintrue sweep" in said
    assert (await report(told, "--list", "--json"))[:2] == (0, "[]\n")


async def test_a_run_that_is_not_complete_is_told(told: World) -> None:
    async with receiver.listening() as there:
        ended = await told.run("sweep", "--json", CHAINTRUE_WEBHOOK__URL=there.url, CHAINTRUE_WEBHOOK__SECRET=SECRET)
    assert ended.code == 3
    (body,) = there.bodies
    assert (body["event"], body["run_id"], body["reasons"]) == (
        "incomplete",
        ended.json["run_id"],
        ended.json["reasons"],
    )
    assert there.got[0][0]["X-Chaintrue-Signature"].startswith("sha256=")
    code, out, _ = await report(told)
    assert code == 0
    assert "Not complete: Nothing was indexed yet" in out


async def test_a_clean_run_has_a_page_and_a_metric_of_its_success(told: World, tmp_path: Path) -> None:
    page, textfile = tmp_path / "page.html", tmp_path / "chaintrue.prom"
    async with told.streaming():
        await told.run("status", "--wait-ledger", str(told.truth.ledger), "--timeout", "60")
        await told.until_observed()
    async with receiver.listening() as there:
        ended = await told.run(
            "sweep",
            "--json",
            "--html",
            str(page),
            CHAINTRUE_METRICS__TEXTFILE=str(textfile),
            CHAINTRUE_WEBHOOK__URL=there.url,
        )
    assert ended.code == 0, ended.stderr
    assert there.got == []
    as_of = f"ledger {ended.json['watermark_ledger']}, closed 20"
    assert f"Clean: the application database agrees with the chain as of {as_of}" in page.read_text()
    assert ended.json["run_id"] in page.read_text()
    assert metric(textfile, "drift_age_seconds") == 0
    success = metric(textfile, "sweep_last_success_timestamp_seconds")

    async with receiver.listening() as there:
        ended = await told.run(
            "sweep",
            CHAINTRUE_NETWORK__PASSPHRASE="Another Network ; 2020",
            CHAINTRUE_METRICS__TEXTFILE=str(textfile),
            CHAINTRUE_WEBHOOK__URL=there.url,
        )
    assert ended.code == 1
    assert "CHAINTRUE_NETWORK__PASSPHRASE" in ended.stderr
    assert metric(textfile, "sweep_last_success_timestamp_seconds") == success
    (body,) = there.bodies
    assert (body["event"], body["status"], body["mode"], body["extent"]) == ("failed", "failed", "dry", "full")
    code, out, said = await report(told, body["run_id"][:8])
    assert (code, out) == (1, "")
    assert re.search(r"run \S+ began .* without a report: ", said)
    code, out, said = await report(told)  # the one before it, and a word on what came after
    assert code == 0
    assert "No findings" in out
    assert body["run_id"] in said


async def test_drift_is_told_in_every_form_by_the_stored_report(told: World, tmp_path: Path) -> None:
    available = drift.CORE - drift.plan(told.truth, drift.CORE).unavailable.keys()
    connection = await asyncpg.connect(told.app_url)
    await drift.inject(connection, told.truth, available)
    await connection.close()
    async with receiver.listening(503) as there:
        ended = await told.run("sweep", "--json", CHAINTRUE_WEBHOOK__URL=there.url)
    assert ended.code == 2
    assert [body["event"] for body in there.bodies] == ["drift", "drift"]
    assert there.bodies[0] == there.bodies[1]
    assert there.bodies[0]["drift"] == ended.json["drift"]
    run_id = ended.json["run_id"]

    code, out, _ = await report(told, run_id[:8], "--format", "json")
    assert (code, json.loads(out)) == (0, ended.json)
    code, page, _ = await report(told, "--format", "html")
    assert code == 0
    assert page.startswith("<!doctype html>")
    assert all(f'data-class="{name}"' in page for name in ended.json["drift"])
    assert "the oldest run first: 0, " in page  # no incomplete run is left out, nor the one that failed
    path = tmp_path / "report.html"
    assert (await report(told, run_id, "--output", str(path)))[:2] == (0, "")
    assert path.read_text() == page
    code, listed, _ = await report(told, "--list", "--json")
    assert code == 0
    assert [one["status"] for one in json.loads(listed)] == ["complete", "failed", "complete", "incomplete"]


async def test_a_run_that_fails_keeps_the_drift_that_is_known_in_the_metrics(told: World, tmp_path: Path) -> None:
    """The text file is new with each run: an alert on drift must not end because a later run was broken off."""
    textfile = tmp_path / "chaintrue.prom"
    ended = await told.run("sweep", "--json", CHAINTRUE_METRICS__TEXTFILE=str(textfile))
    assert ended.code == 2
    before = labelled(textfile, "drift_rows")
    assert sum(before.values()) == len(ended.json["findings"])
    assert metric(textfile, "drift_age_seconds") > 0
    success = metric(textfile, "sweep_last_success_timestamp_seconds")

    environment = {"CHAINTRUE_METRICS__TEXTFILE": str(textfile), "CHAINTRUE_NETWORK__PASSPHRASE": "Another ; 2020"}
    for arguments, mode in ((("sweep", "--repair"), "repair"), (("apply", str(tmp_path / "no-plan")), "apply")):
        textfile.unlink()
        assert (await told.run(*arguments, **environment)).code == 1
        after = labelled(textfile, "drift_rows")
        assert {place: rows for place, rows in after.items() if rows} == {
            place: rows for place, rows in before.items() if rows
        }
        assert metric(textfile, "drift_age_seconds") > 0
        assert metric(textfile, "sweep_last_success_timestamp_seconds") == success
        assert labelled(textfile, "sweeps_total") == {(mode, "failed"): 1}

    environment["CHAINTRUE_DATABASE__URL"] = "postgresql://u:s3cret@127.0.0.1:1/x"  # nobody there who would remember
    assert (await told.run("sweep", **environment)).code == 1
    assert labelled(textfile, "drift_rows") == after
    assert metric(textfile, "drift_age_seconds") > 0
    assert metric(textfile, "sweep_last_success_timestamp_seconds") == success
    assert labelled(textfile, "sweeps_total") == {("dry", "failed"): 1}


async def test_a_webhook_that_is_down_costs_a_line_and_nothing_else(told: World) -> None:
    ended = await told.run("sweep", "--json", CHAINTRUE_WEBHOOK__URL="http://127.0.0.1:1/T0ken-that-nobody-sees")
    assert ended.code == 2
    assert ended.json["status"] == "complete"
    assert [line for line in ended.stderr.splitlines() if "webhook" in line] == [
        "chaintrue: CHAINTRUE_WEBHOOK__URL: the webhook was not told: it could not be reached (ClientConnectorError)"
    ]
    assert "T0ken" not in ended.stderr


async def test_a_page_that_cannot_be_written_is_an_error_after_the_report(told: World, tmp_path: Path) -> None:
    textfile = tmp_path / "chaintrue.prom"
    ended = await told.run(
        "sweep", "--json", "--html", str(tmp_path / "none" / "x.html"), CHAINTRUE_METRICS__TEXTFILE=str(textfile)
    )
    assert ended.code == 1
    assert ended.json["status"] == "complete"
    assert "--html" in ended.stderr
    assert metric(textfile, "sweep_last_success_timestamp_seconds") > 0


async def test_a_run_that_is_stopped_is_told(told: World) -> None:
    async with receiver.listening() as there:
        process = await told.start("sweep", CHAINTRUE_SWEEP__SETTLE_SECONDS="600", CHAINTRUE_WEBHOOK__URL=there.url)
        await told.until("SELECT count(*) > 0 FROM recon.runs WHERE status = 'running'")
        process.terminate()
        async with asyncio.timeout(30):
            await process.communicate()
    assert process.returncode == 143
    (body,) = there.bodies
    assert (body["event"], body["reasons"]) == ("failed", ["it was stopped"])
    assert body["run_id"] is not None
