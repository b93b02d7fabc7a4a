"""StepFi's entities, one kind after the other, that were not observed behind a position: what is re-read where events are lost.

Loans are numbered without gaps, so the counter tells all of them; scores and pool are in their instances. Providers and vendors
are those that were ever seen: no entry lists them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import coverage_store
from shared.stepfi import entries
from streams.application import Unknown, Unseen


class _Kind(NamedTuple):
    """Its query gives contract, id and a key that orders them; `:after` is the key of the last one before."""

    name: str
    query: TextClause


_KINDS = (
    _Kind(
        "instance",
        text("""
SELECT contract, NULL AS id, key AS place FROM chain.contracts
WHERE contract = ANY(:contracts) AND (observed_at IS NULL OR observed_at <= :since) AND key > :after
ORDER BY key LIMIT :limit
"""),
    ),
    _Kind(
        "loan",
        text("""
SELECT counter.contract, numbered.id::text AS id, lpad(numbered.id::text, 20, '0') AS place
FROM chain.creditlines AS counter
CROSS JOIN LATERAL generate_series(CAST('0' || :after AS numeric) + 1, counter.loan_count) AS numbered (id)
LEFT JOIN chain.loans AS loan ON loan.contract = counter.contract AND loan.loan_id = numbered.id
WHERE counter.contract = ANY(:contracts) AND (loan.observed_at IS NULL OR loan.observed_at <= :since)
ORDER BY numbered.id LIMIT :limit
"""),
    ),
    _Kind(
        "provider",
        text("""
SELECT contract, provider AS id, key AS place FROM chain.liquidity_positions
WHERE contract = ANY(:contracts) AND (observed_at IS NULL OR observed_at <= :since) AND key > :after
ORDER BY key LIMIT :limit
"""),
    ),
    _Kind(
        "vendor",
        text("""
SELECT contract, vendor AS id, key AS place FROM chain.vendors
WHERE contract = ANY(:contracts) AND (observed_at IS NULL OR observed_at <= :since) AND key > :after
ORDER BY key LIMIT :limit
"""),
    ),
)

_SEEN_SINCE = text("""
SELECT min(observed_at) AS seen FROM (
  SELECT contract, observed_at FROM chain.contracts
  UNION ALL SELECT contract, observed_at FROM chain.loans
  UNION ALL SELECT contract, observed_at FROM chain.liquidity_positions
  UNION ALL SELECT contract, observed_at FROM chain.vendors) AS each
WHERE contract = ANY(:contracts) AND observed_at > :since
""")

_COST_MISSED = coverage_store.missed_sql(contract="held.contract", since="held.cost_since", until="held.position")
_UNKNOWABLE = text(f"""
SELECT loans.*, positions.*
FROM (
  SELECT count(*) FILTER (WHERE status = 'Paid' AND completed_at IS NULL) AS completed,
    count(*) FILTER (WHERE status = 'Defaulted' AND defaulted_at IS NULL) AS defaulted,
    count(*) FILTER (WHERE created_tx IS NULL) AS created
  FROM chain.loans) AS loans,
(
  SELECT count(*) AS cost FROM chain.liquidity_positions AS held
  WHERE shares <> 0 AND (cost IS NULL OR {_COST_MISSED})) AS positions
""")

_WORDS = {
    "completed": "when loans were completed",
    "defaulted": "when loans were defaulted",
    "created": "by which transactions loans were made",
    "cost": "what liquidity positions cost",
}


async def unseen(
    connection: AsyncConnection, *, since: str, contracts: Sequence[str], after: str | None, limit: int
) -> Unseen:
    """At most `limit` of them; the cursor is `<kind>:<place>`. A kind's last page is not filled up with the next kind."""
    name, _, place = (after or f"{_KINDS[0].name}:").partition(":")
    number = next(number for number, kind in enumerate(_KINDS) if kind.name == name)
    kind = _KINDS[number]
    parameters = {"since": since, "contracts": list(contracts), "after": place, "limit": limit}
    rows = (await connection.execute(kind.query, parameters)).all()
    keys = [entries.key_of(kind.name, row.contract, row.id) for row in rows]
    if len(rows) == limit:
        return Unseen(keys, f"{kind.name}:{rows[-1].place}")
    following = _KINDS[number + 1].name if number + 1 < len(_KINDS) else None
    return Unseen(keys, None if following is None else f"{following}:")


async def seen_since(connection: AsyncConnection, *, since: str, contracts: Sequence[str]) -> str | None:
    """The oldest of the observations behind `since`; entries that are absent have none."""
    parameters = {"since": since, "contracts": list(contracts)}
    found: str | None = (await connection.execute(_SEEN_SINCE, parameters)).scalar_one()
    return found


async def unknowable(connection: AsyncConnection) -> list[Unknown]:
    """What the entries do not tell, where the events that would are lost."""
    counts = (await connection.execute(_UNKNOWABLE)).one()._mapping
    return [Unknown(words, counts[name]) for name, words in _WORDS.items() if counts[name]]
