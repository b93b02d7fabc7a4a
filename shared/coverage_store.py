"""The coverage of a scope as it stands in the database, and the watermark that follows from it."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import chain_tables as tables
from shared import coverage, position


@dataclass(frozen=True, slots=True)
class Watermark:
    """The highest ledger up to which all is covered, counted from the beginning of the scope.

    closed_at   close (unix seconds) of the newest ledger at or below it whose close is known; None where none is
    """

    ledger: int
    closed_at: int | None


async def read(connection: AsyncConnection, *, scope: str) -> coverage.Coverage:
    """The proven ranges of the scope."""
    table = tables.coverage
    rows = await connection.execute(
        select(table.c.after, table.c.through).where(table.c.scope == scope).order_by(table.c.after)
    )
    return tuple(coverage.Range(row.after, row.through) for row in rows)


async def watermark(connection: AsyncConnection, *, scope: str) -> Watermark | None:
    """None where the scope has not begun."""
    scopes = tables.scopes
    row = (await connection.execute(select(scopes).where(scopes.c.scope == scope))).one_or_none()
    if row is None:
        return None
    reached = coverage.reach(await read(connection, scope=scope), row.origin)
    known = row.tip is not None and row.tip <= reached
    return Watermark(position.complete_ledger(reached), row.tip_closed_at if known else None)
