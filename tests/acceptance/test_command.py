"""The whole way through the command, and what it says when it is set up wrongly. The tests of this file run in their order."""

import asyncio
import signal
from collections.abc import AsyncIterator

import asyncpg
import pytest

from deploy import localnet, stack
from deploy.demo.app import drift
from tests import services
from tests.acceptance.conftest import World, deployment

CONTRACT = "CHAINTRUE_STEPFI__CREDITLINE"


@pytest.fixture(scope="module")
async def world(kafka: services.RunningKafka, postgres: stack.Databases) -> AsyncIterator[World]:
    """The hand-written story, and the command as it is installed."""
    async with deployment(kafka, postgres, localnet.STORY) as world:
        yield world


async def test_a_database_that_is_not_migrated_is_refused(world: World) -> None:
    for command in ("stream", "sweep", "status"):
        ended = await world.run(command)
        assert ended.code == 1
        assert "chaintrue migrate" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert ended.stdout == ""


async def test_migrate_may_run_twice(world: World) -> None:
    first, second = await world.run("migrate", "--json"), await world.run("migrate", "--json")
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert first.json["topic_changed"] is True
    assert second.json["topic_changed"] is False


@pytest.mark.parametrize(
    ("command", "variable", "value"),
    [
        ("sweep", "CHAINTRUE_APP_DATABASE__URL", None),
        ("sweep", "CHAINTRUE_RPC__URLS", None),
        ("stream", "CHAINTRUE_NETWORK__PASSPHRASE", None),
        ("stream", CONTRACT, None),
        ("stream", CONTRACT, "CNONE"),
        ("stream", "CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1"),
        ("migrate", "CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1"),
        ("migrate", "CHAINTRUE_DATABASE__URL", "postgresql://u:s3cret@127.0.0.1:1/x"),
        ("migrate", "CHAINTRUE_DATABASE__URL", "mysql://u:s3cret@127.0.0.1:1/x"),
        ("sweep", "CHAINTRUE_APP_DATABASE__URL", "postgresql://u:s3cret@127.0.0.1:1/x"),
        ("stream", "CHAINTRUE_NETWORK__PASSPHRASE", "Another Network ; 2020"),
        ("sweep", "CHAINTRUE_NETWORK__PASSPHRASE", "Another Network ; 2020"),
        ("stream", "CHAINTRUE_RPC__URLS", "http://127.0.0.1:1"),
        ("sweep", "CHAINTRUE_SWEEP__POLICY__STALE_STATUS", "sometimes"),
        ("sweep", "CHAINTRUE_SWEEP__POLICY__NO_SUCH_CLASS", "report"),
        ("sweep", "CHAINTRUE_SWEEP__TABLE_POLICY__LOAN", "report"),
        ("sweep", "CHAINTRUE_RPC__TIMEOUT", "3"),
    ],
)
async def test_a_wrong_setting_is_named_with_its_cure(
    world: World, command: str, variable: str, value: str | None
) -> None:
    ended = await world.run(
        command,
        **{variable: value, "CHAINTRUE_RPC__MAX_ATTEMPTS": "2", "CHAINTRUE_KAFKA__TIMEOUT_SECONDS": "4"},
    )
    assert ended.code == 1
    assert variable in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "unexpected" not in ended.stderr
    assert "s3cret" not in ended.stderr
    assert ended.stdout == ""


async def test_a_wrong_password_is_refused_and_not_shown(world: World) -> None:
    url = world.environment["CHAINTRUE_DATABASE__URL"]
    user, _, rest = url.removeprefix("postgresql://").partition("@")
    wrong = f"postgresql://{user.partition(':')[0]}:n0t-it@{rest}"
    ended = await world.run("status", CHAINTRUE_DATABASE__URL=wrong)
    assert ended.code == 1
    assert "CHAINTRUE_DATABASE__URL" in ended.stderr
    assert "password" in ended.stderr
    assert "n0t-it" not in ended.stderr


async def test_wrong_usage_ends_with_one_for_two_means_drift(world: World) -> None:
    assert (await world.run("sweep", "--no-such-option")).code == 1


async def test_a_sweep_before_anything_was_indexed_is_incomplete(world: World) -> None:
    ended = await world.run("sweep", "--json")
    assert ended.code == 3
    assert ended.json["status"] == "incomplete"
    assert ended.json["findings"] == []


