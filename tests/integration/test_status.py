"""What `chaintrue status` tells, from a database and a chain: numbers, gaps, sweeps, and what is not well."""

import asyncio
import io
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from deploy import localnet, status, status_observations, status_undecodable, terminal_status
from shared import chain_tables, position, recon_tables
from shared import database as connections
from shared.settings import Network, Rpc
from shared.stepfi import entries
from shared.stepfi.settings import Settings, Stepfi
from streams import fact_partitions
from streams.stepfi.application import StepfiStream
from tests.integration.stream_parts import database_settings

STREAM = StepfiStream(Stepfi())
SCOPE = STREAM.scope
CONTRACTS = ["CAKNWUFCM4ZB3W73TPZCYWBEJUCT4HLWLEGHYZFONSTXMGOMTWFNUZLG"]
KEYS = {
    "watermark_ledger",
    "latest_ledger",
    "lag_ledgers",
    "lag_seconds",
    "tip_closed_at",
    "tip_age_seconds",
    "watermark_closed_at",
    "watermark_closed_ledger",
    "retention_margin_ledgers",
    "gaps",
    "observations",
    "unknown",
    "undecodable_events",
    "nodes",
    "undecodable",
    "last_sweeps",
}


@pytest.fixture(scope="module")
async def chain() -> AsyncIterator[localnet.Localnet]:
    async with localnet.serve() as net:
        yield net


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    async with connections.connect(database_settings(database), section="database") as engine:
        await migrations.upgrade(engine)
        yield engine


def _settings(net: localnet.Localnet, **rpc: object) -> Settings:
    values = {"urls": (net.url,), "requests_per_second": 500, "timeout_seconds": 2, **rpc}
    return Settings(network=Network(passphrase=net.history["networkPassphrase"]), rpc=Rpc(**values))


async def _begun(engine: AsyncEngine, *, origin: int, through: int, tip_closed_at: int | None = None) -> None:
    """A scope that began behind ledger `origin` and has read up to `through`."""
    start, end = position.end_of(origin), position.end_of(through)
    async with engine.begin() as connection:
        await connection.execute(
            insert(chain_tables.scopes).values(
                scope=SCOPE,
                partition=0,
                network="n",
                contracts=CONTRACTS,
                origin=start,
                tip=end if tip_closed_at else None,
                tip_closed_at=tip_closed_at,
            )
        )
        held = [{"scope": SCOPE, "contract": one, "after": start, "through": end} for one in CONTRACTS]
        await connection.execute(insert(chain_tables.coverage), held)
        await _gap(connection, 0, origin, "before the start of the stream")


async def _gap(connection, after: int, through: int, reason: str) -> None:
    begin = position.end_of(after) if after else position.START
    await connection.execute(
        insert(chain_tables.gaps).values(
            scope=SCOPE,
            after=begin,
            through=position.end_of(through),
            contracts=CONTRACTS,
            reason=reason,
            state="open",
        )
    )


async def test_before_the_stream_began(engine: AsyncEngine, chain: localnet.Localnet) -> None:
    current = await status.read(_settings(chain), engine, STREAM)
    assert current.body.keys() == KEYS
    assert current.body["watermark_ledger"] is None
    assert current.body["latest_ledger"] == chain.latest_ledger
    assert (current.body["gaps"], current.body["last_sweeps"], current.body["undecodable_events"]) == ([], [], 0)
    assert len(current.degraded) == 1
    assert "chaintrue stream" in current.degraded[0]


async def test_at_the_tip_it_is_healthy_and_the_time_before_the_start_is_a_gap(
    engine: AsyncEngine, chain: localnet.Localnet
) -> None:
    origin = chain.oldest_ledger + 9
    await _begun(engine, origin=origin, through=chain.latest_ledger, tip_closed_at=1)
    current = await status.read(_settings(chain), engine, STREAM)
    assert current.degraded == ()
    assert current.body["watermark_ledger"] == chain.latest_ledger
    assert current.body["lag_seconds"] == 0
    assert current.body["retention_margin_ledgers"] == chain.latest_ledger + 1 - chain.oldest_ledger
    assert current.body["gaps"] == [
        {
            "from_ledger": 1,
            "to_ledger": origin,
            "contracts": CONTRACTS,
            "reason": "before the start of the stream",
            "state": "open",
            "age_seconds": None,
        }
    ]
    json.dumps(current.body)


