"""`chaintrue doctor` as a user runs it: all is well, or each trouble is named with its cure, and all else is looked at, too."""

import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from stellar_sdk import StrKey

from deploy import localnet, stack
from deploy.localnet import faults
from tests import app_role, services
from tests.acceptance.conftest import Ended, World, deployment
from tests.pgbouncer import pgbouncer

APP = "CHAINTRUE_APP_DATABASE__URL"


@pytest.fixture(scope="module")
async def well(kafka: services.RunningKafka, postgres: stack.Databases, warm: Sequence[str]) -> AsyncIterator[World]:
    """A deployment that is ready to run, its application reached by the role of `deploy/roles`."""
    async with deployment(kafka, postgres, localnet.STORY, command=warm) as world:
        assert (await world.run("migrate")).code == 0
        name = f"role_{uuid.uuid4().hex[:12]}"
        world.environment[APP] = await app_role.create(world.app_url, name=name)
        yield world
        await app_role.drop(world.app_url, name)


def role_of(world: World) -> str:
    return unquote(urlsplit(world.environment[APP]).username or "")


def failures(ended: Ended) -> dict[str, dict[str, Any]]:
    return {one["check"]: one for one in ended.json if not one["ok"]}


async def test_all_is_well(well: World) -> None:
    ended = await well.run("doctor", "--json")
    assert ended.code == 0, ended.stdout + ended.stderr
    assert all(one.keys() == {"check", "ok", "words", "cure"} for one in ended.json)
    assert [one for one in ended.json if one["cure"] is not None] == []
    looked_at = {one["check"] for one in ended.json}
    assert {
        "settings",
        "own database",
        "migrations",
        "app database",
        "app database: loans",
        "hashes",
        "kafka",
    } <= looked_at
    assert {"rpc node 1", "contract creditline", "contract parameters", "app database: row-level security"} <= looked_at
    shown = await well.run("doctor")
    assert shown.code == 0
    assert "are well" in shown.stdout


@pytest.mark.parametrize(
    ("name", "value", "check", "words", "cure"),
    [
        (APP, "postgresql://postgres:wrong-s3cret@{place}", "app database", "password", f"password in {APP}"),
        (APP, "postgresql://u:wrong-s3cret@127.0.0.1:1/x", "app database", "does not answer", "host and port"),
        ("CHAINTRUE_KAFKA__TOPIC", "no-such-topic", "kafka", "does not exist", "chaintrue migrate"),
        ("CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1", "kafka", "cannot be used", "start Kafka"),
        (
            "CHAINTRUE_NETWORK__PASSPHRASE",
            "Another ; 2020",
            "rpc node 1",
            "serves 'Test SDF Network",
            "CHAINTRUE_NETWORK__PASSPHRASE",
        ),
        ("CHAINTRUE_RPC__URLS", "http://127.0.0.1:1", "rpc node 1", "", "CHAINTRUE_RPC__URLS"),
        ("CHAINTRUE_METRICS__TEXTFILE", "/no/such/place/it.prom", "files", "cannot be written", "directory"),
        ("CHAINTRUE_STEPFI__CREDITLINE", None, "settings", "CHAINTRUE_STEPFI__CREDITLINE is not set", "set CHAINTRUE"),
        ("CHAINTRUE_SWEEP__POLICY__STALE_STATUS", "sometimes", "settings", "STALE_STATUS", ""),
        ("CHAINTRUE_SWEEP__TABLE_POLICY__LOAN", "report", "settings", "no table 'loan'", "vendors, loans,"),
    ],
)
async def test_one_trouble_is_named_with_its_cure(
    name: str, value: str | None, check: str, words: str, cure: str, well: World
) -> None:
    place = urlsplit(well.app_url)
    if value is not None:
        value = value.replace("{place}", f"{place.netloc.rpartition('@')[2]}{place.path}")
    ended = await well.run("doctor", "--json", **{name: value})
    assert ended.code == 1, ended.stdout + ended.stderr
    (found,) = [one for at, one in failures(ended).items() if at == check]
    assert words in found["words"]
    assert cure in found["cure"]
    assert "s3cret" not in ended.stdout + ended.stderr
    if check != "settings":
        assert set(failures(ended)) == {check}, "all else was looked at, and is well"


@pytest.mark.parametrize("method", ["getEvents", "getLedgerEntries"])
async def test_a_node_that_does_not_take_what_the_stream_asks(well: World, method: str) -> None:
    well.net.fault = lambda asked: faults.rpc_error(-32601, "method not found") if asked == method else None
    try:
        ended = await well.run("doctor", "--json")
    finally:
        well.net.fault = None
    assert ended.code == 1
    found = failures(ended)["rpc node 1"]
    assert f"{method}: error -32601: method not found" in found["words"]
    assert "CHAINTRUE_RPC__URLS" in found["cure"]


