"""`chaintrue schedule` as a user runs it."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest

from deploy import localnet, stack
from tests import services
from tests.acceptance.conftest import World, deployment

QUIET = {"CHAINTRUE_SCHEDULE__FULL": "0 0 29 2 *", "CHAINTRUE_SCHEDULE__CHANGED": "off"}
RAN = "SELECT EXISTS (SELECT FROM recon.runs WHERE status {})"


@pytest.fixture(scope="module")
async def place(kafka: services.RunningKafka, postgres: stack.Databases, warm: Sequence[str]) -> AsyncIterator[World]:
    """A deployment that is migrated; nothing was indexed."""
    async with deployment(kafka, postgres, localnet.STORY, command=warm) as world:
        ended = await world.run("migrate")
        assert ended.code == 0, ended.stderr
        yield world


async def stopped(process: asyncio.subprocess.Process) -> tuple[int, list[dict[str, object]]]:
    """Its exit code after SIGTERM, and its log lines."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(15):
        _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in said.decode().splitlines()]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"CHAINTRUE_SCHEDULE__FULL": "at night"}, "CHAINTRUE_SCHEDULE__FULL"),
        ({"CHAINTRUE_SCHEDULE__CHANGED": "99 * * * *"}, "CHAINTRUE_SCHEDULE__CHANGED"),
        ({"CHAINTRUE_SCHEDULE__FULL": "off", "CHAINTRUE_SCHEDULE__CHANGED": "off"}, "both off"),
        ({"CHAINTRUE_SCHEDULE__REPAIR": "perhaps"}, "CHAINTRUE_SCHEDULE__REPAIR"),
        ({"CHAINTRUE_SWEEP__TABLE_POLICY__LOAN": "report"}, "CHAINTRUE_SWEEP__TABLE_POLICY__LOAN"),
        ({"CHAINTRUE_APP_DATABASE__URL": None}, "CHAINTRUE_APP_DATABASE__URL"),
        ({"CHAINTRUE_DATABASE__URL": "postgresql://u:s3cret@127.0.0.1:1/x"}, "CHAINTRUE_DATABASE__URL"),
    ],
)
async def test_a_wrong_setting_ends_it_at_the_start(place: World, changes: dict[str, str | None], named: str) -> None:
    ended = await place.run("schedule", **changes)
    assert (ended.code, ended.stdout) == (1, "")
    assert named in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "s3cret" not in ended.stderr


async def test_other_commands_refuse_a_wrong_expression_too_but_not_a_schedule_that_is_off(place: World) -> None:
    assert (await place.run("status", CHAINTRUE_SCHEDULE__FULL="at night")).code == 1
    off = {"CHAINTRUE_SCHEDULE__FULL": "off", "CHAINTRUE_SCHEDULE__CHANGED": "off"}
    assert (await place.run("status", "--json", **off)).json["last_sweeps"] == []


async def test_a_stop_in_the_middle_of_a_run_ends_well_and_is_recorded(place: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # a node that takes connections and never answers
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        async with place.started("schedule", "--json", CHAINTRUE_RPC__URLS=url, **QUIET) as process:
            await place.until(RAN.format("= 'running'"))
            code, _ = await stopped(process)
    assert code == 0
    assert await place.own("SELECT status, reason FROM recon.runs") == [("failed", "it was stopped")]
    (told,) = (await place.run("status", "--json")).json["last_sweeps"]
    assert (told["extent"], told["status"], told["reason"]) == ("full", "failed", "it was stopped")


async def test_a_run_whose_process_is_killed_is_told_as_interrupted(place: World) -> None:
    await place.own("DELETE FROM recon.runs")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        async with place.started("schedule", CHAINTRUE_RPC__URLS=url, **QUIET) as process:
            await place.until(RAN.format("= 'running'"))
            (told,) = (await place.run("status", "--json")).json["last_sweeps"]
            assert told["status"] == "running"
            process.kill()
            await process.communicate()
    async with asyncio.timeout(30):  # until PostgreSQL has ended its session
        while (told := (await place.run("status", "--json")).json["last_sweeps"][0])["status"] == "running":
            pass
    assert (told["status"], told["reason"]) == ("failed", "it was interrupted: its process ended without a word")


async def test_it_makes_up_for_what_was_missed_serves_metrics_and_ends_on_sigterm(place: World) -> None:
    await place.own("DELETE FROM recon.runs")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with place.started("schedule", "--json", CHAINTRUE_METRICS__PORT=str(port), **QUIET) as process:
        await place.until(RAN.format("<> 'running'"))
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as answer:
            shown = (await answer.text()).splitlines()
        code, lines = await stopped(process)
    assert code == 0, lines
    assert any(line.startswith('chaintrue_schedule_next_run_timestamp_seconds{extent="full"} ') for line in shown)
    assert await place.own("SELECT mode, extent, status FROM recon.runs") == [("dry", "full", "incomplete")]
    events = [line["event"] for line in lines]
    assert events[-1] == "the schedule has stopped"
    (begin,) = [line for line in lines if line["event"] == "the schedule is set"]
    assert begin["missed"] is not None
    assert list(begin["next"]) == ["full"]  # type: ignore[call-overload]
    (end,) = [line for line in lines if line["event"] == "the sweep has ended"]
    assert end["status"] == "incomplete"
    assert "chaintrue stream" in str(end["reasons"])