@pytest.mark.parametrize(("behind", "degraded"), [(status.MAX_LAG_LEDGERS, False), (status.MAX_LAG_LEDGERS + 1, True)])
async def test_a_stream_that_is_far_behind_is_degraded(
    engine: AsyncEngine, chain: localnet.Localnet, behind: int, degraded: bool
) -> None:
    await _begun(engine, origin=chain.oldest_ledger, through=chain.latest_ledger - behind)
    current = await status.read(_settings(chain), engine, STREAM)
    assert bool(current.degraded) is degraded
    assert current.body["lag_seconds"] is None  # when the ledger of the watermark closed is not known


async def test_the_lag_is_between_two_ledgers_of_the_chain(engine: AsyncEngine, chain: localnet.Localnet) -> None:
    latest = chain.recording.closed_at(chain.latest_ledger)
    await _begun(engine, origin=chain.oldest_ledger, through=chain.latest_ledger - 1, tip_closed_at=latest - 121)
    current = await status.read(_settings(chain), engine, STREAM)
    assert current.body["lag_seconds"] == 121
    assert current.degraded == ("the tables are behind the chain by 1 ledger",)


async def test_a_gap_beyond_the_chain_names_the_command_that_takes_it_back(
    engine: AsyncEngine, chain: localnet.Localnet
) -> None:
    await _begun(engine, origin=chain.oldest_ledger, through=chain.latest_ledger)
    async with engine.begin() as connection:
        await _gap(connection, chain.latest_ledger, 57_879_039, "lost")
    current = await status.read(_settings(chain), engine, STREAM)
    (trouble,) = current.degraded
    assert "to 57879039 are missing" in trouble
    assert "chaintrue backfill --withdraw-gap" in trouble