async def test_a_node_with_smaller_pages_is_well_and_told(well: World) -> None:
    refused = iter([faults.rpc_error(-32602, "limit must not exceed 100")])
    well.net.fault = lambda asked: next(refused, None) if asked == "getEvents" else None
    try:
        ended = await well.run("doctor", "--json")
    finally:
        well.net.fault = None
    assert ended.code == 0, ended.stdout
    (node,) = [one for one in ended.json if one["check"] == "rpc node 1"]
    assert "pages of 100 events (CHAINTRUE_RPC__PAGE_LIMIT is 1000)" in node["words"]


async def test_contracts_in_each_others_place(well: World) -> None:
    pool, reputation = (well.environment[f"CHAINTRUE_STEPFI__{name}"] for name in ("LIQUIDITY_POOL", "REPUTATION"))
    ended = await well.run(
        "doctor", "--json", CHAINTRUE_STEPFI__LIQUIDITY_POOL=reputation, CHAINTRUE_STEPFI__REPUTATION=pool
    )
    assert ended.code == 1
    found = failures(ended)
    assert "stores what a reputation stores" in found["contract liquidity_pool"]["words"]
    assert "CHAINTRUE_STEPFI__LIQUIDITY_POOL" in found["contract liquidity_pool"]["cure"]
    assert "works with other contracts" in found["contract creditline"]["words"]


@pytest.mark.parametrize(
    ("contract", "words"),
    [
        (StrKey.encode_contract(bytes(32)), "not on chain"),
        ("CDLZFC3SYJYDZT7K67VZ75HPJVIEUVNIXF47ZG2FB2RMQQVU2HHGCYSC", "a Stellar asset"),
    ],
)
async def test_a_contract_that_is_none_of_ours(contract: str, words: str, well: World) -> None:
    ended = await well.run("doctor", "--json", CHAINTRUE_STEPFI__PARAMETERS=contract)
    assert ended.code == 1
    assert words in failures(ended)["contract parameters"]["words"]
    assert "works with other contracts" in failures(ended)["contract creditline"]["words"]


async def test_rights_that_are_missing_or_too_many(well: World) -> None:
    role = role_of(well)
    await app_role.run(well.app_url, f"REVOKE UPDATE (status) ON loans FROM {role}; GRANT DELETE ON users TO {role}")
    try:
        ended = await well.run("doctor", "--json")
    finally:
        await app_role.run(
            well.app_url, f"GRANT UPDATE (status) ON loans TO {role}; REVOKE DELETE ON users FROM {role}"
        )
    assert ended.code == 1
    assert failures(ended).keys() == {"app database: loans"}
    loans = failures(ended)["app database: loans"]
    assert "lacks UPDATE on status" in loans["words"]
    assert "deploy/roles/stepfi.sql" in loans["cure"]
    (warning,) = [one for one in ended.json if one["ok"] and one["cure"] is not None]
    assert "users: DELETE" in warning["words"]


async def test_row_level_security_that_would_hide_rows(well: World) -> None:
    role = role_of(well)
    await app_role.run(well.app_url, f"ALTER ROLE {role} NOBYPASSRLS")
    try:
        refused = await well.run("doctor", "--json")
        hidden = await well.run("doctor", "--json", CHAINTRUE_SWEEP__ROW_SECURITY="policies")
    finally:
        await app_role.run(well.app_url, f"ALTER ROLE {role} BYPASSRLS")
    check = "app database: row-level security"
    assert "CHAINTRUE_SWEEP__ROW_SECURITY=policies" in failures(refused)[check]["cure"]
    assert "no policy lets the role reach rows of" in failures(hidden)[check]["words"]


async def test_poolers_are_told_and_refused_where_sessions_are_needed(well: World, postgres: stack.Databases) -> None:
    users = {role_of(well): unquote(urlsplit(well.environment[APP]).password or "")}
    own = "CHAINTRUE_DATABASE__URL"
    async with pgbouncer(postgres.admin_url, users=users) as before:
        both = {name: before.url(well.environment[name]) for name in (APP, own)}
        ended = await well.run("doctor", "--json", **both)
    assert failures(ended).keys() == {"own database: pooler"}
    assert "session mode" in failures(ended)["own database: pooler"]["cure"]
    told = {one["check"]: one["words"] for one in ended.json}
    assert "transaction mode" in told["app database: pooler"]


async def test_a_database_that_was_never_migrated(well: World, database: str) -> None:
    ended = await well.run("doctor", "--json", CHAINTRUE_DATABASE__URL=database)
    assert "chaintrue migrate" in failures(ended)["migrations"]["cure"]
    assert failures(ended).keys() == {"migrations"}
