"""What `chaintrue status` says: how far the tables are, what they lack, and how the last sweeps ended."""

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy import status_nodes, status_observations, status_undecodable
from shared import coverage_store, rpc
from shared.coverage_store import Gap, Watermark
from shared.stepfi.settings import Settings
from streams.application import Application
from sweeper import freshness, records
from sweeper.report import json_value

MAX_LAG_SECONDS = 120
"""Behind the chain by more than this, users see what is no longer so: the status is degraded. Some twenty ledgers."""
MAX_LAG_LEDGERS = 24
POLL_SECONDS = 0.25

SWEEPS = 5
_FRESHNESS = ("tip_closed_at", "tip_age_seconds", "watermark_closed_at", "watermark_closed_ledger")
"""What `status` shows of freshness besides the lag, under the names that a report has."""


@dataclass(frozen=True, slots=True)
class Status:
    """The contract's object, and why it is not healthy where it is not."""

    body: dict[str, Any]
    degraded: tuple[str, ...]


async def read(settings: Settings, engine: AsyncEngine, application: Application) -> Status:
    """The state now; what RPC would have to tell is null where it does not answer."""
    scope = application.scope
    async with engine.connect() as connection:
        begun = await coverage_store.read_scope(connection, scope=scope)
    contracts = () if begun is None else tuple(begun.contracts)
    # Before the watermark is read: a stream that keeps up never looks late.
    nodes = await status_nodes.ask(settings, contracts=contracts)
    async with engine.connect() as connection:
        now = float((await connection.execute(text("SELECT extract(epoch FROM clock_timestamp())"))).scalar_one())
        reached = await coverage_store.watermark(connection, scope=scope)
        known = await coverage_store.read_scope(connection, scope=scope)
        gaps = await coverage_store.gaps(connection, scope=scope)
        unknown = await application.unknowable(connection)
        undecodable = await status_undecodable.read(connection)
    observations = await status_observations.look(
        engine, application, watermark=None if reached is None else reached.ledger
    )
    sweeps = [_sweep(one) for one in await records.last(engine, limit=SWEEPS)]
    figures = freshness.measure(reached or Watermark(0, None), nodes.tip if reached else None, now=now).to_json()
    body = {
        "watermark_ledger": None if reached is None else reached.ledger,
        "latest_ledger": None if nodes.tip is None else nodes.tip.ledger,
        "lag_ledgers": figures["lag_ledgers"],
        "lag_seconds": figures["lag_seconds"],
        **{name: figures[name] for name in _FRESHNESS},
        "retention_margin_ledgers": _margin(reached, nodes.health),
        "gaps": [_gap(gap) for gap in gaps],
        "observations": observations.to_json(),
        "unknown": [{"what": one.what, "count": one.count} for one in unknown],
        "undecodable_events": status_undecodable.total(undecodable),
        "undecodable": undecodable,
        "nodes": nodes.to_json(),
        "last_sweeps": sweeps,
    }
    expected = None if known is None else known.origin
    lacking = [gap for gap in gaps if not gap.is_closed and gap.range.through != expected]
    troubles = _troubles(body, lacking, nodes.silence)
    return Status(body, (*troubles, *filter(None, [observations.trouble])))


async def watermark(engine: AsyncEngine, *, scope: str) -> int:
    """The highest ledger up to which all is covered; 0 where the scope has not begun."""
    async with engine.connect() as connection:
        found = await coverage_store.watermark(connection, scope=scope)
    return 0 if found is None else found.ledger


async def wait(engine: AsyncEngine, *, scope: str, ledger: int, timeout: float) -> bool:  # noqa: ASYNC109 - the contract's word
    """Whether the watermark came to the ledger in time (seconds)."""
    deadline = time.monotonic() + timeout
    while await watermark(engine, scope=scope) < ledger:
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


def _gap(gap: Gap) -> dict[str, Any]:
    first, last = gap.ledgers
    return {
        "from_ledger": first,
        "to_ledger": last,
        "contracts": list(gap.contracts),
        "reason": gap.reason,
        "state": gap.state.value,
        "age_seconds": None if gap.noted_at is None else max(0, int(time.time()) - gap.noted_at),
    }


def _sweep(ran: records.Record) -> dict[str, Any]:
    return {name: json_value(value) for name, value in asdict(ran).items()}


def _margin(reached: Watermark | None, health: rpc.Health | None) -> int | None:
    return None if reached is None or health is None else reached.ledger + 1 - health.oldest_ledger


def _troubles(body: dict[str, Any], lacking: list[Gap], silence: str) -> list[str]:
    troubles = []
    if body["watermark_ledger"] is None:
        troubles.append("nothing was indexed yet: run `chaintrue stream`")
    if body["latest_ledger"] is None:
        troubles.append(f"how far behind the tables are is not known: {silence}")
    elif body["watermark_ledger"] is not None:
        behind = body["lag_ledgers"]
        if behind > MAX_LAG_LEDGERS or (body["lag_seconds"] or 0) > MAX_LAG_SECONDS:
            troubles.append(f"the tables are behind the chain by {_count(behind, 'ledger')}")
        if body["retention_margin_ledgers"] < 0:
            troubles.append(
                f"RPC no longer holds what comes next, {_count(-body['retention_margin_ledgers'], 'ledger')}"
            )
    troubles += [_missing(gap, latest=body["latest_ledger"]) for gap in lacking]
    if body["undecodable_events"]:
        troubles.append(f"{_count(body['undecodable_events'], 'event')} could not be decoded")
    return troubles


def _missing(gap: Gap, *, latest: int | None) -> str:
    first, last = gap.ledgers
    words = f"ledgers {first} to {last} are missing ({gap.state}): {gap.reason}"
    if latest is None or last <= latest:
        return words
    return f"{words}; the chain ends at ledger {latest}: run `chaintrue backfill --withdraw-gap`"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
