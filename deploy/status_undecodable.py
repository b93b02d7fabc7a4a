"""What could not be decoded, for `chaintrue status`: by contract, event and reason, the most frequent first.

The key range `undecodable:` is read through the primary key, so the cost is that of what could not be decoded, however many
facts there are.
"""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import position

SHOWN = 20
"""Groups that are listed; the rest is counted in one line behind them."""

_GROUPS = text("""
WITH groups AS (
  SELECT nullif(split_part(key, ':', 2), '') AS contract, kind AS event, problem AS reason,
    count(*) AS count, min(position) AS first, max(position) AS last,
    row_number() OVER (ORDER BY count(*) DESC, min(position), split_part(key, ':', 2), kind, problem) AS place
  FROM chain.facts WHERE key >= 'undecodable:' AND key < 'undecodable;'
  GROUP BY split_part(key, ':', 2), kind, problem)
SELECT least(place, :shown + 1) AS place, count(*) AS groups, min(contract) AS contract, min(event) AS event,
  min(reason) AS reason, CAST(sum(count) AS bigint) AS count, min(first) AS first, max(last) AS last
FROM groups GROUP BY 1 ORDER BY 1
""")


async def read(connection: AsyncConnection) -> list[dict[str, Any]]:
    """At most SHOWN groups and one for the rest, whose contract and event are None; the counts add up to all there is."""
    return [_group(row) for row in await connection.execute(_GROUPS, {"shown": SHOWN})]


def total(groups: list[dict[str, Any]]) -> int:
    """How many events and entries could not be decoded."""
    return sum(group["count"] for group in groups)


def _group(row: Any) -> dict[str, Any]:
    rest = row.place > SHOWN
    return {
        "contract": None if rest else row.contract,
        "event": None if rest else row.event,
        "reason": f"{row.groups} more groups" if rest and row.groups > 1 else "1 more group" if rest else row.reason,
        "count": row.count,
        "first_ledger": position.ledger_of(row.first),
        "last_ledger": position.ledger_of(row.last),
    }