async def test_the_stream_follows_and_ends_on_sigterm(world: World) -> None:
    process = await world.start("stream")
    last = str(world.truth.ledger)
    try:
        ended = await world.run("status", "--json", "--wait-ledger", last, "--timeout", "60")
        assert ended.code == 0, ended.stderr
        assert ended.json["watermark_ledger"] >= world.truth.ledger
        assert ended.json["undecodable_events"] == 0
        assert [gap["to_ledger"] for gap in ended.json["gaps"]] == [world.truth.start_ledger - 1]
        await world.until_observed()
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            _, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()


async def test_an_exact_mirror_has_no_findings(world: World) -> None:
    ended = await world.run("sweep", "--json", "--strict")
    assert ended.code == 0, ended.stderr + ended.stdout
    assert ended.json["findings"] == []
    assert ended.json["compared"]["loans"]["expected_rows"] == world.truth.loan_counter


async def test_drift_is_found_repaired_and_then_gone(world: World) -> None:
    wanted = drift.CORE | drift.TRAPS
    available = wanted - drift.plan(world.truth, wanted).unavailable.keys() - {"other_time_zone"}
    connection = await asyncpg.connect(world.app_url)
    await drift.inject(connection, world.truth, available)
    await connection.close()
    expected = drift.plan(world.truth, available).findings

    before = await world.dump()
    dry = await world.run("sweep", "--json")
    assert dry.code == 2, dry.stderr
    assert await world.dump() == before
    found = sorted((one["class"], one["table"], one["row_id"] or one["entity"]) for one in dry.json["findings"])
    assert found == sorted((one.drift_class, one.table, one.row_id or one.entity) for one in expected)

    repaired = await world.run("sweep", "--repair", "--json")
    outcomes = {(one["class"], one["row_id"] or one["entity"]): one["outcome"] for one in repaired.json["findings"]}
    assert outcomes == {(one.drift_class, one.row_id or one.entity): one.outcome for one in expected}
    after = await world.dump()
    assert {table: len(rows) for table, rows in after.items()} == {table: len(rows) for table, rows in before.items()}

    again = await world.run("sweep", "--repair", "--json")
    assert again.json["repaired"] == 0
    assert again.code == 2  # missing rows are proposed, to be written by people
    assert await world.dump() == after


async def test_two_sweeps_at_once_one_says_so(world: World) -> None:
    both = [world.run("sweep", "--json", CHAINTRUE_SWEEP__SETTLE_SECONDS="3") for _ in range(2)]
    codes = sorted([(one.code, "another sweep" in one.stderr) for one in await asyncio.gather(*both)])
    assert codes == [(1, True), (2, False)]


async def _until_running(world: World) -> None:
    """Until the sweep has recorded that it runs."""
    connection = await asyncpg.connect(world.environment["CHAINTRUE_DATABASE__URL"])
    try:
        async with asyncio.timeout(60):
            while not await connection.fetchval("SELECT count(*) FROM recon.runs WHERE status = 'running'"):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


async def test_ctrl_c_ends_a_sweep(world: World) -> None:
    process = await world.start("sweep", CHAINTRUE_SWEEP__SETTLE_SECONDS="60")
    await _until_running(world)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(10):
        _, stderr = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    assert (await world.run("status", "--json")).json["last_sweeps"][0]["status"] == "failed"


async def test_a_chain_that_cannot_be_asked_makes_the_sweep_incomplete(world: World) -> None:
    ended = await world.run(
        "sweep", "--repair", "--json", CHAINTRUE_RPC__URLS="http://127.0.0.1:1", CHAINTRUE_RPC__MAX_ATTEMPTS="1"
    )
    assert ended.code == 3
    assert ended.json["repaired"] == 0


async def test_the_chain_was_only_read(world: World) -> None:
    assert set(world.net.requests) <= {
        "getHealth", "getNetwork", "getVersionInfo", "getEvents", "getLedgerEntries", "getTransaction",
    }  # fmt: skip


async def test_the_demo_checks_itself(world: World) -> None:
    ended = await world.run("demo", "--json")
    assert ended.code == 0, ended.stdout + ended.stderr
    assert ended.json["as_expected"] is True
