"""Do the log, the tables and the chain still belong together? Asked before the indexer goes on, and when a node is behind it.

A test network is reset now and then: its name stays, its ledger numbers begin anew. So an event is kept for every thousand
ledgers, the first of them (`chain.anchors`), and one that the node ought to hold has to be there still. The order of close
times tells the rest: no ledger behind ours may have closed before it.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import chain_tables as tables
from shared import coverage_store, errors, position, same_log
from shared.rpc.answers import EventPage, Health
from shared.rpc.tip import Close, contradict
from streams.log_reader import Beginning

log = structlog.get_logger()

PAUSE_SECONDS = 2.0
EDGE_LEDGERS = 64
"""So close to the oldest ledger an event may be gone before it is asked for."""
_CURE = "the ledgers of before are gone: name a new CHAINTRUE_KAFKA__TOPIC and an empty database, and index anew"


class Source(Protocol):
    """What is needed of the RPC client."""

    async def health(self, *, fenced: bool = True) -> Health: ...
    async def events(self, *, contracts: Sequence[str], start_ledger: int, limit: int = 1000) -> EventPage: ...


async def check_log(engine: AsyncEngine, beginning: Beginning | None, *, scope: str, topic: str) -> None:
    """Raise TopicInvalid where the tables were filled from another log than this one; an empty one would be begun anew."""
    async with engine.connect() as connection:
        known = await coverage_store.read_scope(connection, scope=scope)
    if known is None:
        return
    if beginning is None:
        raise errors.TopicInvalid(
            f"the topic {topic} holds nothing of {scope}, which the database was filled with: its records were deleted",
            cure=f"restore them; or give the new topic an empty database; or {same_log.BELONG_TOGETHER}",
        )
    same_log.check_began(known.began_at, beginning.at, topic=topic)


async def check_chain(engine: AsyncEngine, source: Source, *, scope: str) -> None:
    """Raise ChainReset where the nodes no longer hold the chain that the tables tell of, in two looks, some seconds apart."""
    try:
        await _look(engine, source, scope=scope)
    except errors.ChainReset as error:
        log.warning("the nodes seem to hold another chain; looking once more", error=str(error.args[0]))
        await asyncio.sleep(PAUSE_SECONDS)
        await _look(engine, source, scope=scope)


async def _look(engine: AsyncEngine, source: Source, *, scope: str) -> None:
    held = await source.health(fenced=False)
    columns = tables.anchors.c
    first, last = position.end_of(held.oldest_ledger + EDGE_LEDGERS), position.end_of(held.latest_ledger)
    query = select(columns.position, columns.contract, columns.tx_hash).where(
        columns.scope == scope, columns.position > first, columns.position <= last
    )
    async with engine.connect() as connection:
        known = await coverage_store.read_scope(connection, scope=scope)
        kept = (await connection.execute(query.order_by(columns.position.desc()).limit(1))).one_or_none()
    if known is None:
        return
    tip = None if known.tip is None else (position.ledger_of(known.tip), known.tip_closed_at)
    if words := contradiction(held, origin=position.ledger_of(known.origin), tip=tip):
        raise errors.ChainReset(words, cure=_CURE)
    if kept is not None:
        await _check_event(source, kept)


def contradiction(held: Health, *, origin: int, tip: tuple[int, int] | None) -> str | None:
    """Why a node's range is not of the chain whose ledger `origin` we began behind, and `tip` (ledger, close) read; or None.

    Where close times are known they decide: a backend that is late may be behind the ledger that we began with.
    """
    if tip is None or held.latest_close_time is None or held.oldest_close_time is None:
        if held.latest_ledger >= origin:
            return None
        return (
            f"the latest ledger of {held.node} is {held.latest_ledger}, and we began with ledger {origin + 1}: "
            "ledger numbers began anew"
        )
    ledger, closed_at = tip
    for told in (Close(held.oldest_ledger, held.oldest_close_time), Close(held.latest_ledger, held.latest_close_time)):
        if contradict(told, Close(*tip)):
            return (
                f"{held.node} says that ledger {told.ledger} closed at {told.closed_at}; ledger {ledger} closed at {closed_at}: "
                "no chain has both"
            )
    return None


async def _check_event(source: Source, kept: Any) -> None:
    """Reading always begins with a whole ledger, so what is kept is the first event that its contract has in its ledger."""
    ledger = position.ledger_of(kept.position)
    try:
        page = await source.events(contracts=[kept.contract], start_ledger=ledger, limit=1)
    except errors.LedgerOutOfRange:
        return  # the range moved on, or another node answered: the next check tells
    first = page.events[0] if page.events else None
    if first is None or (first.id, first.tx_hash) != (kept.position, kept.tx_hash):
        found = "another event" if first is not None and first.ledger == ledger else "none"
        raise errors.ChainReset(
            f"ledger {ledger} of {page.node} has {found} where event {kept.position} of transaction {kept.tx_hash} was read: "
            "the network was reset",
            cure=_CURE,
        )
