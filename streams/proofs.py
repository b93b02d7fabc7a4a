"""What the log proves of a scope, in PostgreSQL: where it begins, what is covered or superseded, and the gaps.

The state of a gap follows from what is covered, so it is the same whatever the order in which the frames came. A gap opens for
a `gap` record, for the time before a contract is read, and for a break in the log (`streams.breaks`), wherever that is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import structlog
from sqlalchemy import func, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import chain_tables as tables
from shared import coverage, coverage_store, errors, frames, position
from streams.breaks import Chain
from streams.digest import Begun, Digest, Noted, Proof

log = structlog.get_logger()

BEFORE_THE_START = "before the start of the stream"
BEFORE_IT_WAS_NAMED = "before the contract was added to the settings"
MISSING_IN_THE_LOG = "missing in the log: its next record begins later"


@dataclass(frozen=True, slots=True)
class _Opened:
    """A gap to be noted; `at` is when the record that shows it was written (unix seconds)."""

    range: coverage.Range
    reason: str
    at: int | None


async def record(connection: AsyncConnection, content: Digest, *, partition: int) -> None:
    """Write what a batch says of its scope. Raises FrameInvalid where the log does not begin with an origin."""
    for kind, told in groupby(content.told, key=type):
        await _record_told(connection, kind, list(told), scope=content.scope, partition=partition)
    if content.told:
        await _judge_gaps(connection, scope=content.scope)
    if content.tip is not None:
        await _record_tip(connection, *content.tip, scope=content.scope)
    if content.closes:
        await _keep_closes(connection, content.closes, scope=content.scope)
    if content.anchors:
        await _keep_anchors(connection, content.anchors, scope=content.scope)


async def _record_told(
    connection: AsyncConnection, kind: type, told: Sequence[Any], *, scope: str, partition: int
) -> None:
    """Write what frames of one kind, next to each other in the log, have told."""
    if kind is Begun:
        for begun in told:
            await _record_origin(connection, begun.origin, begun.at, partition=partition)
        return
    contracts = await _contracts(connection, scope=scope, partition=partition)
    if kind is Noted:
        for noted in told:
            gap = noted.gap
            opened = _Opened(coverage.Range(gap.after, gap.through), gap.reason, noted.at)
            await _note(connection, opened, contracts, scope=scope)
    else:
        await _close(connection, told, scope=scope, contracts=contracts)


async def _contracts(connection: AsyncConnection, *, scope: str, partition: int) -> tuple[str, ...]:
    """The contracts that the scope has named so far; raises FrameInvalid where it has not begun in this partition."""
    known = await coverage_store.read_scope(connection, scope=scope)
    if known is None or known.partition != partition:
        raise errors.FrameInvalid(
            f"partition {partition} tells of {scope}, which has not begun there",
            cure="point CHAINTRUE_DATABASE__URL and CHAINTRUE_KAFKA__TOPIC at what belongs together",
        )
    return tuple(known.contracts)


async def _record_origin(connection: AsyncConnection, origin: frames.Origin, at: int | None, *, partition: int) -> None:
    """Begin the scope, or add contracts to it. What lies before the position is not read of those that are new: a gap.

    An origin that names nothing new withdraws the gaps behind its position (`streams.withdrawal`). One of another indexer that
    began at the same moment finds none there.
    """
    known = await coverage_store.read_scope(connection, scope=origin.scope)
    held: Sequence[str] = () if known is None else known.contracts
    new = [contract for contract in origin.contracts if contract not in held]
    if not new:
        await _withdraw(connection, origin.through, scope=origin.scope)
        return
    if known is None:
        row = {
            "scope": origin.scope,
            "partition": partition,
            "network": origin.network,
            "contracts": new,
            "origin": origin.through,
            "began_at": at,
        }
        await connection.execute(insert(tables.scopes).values(row))
    else:
        statement = update(tables.scopes).where(tables.scopes.c.scope == origin.scope)
        await connection.execute(statement.values(contracts=[*held, *new]))
    if origin.through > position.START:
        reason = BEFORE_THE_START if known is None else BEFORE_IT_WAS_NAMED
        opened = _Opened(coverage.Range(position.START, origin.through), reason, at)
        await _note_for(connection, opened, new, scope=origin.scope)


async def _withdraw(connection: AsyncConnection, through: str, *, scope: str) -> None:
    """Cut what gaps claim, and what is superseded, at the position: the stream goes on there. What was read stays read."""
    await _judge_gaps(connection, scope=scope)  # which are filled by now must not depend on where batches end
    for table in (tables.gaps, tables.superseded):
        columns = table.c
        claims = [columns.scope == scope, columns.through > through]
        if table is tables.gaps:
            claims.append(columns.state != coverage.GapState.FILLED.value)
        rows = [dict(row._mapping) for row in await connection.execute(table.delete().where(*claims).returning(table))]
        kept = [row | {"through": through} for row in rows if row["after"] < through]
        if kept:
            await connection.execute(upsert(table).values(kept).on_conflict_do_nothing())


async def _note(connection: AsyncConnection, opened: _Opened, contracts: Sequence[str], *, scope: str) -> None:
    """Write the row of a gap, unless there is one of the same range."""
    row = {
        "scope": scope,
        "after": opened.range.after,
        "through": opened.range.through,
        "contracts": list(contracts),
        "reason": opened.reason,
        "state": coverage.GapState.OPEN.value,
        "noted_at": opened.at,
    }
    await connection.execute(upsert(tables.gaps).values(row).on_conflict_do_nothing())


async def _note_for(connection: AsyncConnection, opened: _Opened, contracts: Sequence[str], *, scope: str) -> None:
    """Write the row of a gap of these contracts; where there is one of the same range, name them there as well."""
    await _note(connection, opened, contracts, scope=scope)
    columns = tables.gaps.c
    where = (columns.scope == scope, columns.after == opened.range.after, columns.through == opened.range.through)
    known = (await connection.execute(select(columns.contracts).where(*where))).scalar_one()
    if added := [contract for contract in contracts if contract not in known]:
        values = {"contracts": [*known, *added], "state": coverage.GapState.OPEN.value}
        await connection.execute(update(tables.gaps).where(*where).values(values))


async def _close(
    connection: AsyncConnection, proofs: Iterable[Proof], *, scope: str, contracts: tuple[str, ...]
) -> None:
    held = await coverage_store.read(connection, scope=scope)
    covered = dict(held.covered)
    chain = Chain(await _accounted(connection, held, scope=scope))
    for proof in proofs:
        named = proof.contracts or contracts
        for missing, lacking in chain.take(proof, named).items():
            ends = {"after": missing.after, "through": missing.through}
            log.error("records are missing in the log; a gap is opened", scope=scope, **ends)
            await _note_for(connection, _Opened(missing, MISSING_IN_THE_LOG, proof.at), lacking, scope=scope)
        for contract in named:
            if proof.ledger is not None:
                await _supersede(connection, proof.range, proof.ledger, scope=scope, contract=contract)
            else:
                covered[contract] = coverage.add(covered.get(contract, coverage.NOTHING), proof.range)
    await _extend(connection, held.covered, covered, scope=scope)


async def _accounted(
    connection: AsyncConnection, held: coverage_store.Held, *, scope: str
) -> dict[str, coverage.Coverage]:
    """Return what is covered, superseded or a gap, by contract."""
    accounted = {contract: held.closed(contract) for contract in {*held.covered, *held.superseded}}
    for gap in await coverage_store.gaps(connection, scope=scope, closed=False):
        for contract in gap.contracts:
            accounted[contract] = coverage.add(accounted.get(contract, coverage.NOTHING), gap.range)
    return accounted


async def _extend(
    connection: AsyncConnection,
    before: Mapping[str, coverage.Coverage],
    now: Mapping[str, coverage.Coverage],
    *,
    scope: str,
) -> None:
    """Write the coverage of the contracts that gained some."""
    table = tables.coverage
    new: list[dict[str, Any]] = []
    for contract, ranges in sorted(now.items()):
        held = before.get(contract, coverage.NOTHING)
        gone = [one.after for one in held if one not in ranges]
        if gone:
            columns = table.c
            await connection.execute(
                table.delete().where(columns.scope == scope, columns.contract == contract, columns.after.in_(gone))
            )
        new += [
            {"scope": scope, "contract": contract, "after": one.after, "through": one.through}
            for one in ranges
            if one not in held
        ]
    if new:
        await connection.execute(insert(table), new)


async def _supersede(
    connection: AsyncConnection, held: coverage.Range, ledger: int, *, scope: str, contract: str
) -> None:
    row = {"scope": scope, "contract": contract, "after": held.after, "through": held.through, "ledger": ledger}
    statement = upsert(tables.superseded).values(row)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["scope", "contract", "after", "through"],
            set_={"ledger": func.greatest(tables.superseded.c.ledger, statement.excluded.ledger)},
        )
    )


async def _judge_gaps(connection: AsyncConnection, *, scope: str) -> None:
    """Bring the states of the gaps up to date. None opens again: coverage only grows. One that is superseded may yet be read."""
    gaps = [
        gap for gap in await coverage_store.gaps(connection, scope=scope) if gap.state is not coverage.GapState.FILLED
    ]
    if not gaps:
        return
    held = await coverage_store.read(connection, scope=scope)
    columns = tables.gaps.c
    for gap in gaps:
        state = coverage.gap_state(gap.range, map(held.of, gap.contracts))
        if state is not gap.state:
            where = (columns.scope == scope, columns.after == gap.range.after, columns.through == gap.range.through)
            await connection.execute(update(tables.gaps).where(*where).values(state=state.value))


async def _record_tip(connection: AsyncConnection, through: str, closed_at: int, *, scope: str) -> None:
    scopes = tables.scopes
    await connection.execute(
        update(scopes)
        .where(scopes.c.scope == scope)
        .where(scopes.c.tip.is_(None) | (tuple_(scopes.c.tip, scopes.c.tip_closed_at) < tuple_(through, closed_at)))
        .values(tip=through, tip_closed_at=closed_at)
    )


async def _keep_anchors(connection: AsyncConnection, anchors: Mapping[int, frames.Event], *, scope: str) -> None:
    """The first of two events stays, whichever came first."""
    table = tables.anchors
    rows = [
        {"scope": scope, "bucket": bucket, "position": event.id, "contract": event.contract, "tx_hash": event.tx_hash}
        for bucket, event in sorted(anchors.items())
    ]
    statement = upsert(table).values(rows)
    new = statement.excluded
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["scope", "bucket"],
            set_={"position": new.position, "contract": new.contract, "tx_hash": new.tx_hash},
            where=new.position < table.c.position,
        )
    )


async def _keep_closes(connection: AsyncConnection, closes: Mapping[int, tuple[int, int]], *, scope: str) -> None:
    """The newest ledger of a stretch stays, whichever frame came first."""
    table = tables.closes
    rows = [
        {"scope": scope, "bucket": bucket, "ledger": ledger, "closed_at": closed_at}
        for bucket, (ledger, closed_at) in sorted(closes.items())
    ]
    statement = upsert(table).values(rows)
    new = statement.excluded
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["scope", "bucket"],
            set_={"ledger": new.ledger, "closed_at": new.closed_at},
            where=tuple_(new.ledger, new.closed_at) > tuple_(table.c.ledger, table.c.closed_at),
        )
    )
