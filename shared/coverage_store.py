"""What is covered and what is superseded of a scope, as it stands in the database, and the watermark that follows from it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import chain_tables as tables
from shared import coverage, position
from shared.coverage import NOTHING, Coverage


@dataclass(frozen=True, slots=True)
class Watermark:
    """The highest ledger up to which all is covered or superseded, counted from the beginning of the scope.

    closed_at      close (unix seconds) of the newest ledger at or below it whose close is known; None where none is
    closed_ledger  that ledger: below the watermark during a catch-up, and while a gap is open
    """

    ledger: int
    closed_at: int | None
    closed_ledger: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What is closed of a scope, by contract: `covered` was read, `superseded` is told by later state."""

    covered: Mapping[str, Coverage]
    superseded: Mapping[str, Coverage]

    def of(self, contract: str) -> tuple[Coverage, Coverage]:
        """(covered, superseded) of one contract."""
        return self.covered.get(contract, NOTHING), self.superseded.get(contract, NOTHING)

    def closed(self, contract: str) -> Coverage:
        """What is either of the two."""
        return coverage.union(*self.of(contract))

    def missing(self, wanted: coverage.Range, contracts: Iterable[str]) -> Coverage:
        """What of the range is not closed of one of the contracts at least."""
        lacking: Coverage = NOTHING
        for contract in contracts:
            lacking = coverage.union(lacking, coverage.missing(self.closed(contract), wanted))
        return lacking

    def reach(self, contracts: Iterable[str], start: str) -> str:
        """The position up to which all is closed, counted from `start`."""
        return min((coverage.reach(self.closed(contract), start) for contract in contracts), default=start)


async def read(connection: AsyncConnection, *, scope: str) -> Held:
    """All that is closed of the scope."""
    return Held(
        covered=await _ranges(connection, tables.coverage, scope),
        superseded=await _ranges(connection, tables.superseded, scope),
    )


async def _ranges(connection: AsyncConnection, table: Table, scope: str) -> dict[str, Coverage]:
    columns = table.c
    query = select(columns.contract, columns.after, columns.through).where(columns.scope == scope)
    found: dict[str, Coverage] = {}
    for row in await connection.execute(query.order_by(columns.contract, columns.after)):
        found[row.contract] = coverage.add(found.get(row.contract, NOTHING), coverage.Range(row.after, row.through))
    return found


async def watermark(connection: AsyncConnection, *, scope: str) -> Watermark | None:
    """None where the scope has not begun."""
    row = await read_scope(connection, scope=scope)
    if row is None:
        return None
    reached = (await read(connection, scope=scope)).reach(row.contracts, row.origin)
    ledger = position.complete_ledger(reached)
    known = await _nearest_close(connection, ledger, scope=scope)
    closes = [] if known is None else [(known.ledger, known.closed_at)]
    # A catch-up leaves the tip behind: its pages tell none, but their events have close times.
    if row.tip is not None and row.tip <= reached:
        closes.append((position.complete_ledger(row.tip), row.tip_closed_at))
    closed_ledger, closed_at = max(closes, default=(None, None))
    return Watermark(ledger, closed_at, closed_ledger)


async def _nearest_close(connection: AsyncConnection, ledger: int, *, scope: str) -> Any:
    """The newest ledger at or below `ledger` whose close time is known; None where there is none."""
    columns = tables.closes.c
    query = select(columns.ledger, columns.closed_at).where(columns.scope == scope, columns.ledger <= ledger)
    return (await connection.execute(query.order_by(columns.bucket.desc()).limit(1))).one_or_none()


async def read_scope(connection: AsyncConnection, *, scope: str) -> Any:
    """The scope's row; None where it has not begun."""
    scopes = tables.scopes
    return (await connection.execute(select(scopes).where(scopes.c.scope == scope))).one_or_none()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A row of `chain.gaps`; `noted_at` in unix seconds, None where it is not known."""

    range: coverage.Range
    contracts: tuple[str, ...]
    reason: str
    state: coverage.GapState
    noted_at: int | None

    @property
    def is_closed(self) -> bool:
        return self.state in coverage.CLOSED_STATES

    @property
    def ledgers(self) -> tuple[int, int]:
        """The first and the last ledger that it touches."""
        after, through = self.range.after, self.range.through
        return max(1, position.complete_ledger(after) + 1), position.ledger_of(through)


async def gaps(connection: AsyncConnection, *, scope: str, closed: bool = True) -> list[Gap]:
    """The gaps of the scope, in the order of the chain; those that are closed too, or not."""
    columns = tables.gaps.c
    query = select(tables.gaps).where(columns.scope == scope).order_by(columns.after, columns.through)
    if not closed:
        query = query.where(columns.state.not_in([state.value for state in coverage.CLOSED_STATES]))
    return [
        Gap(
            range=coverage.Range(row.after, row.through),
            contracts=tuple(row.contracts),
            reason=row.reason,
            state=coverage.GapState(row.state),
            noted_at=row.noted_at,
        )
        for row in await connection.execute(query)
    ]


def missed_sql(*, contract: str, since: str, until: str) -> str:
    """A SQL condition: events of the contract in (since, until] may have been missed. The arguments are SQL expressions."""
    within = f"AND missed.through > {since} AND missed.after < {until}"
    return (
        f"(EXISTS (SELECT FROM chain.superseded AS missed WHERE missed.contract = {contract} {within})"
        f" OR EXISTS (SELECT FROM chain.gaps AS missed WHERE missed.state IN ('open', 'filling')"
        f" AND {contract} = ANY(missed.contracts) {within}))"
    )
