"""Where the settings come from, where the metrics go, and what is said of rights and topics that are missing."""

import asyncio
import re
import signal
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from deploy import localnet, stack
from shared.settings import PREFIX
from tests import services
from tests.acceptance.conftest import World, deployment


@pytest.fixture(scope="module")
async def world(kafka: services.RunningKafka, postgres: stack.Databases) -> AsyncIterator[World]:
    """The hand-written story, indexed to its end, and the command as it is installed."""
    async with deployment(kafka, postgres, localnet.STORY) as world:
        ended = await world.run("migrate")
        assert ended.code == 0, ended.stderr
        assert "revision" in ended.stdout
        async with world.streaming():
            reached = await world.run("status", "--wait-ledger", str(world.truth.ledger), "--timeout", "60")
            assert reached.code == 0, reached.stderr
        yield world


async def test_a_topic_that_is_missing_is_named_with_the_cure(world: World) -> None:
    ended = await world.run("stream", CHAINTRUE_KAFKA__TOPIC="no-such-topic")
    assert ended.code == 1
    assert "no-such-topic" in ended.stderr
    assert "chaintrue migrate" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_all_settings_may_come_from_a_file_and_the_environment_comes_first(world: World, tmp_path: Path) -> None:
    file = tmp_path / "chaintrue.toml"
    sections: dict[str, list[str]] = {}
    for name, value in world.environment.items():
        section, _, key = name.removeprefix(PREFIX).lower().partition("__")
        sections.setdefault(section, []).append(f"{key} = '{value}'")
    file.write_text("\n".join(f"[{name}]\n" + "\n".join(lines) for name, lines in sections.items()))
    assert tomllib.loads(file.read_text())
    nothing: dict[str, str | None] = dict.fromkeys(world.environment)
    by_file = await world.run("status", "--json", "--config", str(file), **nothing)
    by_environment = await world.run("status", "--json")
    told = [ended.json for ended in (by_file, by_environment)]
    for gap in (gap for one in told for gap in one["gaps"]):
        del gap["age_seconds"]  # it grows between the two
    for one in told:
        del one["tip_age_seconds"]
    assert told[0] == told[1]
    wrong = {**nothing, "CHAINTRUE_DATABASE__URL": "postgresql://u:s3cret@127.0.0.1:1/x"}
    refused = await world.run("status", "--config", str(file), **wrong)
    assert refused.code == 1
    assert "CHAINTRUE_DATABASE__URL" in refused.stderr
    assert "s3cret" not in refused.stderr + refused.stdout
    assert (await world.run("status", "--config", str(tmp_path / "none.toml"))).code == 1


async def test_a_sweep_leaves_its_metrics_for_a_collector(world: World, tmp_path: Path) -> None:
    file = tmp_path / "chaintrue.prom"
    ended = await world.run("sweep", "--json", CHAINTRUE_METRICS__TEXTFILE=str(file))
    assert ended.code in (0, 2, 3), ended.stderr
    lines = file.read_text().splitlines()
    assert f'chaintrue_sweeps_total{{mode="dry",status="{ended.json["status"]}"}} 1.0' in lines
    assert any(line.startswith("chaintrue_sweep_duration_seconds ") for line in lines)
    for table, one in ended.json["compared"].items():
        assert f'chaintrue_sweep_compared_rows{{side="app",table="{table}"}} {float(one["app_rows"])}' in lines
    for drift_class, count in ended.json["drift"].items():
        rows = [line for line in lines if line.startswith(f'chaintrue_drift_rows{{class="{drift_class}"')]
        assert sum(float(line.rpartition(" ")[2]) for line in rows) == count


async def test_metrics_that_nobody_takes_are_an_error_after_the_report(world: World, tmp_path: Path) -> None:
    ended = await world.run("sweep", "--json", CHAINTRUE_METRICS__TEXTFILE=str(tmp_path / "none" / "x.prom"))
    assert ended.code == 1
    assert "CHAINTRUE_METRICS__TEXTFILE" in ended.stderr
    assert "run_id" in ended.json


async def test_a_role_without_rights_is_told_which(world: World) -> None:
    """The application's tables have row-level security: without BYPASSRLS they would look empty."""
    role = f"reader_{world.environment['CHAINTRUE_KAFKA__GROUP'].rpartition('-')[2]}"
    connection = await asyncpg.connect(world.app_url)
    try:
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 's3cret'")
        address = world.app_url.rpartition("@")[2]
        for variable, words in (
            ("CHAINTRUE_APP_DATABASE__URL", "lacks a right: query would be affected by row-level security"),
            ("CHAINTRUE_DATABASE__URL", "lacks a right: permission denied for"),
        ):
            where = world.environment[variable].rpartition("@")[2]
            ended = await world.run("sweep", **{variable: f"postgresql://{role}:s3cret@{where}"})
            assert ended.code == 1, address
            assert words in ended.stderr
            assert "unexpected" not in ended.stderr
            assert "s3cret" not in ended.stderr
            assert ended.stdout == ""
    finally:
        await connection.execute(f"DROP ROLE {role}")
        await connection.close()


def handles_termination(process: asyncio.subprocess.Process) -> bool:
    """Whether the process has its own handler of SIGTERM, or is over; a system without /proc does not tell."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return True
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return caught is None or bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


async def until_it_handles_signals(process: asyncio.subprocess.Process) -> None:
    """Return once a SIGTERM is the process's own to handle: one that still starts is ended by the signal itself."""
    async with asyncio.timeout(30):
        while not handles_termination(process):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.05)


async def test_one_part_alone_needs_less_and_ends_as_well(world: World) -> None:
    """A worker asks no RPC node; both parts together are the whole stream."""
    indexer = await world.start("stream", "--only", "indexer")
    worker = await world.start("stream", "--only", "worker", CHAINTRUE_RPC__URLS=None)
    try:
        ended = await world.run("status", "--wait-ledger", str(world.truth.ledger), "--timeout", "60")
        assert ended.code == 0, ended.stderr
        assert f"ledger {world.truth.ledger}" in ended.stdout
        assert "Healthy" in ended.stdout
    finally:
        for process in (indexer, worker):
            await until_it_handles_signals(process)  # the ledger may have been reached before
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            said = [(await process.communicate())[1].decode() for process in (indexer, worker)]
    assert [indexer.returncode, worker.returncode] == [0, 0], said


async def test_a_wait_that_is_too_short_ends_with_two(world: World) -> None:
    ended = await world.run("status", "--wait-ledger", str(world.truth.ledger + 1000), "--timeout", "0.5")
    assert ended.code == 2
    assert "did not reach ledger" in ended.stderr
