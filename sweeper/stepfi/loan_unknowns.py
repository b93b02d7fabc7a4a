"""Loans that the contract gave out and our tables do not know: of an older time, archived, or made by an event that was not read.

Each of them may be the loan that a provisional row waits for, so terms prove nothing of that row. Loans are numbered in the
order in which they are made, so one that is not known was made between its neighbours.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from shared.stepfi.settings import Stepfi
from sweeper.context import Context

KNOWN = (
    "contract = :contract AND terms_since IS NOT NULL AND created_at IS NOT NULL AND borrower IS NOT NULL"
    " AND vendor IS NOT NULL AND total_amount IS NOT NULL AND guarantee_amount IS NOT NULL"
)
"""SQL on `chain.loans`: of these loans all is known that a row is compared by."""

# Loans 1 to `surely` were given out; to `last`, as far as anything tells. A number that only an unread event tells of may be no
# loan's, so it counts only for `last`, and only where the contract's own counter was not seen since.
_COUNTED = text(f"""
WITH counter AS (
  SELECT max(loan_count) AS loan_count, coalesce(max(observed_at), '') AS seen_at
  FROM chain.creditlines WHERE contract = :contract AND loan_count IS NOT NULL
)
SELECT coalesce(greatest(max(loan_id) FILTER (WHERE terms_since IS NOT NULL OR position > seen_at), loan_count), 0) AS last,
  coalesce(greatest(max(loan_id) FILTER (WHERE terms_since IS NOT NULL), loan_count), 0) AS surely,
  count(*) FILTER (WHERE {KNOWN}) AS known
FROM counter LEFT JOIN chain.loans ON contract = :contract GROUP BY loan_count
""")

_SPANS = text(f"""
WITH known AS (
  SELECT loan_id, created_at, lag(loan_id, 1, 0) OVER (ORDER BY loan_id) AS before,
    lag(created_at) OVER (ORDER BY loan_id) AS made_before
  FROM chain.loans WHERE {KNOWN}
), newest AS (SELECT loan_id, created_at FROM known ORDER BY loan_id DESC LIMIT 1)
SELECT before + 1 AS first, loan_id - 1 AS last, to_timestamp(made_before) AS earliest, to_timestamp(created_at) AS latest
FROM known WHERE loan_id - before > 1
UNION ALL
SELECT coalesce(newest.loan_id, 0) + 1, given.last, to_timestamp(newest.created_at), NULL
FROM (SELECT CAST(:last AS numeric) AS last) AS given LEFT JOIN newest ON true WHERE coalesce(newest.loan_id, 0) < given.last
ORDER BY first
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Loans `first` to `last`, none of which is known: made from `earliest` to `latest`; None where nothing bounds it."""

    first: int
    last: int
    earliest: datetime | None
    latest: datetime | None

    def __str__(self) -> str:
        return f"loan {self.first}" if self.first == self.last else f"loans {self.first} to {self.last}"

    def may_be_made(self, begin: datetime, end: datetime) -> bool:
        """Whether one of them may have been made between the two moments, both included."""
        return (self.earliest is None or self.earliest <= end) and (self.latest is None or self.latest >= begin)


def possible(spans: Iterable[Span], *, row_made_at: datetime, window: timedelta) -> tuple[str, ...]:
    """Those that a row made at this moment may be waiting for, in words."""
    return tuple(str(span) for span in spans if span.may_be_made(row_made_at, row_made_at + window))


async def given_out(context: Context, settings: Stepfi) -> int:
    """Return how many loans the contract has surely given out: they have the numbers from 1 to that."""
    async with context.chain.connect() as connection:
        return int((await connection.execute(_COUNTED, {"contract": settings.creditline})).one().surely)


async def read(context: Context, settings: Stepfi) -> list[Span]:
    """All loans that are not known, in their order."""
    contract = {"contract": settings.creditline}
    async with context.chain.connect() as connection:
        counted = (await connection.execute(_COUNTED, contract)).one()
        if counted.known == counted.last:
            return []
        found = await connection.execute(_SPANS, {**contract, "last": counted.last})
        return [
            Span(first=int(row.first), last=int(row.last), earliest=row.earliest, latest=row.latest) for row in found
        ]
