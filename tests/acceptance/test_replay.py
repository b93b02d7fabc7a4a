"""`chaintrue replay` as a user runs it, beside a stream that goes on. The tests of this file run in their order."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy import stack
from tests import services
from tests.acceptance.conftest import World, deployment

HISTORY = Path(__file__).parents[1] / "vectors" / "random-1.jsonl.gz"


@pytest.fixture(scope="module")
async def filled(kafka: services.RunningKafka, postgres: stack.Databases, warm: Sequence[str]) -> AsyncIterator[World]:
    """Everything indexed and observed, by a stream that goes on to the end of the file's tests."""
    async with deployment(kafka, postgres, HISTORY, command=warm) as world:
        assert (await world.run("migrate")).code == 0
        empty = await world.run("replay")
        assert (empty.code, "no record was applied yet" in " ".join(empty.stdout.split())) == (0, True), empty.stderr
        stream = await world.start("stream")
        try:
            reached = await world.run("status", "--json", "--wait-ledger", str(world.truth.ledger), "--timeout", "80")
            assert reached.code == 0, reached.stderr
            await world.until_observed()
            yield world
            assert stream.returncode is None  # it was never restarted
        finally:
            stream.send_signal(signal.SIGTERM)
            await stream.communicate()
        assert stream.returncode == 0


@pytest.fixture
async def own(filled: World) -> AsyncIterator[Any]:
    """A connection to chaintrue's own database."""
    connection = await asyncpg.connect(filled.environment["CHAINTRUE_DATABASE__URL"])
    try:
        yield connection
    finally:
        await connection.close()


async def loans(own: Any) -> list[str]:
    return [row[0] for row in await own.fetch("SELECT t::text FROM chain.loans AS t ORDER BY key")]


async def test_the_tables_are_what_the_log_says(filled: World) -> None:
    ended = await filled.run("replay", "--json")
    assert ended.code == 0, ended.stdout + ended.stderr
    assert (ended.json["identical"], ended.json["swapped"], ended.json["notes"]) == (True, False, [])
    assert ended.json["events"] > 2000
    assert ended.json["tables"]["loans"]["replay_rows"] == filled.truth.loan_counter
    assert "chaintrue" not in ended.stderr  # no progress where nobody watches
    people = await filled.run("replay")
    assert people.code == 0
    assert "Identical" in people.stdout


async def test_what_was_tampered_with_is_told_and_put_right_by_a_swap(filled: World, own: Any) -> None:
    right = await loans(own)
    key = await own.fetchval("SELECT min(key) FROM chain.loans")
    await own.execute("UPDATE chain.loans SET remaining_balance = 1, status = 'Unheard' WHERE key = $1", key)
    ended = await filled.run("replay")
    assert ended.code == 2
    for words in ("loans", "status", "Unheard", "remaining_balance", "--swap", "Different"):
        assert words in ended.stdout
    told = (await filled.run("replay", "--json")).json["tables"]["loans"]
    assert (told["only_live"], told["only_replay"], told["changed"]) == (0, 0, 1)
    assert told["rows"][0]["key"] == {"key": key}
    assert told["rows"][0]["columns"]["status"]["live"] == "Unheard"
    swapped = await filled.run("replay", "--swap", "--json")
    assert swapped.code == 0, swapped.stderr
    assert (swapped.json["identical"], swapped.json["swapped"]) == (False, True)
    assert await loans(own) == right
    assert (await filled.run("replay", "--json")).json["identical"]


async def test_a_replay_that_is_killed_leaves_the_live_tables_and_the_next_one_works(filled: World, own: Any) -> None:
    right = await loans(own)
    for moment in (
        "SELECT to_regclass('chain_replay.offsets') IS NOT NULL",
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'COPY%' AND application_name = 'chaintrue')",
        "SELECT EXISTS (SELECT FROM pg_locks WHERE mode = 'ExclusiveLock' AND relation = 'chain.offsets'::regclass)",
        "SELECT to_regclass('chain_replay.loans_pkey') IS NOT NULL",
        "SELECT EXISTS (SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'chain.offsets'::regclass)",
    ):
        process = await filled.start("replay", "--swap")
        await _until(own, moment, process)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
        assert await loans(own) == right
    ended = await filled.run("replay", "--swap")
    assert ended.code == 0, ended.stdout + ended.stderr
    assert await loans(own) == right
    schemas = await own.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'chain%'")
    assert [row["nspname"] for row in schemas] == ["chain"]


async def _until(own: Any, query: str, process: asyncio.subprocess.Process) -> None:
    """Until the query says so, or the process has ended: then it was quicker."""
    async with asyncio.timeout(60):
        while process.returncode is None:
            if await own.fetchval(query):
                return
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_signal_ends_it_in_time(filled: World, own: Any, number: signal.Signals, code: int) -> None:
    process = await filled.start("replay", "--swap")
    await _until(own, "SELECT to_regclass('chain_replay.offsets') IS NOT NULL", process)
    process.send_signal(number)
    async with asyncio.timeout(10):
        _, stderr = await process.communicate()
    assert process.returncode == code
    assert b"Traceback" not in stderr
    assert await own.fetchval("SELECT to_regnamespace('chain_replay')") is None


async def test_one_at_a_time(filled: World) -> None:
    both = await asyncio.gather(*(filled.run("replay") for _ in range(2)))
    assert sorted((one.code, "another replay" in one.stderr) for one in both) == [(0, False), (1, True)]


@pytest.mark.parametrize(
    ("arguments", "changes", "words"),
    [
        (["--base", "nowhere"], {}, "--base nowhere"),
        ([], {"CHAINTRUE_KAFKA__TOPIC": "no-such-topic"}, "no-such-topic"),
        ([], {"CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS"),
        ([], {"CHAINTRUE_NETWORK__PASSPHRASE": "Another Network ; 2020"}, "CHAINTRUE_NETWORK__PASSPHRASE"),
        ([], {"CHAINTRUE_DATABASE__URL": None}, "CHAINTRUE_DATABASE__URL"),
        (["--swap"], {"CHAINTRUE_STEPFI__CREDITLINE": None}, "CHAINTRUE_STEPFI__CREDITLINE"),
    ],
)
async def test_what_is_wrong_is_named_with_its_cure(
    filled: World, arguments: list[str], changes: dict[str, str | None], words: str
) -> None:
    ended = await filled.run("replay", *arguments, **{"CHAINTRUE_KAFKA__TIMEOUT_SECONDS": "4", **changes})
    assert ended.code == 1
    assert words in ended.stderr
    assert "Cure:" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "unexpected" not in ended.stderr
    assert ended.stdout == ""


async def test_the_stream_went_on_all_the_while(filled: World) -> None:
    """The fixture looks whether it is the same process still."""
    health = await filled.run("status", "--json", "--wait-ledger", str(filled.truth.ledger), "--timeout", "20")
    assert health.code == 0, health.stderr
    assert (await filled.run("sweep", "--json", "--strict")).json["findings"] == []
