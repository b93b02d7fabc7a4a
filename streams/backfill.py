"""`chaintrue backfill`: a range of ledgers read anew from RPC, through the log, whatever is known of it already.

What is in the tables already changes nothing there; what was missed is folded in. The stream may go on meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from shared import coverage, errors, frames, kafka, position, rpc
from shared.settings import EngineSettings
from streams import beginning, filler, log_reader, topic
from streams.application import Application
from streams.filler import Hole
from streams.indexer import Scope

Progress = Callable[[int], None]
"""Is told the last ledger that was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What was read and applied; ledgers inclusive."""

    from_ledger: int
    to_ledger: int
    events: int


async def run(
    settings: EngineSettings,
    application: Application,
    *,
    engine: AsyncEngine,
    client: rpc.Client,
    first: int,
    last: int,
    on_progress: Progress = lambda _: None,
) -> Filled:
    """Read the ledgers `first` to `last` (inclusive) and wait until they are applied.

    Raises SettingError where the nodes do not hold all of them, or the log has not begun; ChaintrueError where no worker applies.
    """
    held = await client.reach()
    if not held.oldest_ledger <= first <= last <= held.latest_ledger:
        raise errors.SettingError(
            f"--from {first} --to {last}: RPC holds the ledgers {held.oldest_ledger} to {held.latest_ledger}",
            cure="name a range within these; what lies before them is superseded by the state of now, by the stream itself",
        )
    scope = await recorded_scope(settings, application)
    events = 0
    async with kafka.writer(settings.kafka) as writer:
        behind, end = position.end_of(first - 1), position.end_of(last)
        while behind < end:
            hole = Hole(range=coverage.Range(behind, end), contracts=scope.contracts)
            page = await filler.read(hole, client, scope, limit=settings.rpc.page_limit)
            if page is None:
                continue
            if not await filler.write(frames.cut(page), writer, scope, engine):
                raise errors.ChaintrueError(
                    f"the log holds the range up to ledger {position.ledger_of(page.through)}, and no worker applied it in time",
                    cure="start `chaintrue stream`, then run this again: nothing is lost, and nothing is applied twice",
                )
            behind, events = page.through, events + len(page.events)
            on_progress(position.ledger_of(behind))
    return Filled(from_ledger=first, to_ledger=last, events=events)


async def recorded_scope(settings: EngineSettings, application: Application) -> Scope:
    """The scope as its log knows it; raises SettingError where it has not begun, or knows other contracts."""
    network = settings.network.passphrase or ""
    begun = await log_reader.beginnings(settings.kafka, network=network, partitions=await topic.verify(settings.kafka))
    owned = {one.origin.scope: partition for partition, one in begun.items() if one is not None}
    if application.scope not in owned:
        raise errors.SettingError(
            f"the topic {settings.kafka.topic} holds nothing of {application.scope} yet",
            cure="start `chaintrue stream`",
        )
    partition = owned[application.scope]
    standing = await log_reader.standing(settings.kafka, network=network, partition=partition)
    if beginning.new_contracts(standing.contracts, application.contracts, scope=application.scope):
        raise errors.SettingError(
            "the settings name a contract that the log does not know yet",
            cure="start `chaintrue stream`, which adds it",
        )
    return Scope(network=network, name=application.scope, contracts=application.contracts, partition=partition)
