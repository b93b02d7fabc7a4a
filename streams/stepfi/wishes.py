"""What the observer reads next, as queries over the tables: nothing is remembered that a restart could lose.

A row asks for its entry when a fact told of it what only the entry can say (`asked_at`), and once more after an upgrade of
its contract. A loan below the creditline's counter without a row is one whose events lie before the stream, or whose creation
could not be read.
"""

from typing import NamedTuple

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.stepfi import entries


class _Wish(NamedTuple):
    query: TextClause
    kind: str


_INSTANCES = text("""
SELECT contract, NULL AS id
FROM (SELECT contract, asked_at FROM chain.contracts UNION ALL SELECT contract, asked_at FROM chain.pools) AS asking
WHERE asked_at IS NOT NULL ORDER BY asked_at, contract LIMIT :limit
""")

_LOANS = text("""
SELECT contract, loan_id::text AS id FROM chain.loans WHERE asked_at IS NOT NULL ORDER BY asked_at, key LIMIT :limit
""")

_LOANS_OF_UPGRADED = text("""
SELECT loan.contract, loan.loan_id::text AS id
FROM chain.contracts AS upgraded
JOIN chain.loans AS loan ON loan.contract = upgraded.contract AND loan.observed_at < upgraded.upgraded_at
WHERE loan.asked_at IS NULL ORDER BY loan.contract, loan.observed_at LIMIT :limit
""")

_LOANS_BEFORE_THE_STREAM = text("""
SELECT counter.contract, missing.id::text AS id
FROM chain.creditlines AS counter
CROSS JOIN LATERAL (
  SELECT id FROM generate_series(1::numeric, counter.loan_count) AS id
  WHERE (SELECT count(*) FROM chain.loans WHERE contract = counter.contract AND loan_id <= counter.loan_count)
      < counter.loan_count
    AND NOT EXISTS (SELECT FROM chain.loans WHERE contract = counter.contract AND loan_id = id)
  LIMIT :limit) AS missing
""")

_PROVIDERS = text("""
SELECT contract, provider AS id FROM chain.liquidity_positions WHERE asked_at IS NOT NULL
ORDER BY asked_at, key LIMIT :limit
""")

_PROVIDERS_OF_UPGRADED = text("""
SELECT held.contract, held.provider AS id
FROM chain.contracts AS upgraded
JOIN chain.liquidity_positions AS held ON held.contract = upgraded.contract AND held.observed_at < upgraded.upgraded_at
WHERE held.asked_at IS NULL ORDER BY held.contract, held.observed_at LIMIT :limit
""")

_VENDORS = text("""
SELECT contract, vendor AS id FROM chain.vendors WHERE asked_at IS NOT NULL ORDER BY asked_at, key LIMIT :limit
""")

_VENDORS_OF_UPGRADED = text("""
SELECT held.contract, held.vendor AS id
FROM chain.contracts AS upgraded
JOIN chain.vendors AS held ON held.contract = upgraded.contract AND held.observed_at < upgraded.upgraded_at
WHERE held.asked_at IS NULL ORDER BY held.contract, held.observed_at LIMIT :limit
""")

_ASKING = text("""
SELECT * FROM (
  SELECT 'instance' AS kind, contract, NULL AS id, asked_at FROM chain.contracts WHERE asked_at IS NOT NULL
  UNION ALL SELECT 'instance', contract, NULL, asked_at FROM chain.pools WHERE asked_at IS NOT NULL
  UNION ALL SELECT 'loan', contract, loan_id::text, asked_at FROM chain.loans WHERE asked_at IS NOT NULL
  UNION ALL SELECT 'provider', contract, provider, asked_at FROM chain.liquidity_positions WHERE asked_at IS NOT NULL
  UNION ALL SELECT 'vendor', contract, vendor, asked_at FROM chain.vendors WHERE asked_at IS NOT NULL) AS asking
ORDER BY asked_at LIMIT :limit
""")

# The answers that change no row: an entry that is absent, and one that this version cannot read.
_ANSWERED = text("""
SELECT split_part(key, ':', 2) AS key, max(position) AS position FROM chain.facts WHERE key = ANY(:absent) GROUP BY 1
UNION ALL
SELECT split_part(key, ':', 3), max(position) FROM chain.facts
WHERE key >= 'undecodable:' AND key < 'undecodable;' AND split_part(key, ':', 3) = ANY(:keys) GROUP BY 1
""")

_WISHES = (
    _Wish(_INSTANCES, "instance"),
    _Wish(_LOANS, "loan"),
    _Wish(_PROVIDERS, "provider"),
    _Wish(_VENDORS, "vendor"),
    _Wish(_LOANS_OF_UPGRADED, "loan"),
    _Wish(_PROVIDERS_OF_UPGRADED, "provider"),
    _Wish(_VENDORS_OF_UPGRADED, "vendor"),
    _Wish(_LOANS_BEFORE_THE_STREAM, "loan"),
)


async def wanted(connection: AsyncConnection, *, limit: int) -> list[str]:
    """At most `limit` ledger keys (base64), those first that other wishes stand on."""
    keys: dict[str, None] = {}
    for wish in _WISHES:
        if len(keys) >= limit:
            break
        rows = await connection.execute(wish.query, {"limit": limit - len(keys)})
        keys |= {entries.key_of(wish.kind, row.contract, row.id): None for row in rows}
    return list(keys)


async def waiting(connection: AsyncConnection, *, limit: int) -> dict[str, str]:
    """Return the oldest wishes of rows that no answer came to yet: when each ledger key was asked for, as a position."""
    asked: dict[str, str] = {}
    for row in await connection.execute(_ASKING, {"limit": limit}):
        asked.setdefault(entries.key_of(row.kind, row.contract, row.id), row.asked_at)
    if not asked:
        return {}
    parameters = {"keys": list(asked), "absent": [f"absent:{key}" for key in asked]}
    for row in await connection.execute(_ANSWERED, parameters):
        if row.position > asked.get(row.key, row.position):
            del asked[row.key]
    return asked
