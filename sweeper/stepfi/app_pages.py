"""Reading rows of the application in keyset pages, each in a short transaction of its own."""

from collections.abc import AsyncIterator

from sqlalchemy import text

from sweeper import app_access
from sweeper.comparison import pages as pieces
from sweeper.context import Context
from sweeper.digest import match
from sweeper.digest.match import Ids
from sweeper.model import Row

PAGE_ROWS = 500


async def pages(context: Context, query: str) -> AsyncIterator[list[Row]]:
    """Yield the rows of a query with `row.id` and a WHERE, in the order of their ids."""
    after: object = None
    while True:
        bound = "" if after is None else " AND row.id > :after"
        statement = text(f"{query}{bound} ORDER BY row.id LIMIT {PAGE_ROWS}")
        async with context.paces["app"].working(), app_access.transaction(context.app) as connection:
            result = await connection.execute(statement, {} if after is None else {"after": after})
            rows: list[Row] = [dict(row._mapping) for row in result]
        if rows:
            yield rows
        if len(rows) < PAGE_ROWS:
            return
        after = rows[-1]["id"]


async def of_ids(context: Context, query: str, ids: Ids) -> AsyncIterator[list[Row]]:
    """Yield the rows of a query with `row.id` and a WHERE that are among the ids."""
    statement = text(f"{query} AND row.id = ANY(CAST(CAST(:ids AS text[]) AS uuid[])) ORDER BY row.id")
    for some in pieces(ids, PAGE_ROWS):
        async with context.paces["app"].working(), app_access.transaction(context.app) as connection:
            found = await connection.execute(statement, {"ids": match.texts(some)})
            rows: list[Row] = [dict(row._mapping) for row in found]
        if rows:
            yield rows
