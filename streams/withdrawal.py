"""`chaintrue backfill --withdraw-gap`: takes back gaps that claim more ledgers than the chain has.

Such a gap came of an answer of another network, in versions that believed one answer. Nothing is read behind it, for no node has
come so far. An `origin` record that names no new contract withdraws it: the stream goes on behind the position that it names.
Whatever of the gap is lost all the same is noted as a gap once more, so that to withdraw one too many does no harm.
"""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from shared import applied, coverage, coverage_store, errors, frames, kafka, position, rpc
from shared.coverage_store import Gap
from shared.settings import EngineSettings
from streams import anchor, backfill, second_look
from streams.application import Application
from streams.filler import APPLY_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """The gaps, and the ledger behind which the stream goes on; None where there was none to withdraw."""

    gaps: tuple[Gap, ...]
    behind_ledger: int | None


async def run(
    settings: EngineSettings, application: Application, *, engine: AsyncEngine, client: rpc.Client
) -> Withdrawn:
    """Withdraw every gap that ends beyond the newest ledger of all nodes, and wait until that is applied.

    Raises RpcUnavailable where a node gives no answer, ChainReset where the nodes hold another chain than the one that was read,
    ChaintrueError where no worker applies.
    """
    reach = await second_look.reach(client)
    if reach.silent:
        raise errors.RpcUnavailable(
            f"which ledgers the chain has is not known while {', '.join(reach.silent)} gives no answer",
            cure="start the node, or remove it from CHAINTRUE_RPC__URLS",
        )
    scope = await backfill.recorded_scope(settings, application)
    await anchor.check_chain(engine, client, scope=scope.name)
    gaps = await beyond(engine, scope=scope.name, latest=reach.latest_ledger)
    if not gaps:
        return Withdrawn(gaps=(), behind_ledger=None)
    through = min(gap.range.after for gap in gaps)
    origin = frames.Origin(network=scope.network, scope=scope.name, contracts=scope.contracts, through=through)
    async with kafka.writer(settings.kafka) as writer:
        (offset,) = await writer.write(scope.partition, [origin])
    if not await applied.wait(engine, partition=scope.partition, offset=offset, seconds=APPLY_SECONDS):
        raise errors.ChaintrueError(
            f"the log withdraws the gaps behind ledger {position.ledger_of(through)}, and no worker applied it in time",
            cure="start `chaintrue stream`: it applies what the log holds",
        )
    return Withdrawn(gaps=tuple(gaps), behind_ledger=position.ledger_of(through))


async def beyond(engine: AsyncEngine, *, scope: str, latest: int) -> list[Gap]:
    """Return the gaps that end beyond the ledger and were not filled; not the one before the beginning of the log."""
    async with engine.connect() as connection:
        known = await coverage_store.read_scope(connection, scope=scope)
        gaps = await coverage_store.gaps(connection, scope=scope)
    return [gap for gap in gaps if known is not None and ends_beyond(gap, latest=latest, origin=known.origin)]


def ends_beyond(gap: Gap, *, latest: int, origin: str) -> bool:
    """Whether the gap claims ledgers that the chain does not have yet."""
    is_claim = gap.state is not coverage.GapState.FILLED and gap.range.through != origin
    return is_claim and gap.range.through > position.end_of(latest)
