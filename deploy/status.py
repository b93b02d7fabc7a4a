"""What `chaintrue status` says: how far the tables are, what they lack, and how the last sweeps ended."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import coverage_store, errors, position, rpc
from shared.coverage_store import Watermark
from shared.stepfi.settings import Settings
from sweeper.report import json_value

MAX_LAG_SECONDS = 120
"""Behind the chain by more than this, users see what is no longer so: the status is degraded. Some twenty ledgers."""
MAX_LAG_LEDGERS = 24
POLL_SECONDS = 0.25

_GAPS = text("""
SELECT gap.after, gap.through, gap.reason, gap.state, scope.contracts, gap.through = scope.origin AS before_the_start
FROM chain.gaps AS gap JOIN chain.scopes AS scope USING (scope) WHERE gap.scope = :scope ORDER BY gap.after
""")
_UNDECODABLE = text("SELECT count(*) FROM chain.facts WHERE key >= 'undecodable:' AND key < 'undecodable;'")
_SWEEPS = text("""
SELECT run_id, mode, status, started_at, finished_at, report->'drift' AS drift
FROM recon.runs ORDER BY started_at DESC LIMIT 5
""")


@dataclass(frozen=True, slots=True)
class Status:
    """The contract's object, and why it is not healthy where it is not."""

    body: dict[str, Any]
    degraded: tuple[str, ...]


async def read(settings: Settings, engine: AsyncEngine, *, scope: str) -> Status:
    """The state now; what RPC would have to tell is null where it does not answer."""
    async with engine.connect() as connection:
        reached = await coverage_store.watermark(connection, scope=scope)
        gaps = [_gap(row) async for row in await connection.stream(_GAPS, {"scope": scope})]
        undecodable = (await connection.execute(_UNDECODABLE)).scalar_one()
        sweeps = [_sweep(row) for row in await connection.execute(_SWEEPS)]
    health, silence = await _ask(settings)
    body = {
        "watermark_ledger": None if reached is None else reached.ledger,
        "latest_ledger": None if health is None else health.latest_ledger,
        "lag_seconds": _lag(reached, health),
        "retention_margin_ledgers": _margin(reached, health),
        "gaps": [{name: value for name, value in gap.items() if name != "expected"} for gap in gaps],
        "undecodable_events": undecodable,
        "last_sweeps": sweeps,
    }
    return Status(body, tuple(_troubles(body, gaps, silence)))


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


async def _ask(settings: Settings) -> tuple[rpc.Health | None, str]:
    """What a node holds; or why none told."""
    try:
        settings.require("rpc.urls", "network.passphrase")
        async with rpc.Client(
            urls=settings.rpc.urls,
            passphrase=settings.network.passphrase or "",
            ca_file=settings.rpc.ca_file,
            timeout_seconds=settings.rpc.timeout_seconds,
            max_attempts=2,
            call_seconds=settings.rpc.timeout_seconds,
        ) as client:
            return await client.health(), ""
    except (errors.RpcError, errors.SettingError) as error:
        return None, str(error.args[0])


def _gap(row: Any) -> dict[str, Any]:
    return {
        "from_ledger": max(1, position.ledger_of(row.after) + position.ends_ledger(row.after)),
        "to_ledger": position.ledger_of(row.through),
        "contracts": list(row.contracts),
        "reason": row.reason,
        "state": row.state,
        "expected": row.before_the_start,
    }


def _sweep(row: Any) -> dict[str, Any]:
    names = ("run_id", "mode", "status", "started_at", "finished_at", "drift")
    return {name: json_value(getattr(row, name)) for name in names}


def _lag(reached: Watermark | None, health: rpc.Health | None) -> int | None:
    if reached is None or reached.closed_at is None or health is None or health.latest_close_time is None:
        return None
    if reached.ledger >= health.latest_ledger:
        return 0
    return max(0, health.latest_close_time - reached.closed_at)


def _margin(reached: Watermark | None, health: rpc.Health | None) -> int | None:
    return None if reached is None or health is None else reached.ledger + 1 - health.oldest_ledger


def _troubles(body: dict[str, Any], gaps: list[dict[str, Any]], silence: str) -> list[str]:
    troubles = []
    if body["watermark_ledger"] is None:
        troubles.append("nothing was indexed yet: run `chaintrue stream`")
    if body["latest_ledger"] is None:
        troubles.append(f"how far behind the tables are is not known: {silence}")
    elif body["watermark_ledger"] is not None:
        behind = body["latest_ledger"] - body["watermark_ledger"]
        if behind > MAX_LAG_LEDGERS or (body["lag_seconds"] or 0) > MAX_LAG_SECONDS:
            troubles.append(f"the tables are behind the chain by {_count(behind, 'ledger')}")
        if body["retention_margin_ledgers"] < 0:
            troubles.append(
                f"RPC no longer holds what comes next, {_count(-body['retention_margin_ledgers'], 'ledger')}"
            )
    troubles += [
        f"ledgers {gap['from_ledger']} to {gap['to_ledger']} are missing: {gap['reason']}"
        for gap in gaps
        if gap["state"] in ("open", "filling") and not gap["expected"]
    ]
    if body["undecodable_events"]:
        troubles.append(f"{_count(body['undecodable_events'], 'event')} could not be decoded")
    return troubles


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