@pytest.mark.parametrize(("ago", "degraded"), [(24, True), (23, False)])
async def test_observations_that_wait_are_told_and_for_long_they_are_a_trouble(
    engine: AsyncEngine, chain: localnet.Localnet, ago: int, degraded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_observations, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(status_observations, "POLL_SECONDS", 0.05)
    await _begun(engine, origin=chain.oldest_ledger, through=chain.latest_ledger)
    asked_at = position.before_observations(chain.latest_ledger - ago)
    async with engine.begin() as connection:
        await _asking(connection, asked_at)
    current = await status.read(_settings(chain), engine, STREAM)
    assert current.body["observations"] == {"waiting": 1, "oldest_ledger": chain.latest_ledger - ago}
    assert ["the observer does not run" in trouble for trouble in current.degraded] == [True] * degraded
    async with engine.begin() as connection:  # an entry that is absent was observed
        await fact_partitions.make(connection, chain.latest_ledger // fact_partitions.LEDGERS)
        key = entries.key_of("instance", CONTRACTS[0], "")
        answer = {
            "key": f"absent:{key}",
            "position": position.end_of(chain.latest_ledger),
            "kind": "absent",
            "body": {},
        }
        await connection.execute(insert(chain_tables.facts).values(answer))
    current = await status.read(_settings(chain), engine, STREAM)
    assert current.body["observations"] == {"waiting": 0, "oldest_ledger": None}
    assert current.degraded == ()


async def _asking(connection, asked_at: str) -> None:
    table = chain_tables.metadata.tables["chain.contracts"]
    filled = {"key": f"contract:{CONTRACTS[0]}", "contract": CONTRACTS[0], "position": asked_at, "asked_at": asked_at}
    required = [column for column in table.columns if not column.nullable and column.server_default is None]
    others = {column.name: "" for column in required if column.name not in filled}
    await connection.execute(insert(table).values({name: filled[name] for name in filled if name in table.c} | others))


async def test_an_open_gap_and_undecodable_events_are_degraded(engine: AsyncEngine, chain: localnet.Localnet) -> None:
    await _begun(engine, origin=chain.oldest_ledger, through=chain.latest_ledger)
    async with engine.begin() as connection:
        await _gap(connection, chain.oldest_ledger + 5, chain.oldest_ledger + 8, "lost")
        fact = {"key": "undecodable:C", "position": position.end_of(7), "kind": "X", "body": {}, "problem": "?"}
        await fact_partitions.make(connection, 0)
        await connection.execute(insert(chain_tables.facts).values(fact))
    current = await status.read(_settings(chain), engine, STREAM)
    assert current.body["gaps"][1]["from_ledger"] == chain.oldest_ledger + 6
    assert current.body["gaps"][1]["to_ledger"] == chain.oldest_ledger + 8
    assert current.body["undecodable_events"] == 1
    assert current.body["undecodable"] == [
        {"contract": "C", "event": "X", "reason": "?", "count": 1, "first_ledger": 7, "last_ledger": 7}
    ]
    assert [trouble.partition(":")[0] for trouble in current.degraded] == [
        f"ledgers {chain.oldest_ledger + 6} to {chain.oldest_ledger + 8} are missing (open)",
        "1 event could not be decoded",
    ]


async def _undecodable(engine: AsyncEngine, *facts: tuple[str, int, str, str]) -> None:
    """Facts that could not be decoded: the rest of their key, ledger, name and reason."""
    rows = [
        {
            "key": f"undecodable:{rest}",
            "position": f"{ledger << 32:019d}-{number:010d}",
            "kind": name,
            "body": {},
            "problem": reason,
        }
        for number, (rest, ledger, name, reason) in enumerate(facts)
    ]
    async with engine.begin() as connection:
        for ledger in sorted({ledger // fact_partitions.LEDGERS for _, ledger, _, _ in facts}):
            await fact_partitions.make(connection, ledger)
        await connection.execute(insert(chain_tables.facts), rows)


async def test_what_could_not_be_decoded_is_listed_by_contract_event_and_reason(
    engine: AsyncEngine, chain: localnet.Localnet
) -> None:
    other, far = "CDLZFC3SYJYDZT7K67VZ75HPJVIEUVNIXF47ZG2FB2RMQQVU2HHGCYSC", fact_partitions.LEDGERS + 5
    await _undecodable(
        engine,
        (CONTRACTS[0], 9, "LOANFUNDED", "unknown"),
        (CONTRACTS[0], far, "LOANFUNDED", "unknown"),
        (CONTRACTS[0], 11, "LOANFUNDED", "unknown"),
        (CONTRACTS[0], 8, "LOANFUNDED", "another shape"),
        (other, 7, "LOANFUNDED", "unknown"),
        (f"{other}:AAAA", 10, "entry Loan", "a loan without 'status'"),
        (f"{other}:BBBB", 10, "entry Loan", "a loan without 'status'"),
        (":AAAA", 12, "entry", "not a key"),
    )
    body = (await status.read(_settings(chain), engine, STREAM)).body
    assert [tuple(group.values()) for group in body["undecodable"]] == [
        (CONTRACTS[0], "LOANFUNDED", "unknown", 3, 9, far),
        (other, "entry Loan", "a loan without 'status'", 2, 10, 10),
        (other, "LOANFUNDED", "unknown", 1, 7, 7),
        (CONTRACTS[0], "LOANFUNDED", "another shape", 1, 8, 8),
        (None, "entry", "not a key", 1, 12, 12),
    ]
    assert body["undecodable_events"] == 8
    json.dumps(body)


@pytest.mark.parametrize(("more", "words"), [(1, "1 more group"), (7, "7 more groups")])
async def test_of_many_reasons_the_rest_is_counted(
    engine: AsyncEngine, chain: localnet.Localnet, more: int, words: str
) -> None:
    many = status_undecodable.SHOWN + more
    facts = [("C", 100 + number, "X", f"reason {number:03d}") for number in range(many) for _ in range(many - number)]
    await _undecodable(engine, *facts)
    body = (await status.read(_settings(chain), engine, STREAM)).body
    *listed, rest = body["undecodable"]
    assert [group["reason"] for group in listed] == [f"reason {number:03d}" for number in range(many - more)]
    assert rest == {
        "contract": None,
        "event": None,
        "reason": words,
        "count": more * (more + 1) // 2,
        "first_ledger": 100 + many - more,
        "last_ledger": 99 + many,
    }
    assert body["undecodable_events"] == len(facts)


async def test_the_key_range_is_read_by_its_index_whatever_else_is_stored(engine: AsyncEngine) -> None:
    """Of 40,000 facts in two partitions the 40 that could not be decoded are read, and nothing else."""
    far = fact_partitions.LEDGERS
    await _undecodable(engine, *(("C", far * (n % 2) + n, "X", "?") for n in range(40)))
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO chain.facts (key, position, kind, body) SELECT 'event:C', "
                "lpad(((n + :far * (n % 2)) << 32)::text, 19, '0') || '-0000000000', 'X', '{}' "
                "FROM generate_series(1::bigint, 40000) AS n"
            ),
            {"far": far},
        )
        await connection.execute(text("ANALYZE chain.facts"))
        statement = text(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {status_undecodable._GROUPS.text}")
        plan = (await connection.execute(statement, {"shown": 20})).scalar_one()[0]["Plan"]
    scans = [node for node in _nodes(plan) if "Relation Name" in node]
    assert {node["Relation Name"] for node in scans} == {"facts_from_0000000000", f"facts_from_{far:010d}"}
    assert sum(node["Actual Rows"] for node in scans) == 40
    assert all("Seq" not in node["Node Type"] and not node.get("Rows Removed by Filter") for node in scans)


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in _nodes(child))]


async def test_ledgers_that_rpc_has_dropped_are_told(engine: AsyncEngine, chain: localnet.Localnet) -> None:
    await _begun(engine, origin=5, through=chain.oldest_ledger - 4)
    current = await status.read(_settings(chain), engine, STREAM)
    assert current.body["retention_margin_ledgers"] == -3
    assert "RPC no longer holds what comes next, 3 ledgers" in current.degraded


@pytest.mark.parametrize(
    ("urls", "words"), [((), "CHAINTRUE_RPC__URLS is not set"), (("http://127.0.0.1:1",), "127.0.0.1:1")]
)
async def test_without_an_answer_of_rpc_the_rest_is_told(
    engine: AsyncEngine, chain: localnet.Localnet, urls: tuple[str, ...], words: str
) -> None:
    await _begun(engine, origin=5, through=100)
    current = await status.read(_settings(chain, urls=urls), engine, STREAM)
    assert current.body["watermark_ledger"] == 100
    for name in ("latest_ledger", "lag_seconds", "retention_margin_ledgers"):
        assert current.body[name] is None
    assert words in current.degraded[0]


async def test_the_newest_sweeps_come_first(engine: AsyncEngine, chain: localnet.Localnet) -> None:
    async with engine.begin() as connection:
        for hour in range(7):
            values = {
                "run_id": uuid.uuid4(),
                "mode": "dry",
                "extent": "full",
                "status": "complete" if hour else "running",
                "started_at": datetime(2026, 1, 1, hour, tzinfo=UTC),
                "report": {"drift": {"stale_status": hour}} if hour else None,
            }
            await connection.execute(insert(recon_tables.runs).values(values))
    sweeps = (await status.read(_settings(chain), engine, STREAM)).body["last_sweeps"]
    assert [one["started_at"] for one in sweeps] == [f"2026-01-01T0{hour}:00:00Z" for hour in (6, 5, 4, 3, 2)]
    assert sweeps[0]["drift"] == {"stale_status": 6}
    assert sweeps[0].keys() == {*("run_id", "mode", "extent", "status", "reason", "started_at", "finished_at", "drift")}


async def test_waiting_returns_as_soon_as_the_ledger_is_reached(engine: AsyncEngine) -> None:
    waiting = asyncio.create_task(status.wait(engine, scope=SCOPE, ledger=100, timeout=30))
    await _begun(engine, origin=5, through=100)
    assert await asyncio.wait_for(waiting, 10) is True
    assert await status.wait(engine, scope=SCOPE, ledger=101, timeout=0) is False


async def test_people_see_the_same_at_any_width(engine: AsyncEngine, chain: localnet.Localnet) -> None:
    await _begun(engine, origin=chain.oldest_ledger, through=chain.latest_ledger - 100)
    current = await status.read(_settings(chain), engine, STREAM)
    for width in (60, 80, 120):
        shown = io.StringIO()
        terminal_status.show(current, console=Console(width=width, file=shown))
        assert str(chain.latest_ledger - 100) in shown.getvalue()
        assert "Degraded: The tables are behind the chain by 100 ledgers." in " ".join(shown.getvalue().split())
        assert "Could not be decoded" not in shown.getvalue()


async def test_people_see_what_could_not_be_decoded(engine: AsyncEngine, chain: localnet.Localnet) -> None:
    await _begun(engine, origin=chain.oldest_ledger, through=chain.latest_ledger)
    reasons = [(CONTRACTS[0], 9 + number, f"NAME{number}", "no such [event]") for number in range(22)]
    await _undecodable(engine, *reasons, (CONTRACTS[0], 40, "NAME0", "no such [event]"))
    current = await status.read(_settings(chain), engine, STREAM)
    for width in (60, 80, 120):
        shown = io.StringIO()
        terminal_status.show(current, console=Console(width=width, file=shown))
        words = " ".join(shown.getvalue().split())
        for one in ("Could not be decoded", "CAKN…UZLG", "NAME0", "[event]", "9 to 40", "23 events could not be"):
            assert one in words, (width, one)
    assert "2 more groups" in words
