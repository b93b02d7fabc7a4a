"""After a key was written to a table where it is not unique: whether the application wrote the same key at the same time.

The key is read again in a new transaction after the commit. Transactions that were writing to the table at that moment are
waited for, within a deadline: a row of theirs is seen only once they commit.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

from sqlalchemy import text

from shared.settings import Policy
from sweeper import app_access, insert_gate, row_images
from sweeper.app_schema import AppTable
from sweeper.context import Context
from sweeper.model import Finding, Outcome

DUPLICATE_ROW = "duplicate_row"
WAIT_SECONDS = 5.0
"""For how long writers that the check met are waited for."""
_LOOK_SECONDS = 0.05

# The table, its partitions and children, and what a view reads: who inserts into one of them holds that one's lock alone. A
# prepared transaction has no process.
_WRITERS = text("""
WITH RECURSIVE tables (id) AS (
  SELECT CAST(to_regclass(:table) AS oid)
  UNION SELECT below.id FROM tables CROSS JOIN LATERAL (
    SELECT inhrelid FROM pg_inherits WHERE inhparent = tables.id
    UNION ALL SELECT read.refobjid FROM pg_rewrite AS rule JOIN pg_depend AS read ON read.objid = rule.oid
      AND read.classid = CAST('pg_rewrite' AS regclass) AND read.refclassid = CAST('pg_class' AS regclass)
      WHERE rule.ev_class = tables.id AND rule.ev_type = '1') AS below (id)
)
SELECT held.virtualtransaction AS writer FROM pg_locks AS held JOIN tables ON tables.id = held.relation
WHERE held.locktype = 'relation' AND held.mode = 'RowExclusiveLock' AND held.granted
  AND held.pid IS DISTINCT FROM pg_backend_pid()
  AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")


async def find(context: Context, table: AppTable, key: str, written: Sequence[Finding]) -> list[Finding]:
    """Return a finding for each row of the keys that were inserted, or given to a row, and have several rows by now."""
    values = [(one, (one.insert or one.update).get(key)) for one in written]
    by_key = {row_images.value_text(value) or "": one for one, value in values if value is not None}
    if insert_gate.is_unique(table, key) or not by_key:
        return []
    await _wait_for_writers(context, table)
    return [
        _duplicate(by_key[value], ids, row_id)
        for value, ids in (await _several(context, table, key, list(by_key))).items()
        for row_id in ids
    ]


async def _wait_for_writers(context: Context, table: AppTable) -> None:
    """Wait for the transactions that write to the table now; those that begin later find the committed row."""
    until = time.monotonic() + WAIT_SECONDS
    met = await _writers(context, table)
    while met and time.monotonic() < until:
        await asyncio.sleep(_LOOK_SECONDS)
        met &= await _writers(context, table)


async def _writers(context: Context, table: AppTable) -> set[str]:
    async with app_access.transaction(context.app) as connection:
        return {row.writer for row in await connection.execute(_WRITERS, {"table": table.name})}


async def _several(context: Context, table: AppTable, key: str, values: Sequence[str]) -> Mapping[str, list[str]]:
    """The ids of the rows, by key, of the keys that have more than one."""
    name = row_images.quoted(key)
    statement = text(f"""
SELECT want.value, array_agg(CAST(live.id AS text) ORDER BY live.id) AS ids
FROM unnest({row_images.array_sql("keys", table.types[key])}, CAST(:keys AS text[])) AS want (key, value)
JOIN {table.name} AS live ON live.{name} = want.key GROUP BY want.value HAVING count(*) > 1 ORDER BY want.value""")
    async with app_access.transaction(context.app) as connection:
        return {row.value: row.ids for row in await connection.execute(statement, {"keys": list(values)})}


def _duplicate(written: Finding, ids: Sequence[str], row_id: str) -> Finding:
    return Finding(
        drift_class=DUPLICATE_ROW,
        table=written.table,
        row_id=row_id,
        entity=written.entity,
        words=f"{len(ids)} rows stand for {written.entity}: the application wrote one while this run wrote another.",
        evidence={"rows": list(ids)},
        chain_key=written.chain_key,
        action=Policy.REPORT,
        outcome=Outcome.REPORTED,
    )
