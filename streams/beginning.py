"""How a scope begins in its log: at which ledger, and with which contracts."""

from collections.abc import Sequence

import structlog

from shared import errors, frames
from shared.rpc.answers import Reach
from streams.indexer import FrameSink, Scope

log = structlog.get_logger()


def first_ledger(wanted: int | None, reach: Reach) -> int:
    """The ledger that a new log begins at; raises SettingError for one that no node holds, RpcUnavailable while one is silent."""
    if wanted is None:
        return reach.oldest_ledger
    if reach.oldest_ledger <= wanted <= reach.latest_ledger:
        return wanted
    held = f"RPC holds the ledgers {reach.oldest_ledger} to {reach.latest_ledger}"
    words = f"CHAINTRUE_STREAM__START_LEDGER: {held}, so the log cannot begin at {wanted}"
    if reach.silent:
        raise errors.RpcUnavailable(f"{words} while {', '.join(reach.silent)} gives no answer")
    raise errors.SettingError(words, cure="set it within that range, or leave it unset to begin at the oldest")


def new_contracts(recorded: Sequence[str], named: Sequence[str], *, scope: str) -> tuple[str, ...]:
    """The contracts that the settings name and the log does not know; raises SettingError when they lack one that it knows."""
    if gone := sorted(set(recorded) - set(named)):
        raise errors.SettingError(
            f"the log of {scope} was begun for {', '.join(gone)}, which the settings no longer name: "
            "a contract that was replaced cannot go on in the same log",
            cure="name the recorded contracts again; or name a new CHAINTRUE_KAFKA__TOPIC and an empty database, and index anew",
        )
    return tuple(contract for contract in named if contract not in recorded)


async def begin(sink: FrameSink, scope: Scope, *, through: str) -> None:
    """Write an origin: behind this position the scope begins, or its new contracts are read as well."""
    origin = frames.Origin(network=scope.network, scope=scope.name, contracts=scope.contracts, through=through)
    await sink.write(scope.partition, [origin])
    log.info("the log begins", scope=scope.name, behind=through, contracts=len(scope.contracts))
