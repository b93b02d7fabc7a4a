"""Drift of the application's rows, at random places that are known beforehand."""

from dataclasses import dataclass, field
from random import Random

import asyncpg

from tests.benchmarks.loanbook.book import Book

_DRIFT = """
UPDATE {table} AS row SET
  status = CASE WHEN {number} % 2 = 1 THEN row.status WHEN row.status = 'completed' THEN 'active' ELSE 'completed' END,
  remaining_balance = row.remaining_balance + CASE WHEN {number} % 2 = 1 THEN 1.25 ELSE 0 END
WHERE {key} = ANY($1)
"""


@dataclass(slots=True)
class Drift:
    """What differs of a book: it only grows. Of every two rows one has another status and one another balance."""

    book: Book
    rows_that_differ: list[int] = field(default_factory=list)
    _left: list[int] = field(init=False)

    def __post_init__(self) -> None:
        random = Random(f"drift/{self.book.loans}")  # noqa: S311 - drift has to be repeatable, not secret
        known = set(self.rows_that_differ)
        self._left = [number for number in range(1, self.book.loans + 1) if number not in known]
        random.shuffle(self._left)

    @property
    def rows(self) -> int:
        return len(self.rows_that_differ)

    async def grow_to(self, rows: int, *, peer: bool = True) -> None:
        """Change further rows until so many differ; with `peer` those of the peer's table as well."""
        more = [self._left.pop() for _ in range(rows - self.rows)]
        await self._change(more, peer=peer)
        self.rows_that_differ += more

    async def again(self) -> None:
        """Make the same rows differ once more, after all of them were repaired."""
        await self._change(self.rows_that_differ, peer=False)

    async def _change(self, numbers: list[int], *, peer: bool) -> None:
        connection = await asyncpg.connect(self.book.app_url)
        try:
            statement = _DRIFT.format(table="loans", number="row.loan_id::bigint", key="row.loan_id")
            await connection.execute(statement, [str(number) for number in numbers])
            if peer:
                await connection.execute(_DRIFT.format(table="peer", number="row.loan", key="row.loan"), numbers)
            await connection.execute(f"VACUUM (ANALYZE) loans{', peer' if peer else ''}")
        finally:
            await connection.close()

    def check(self, entities: list[str]) -> None:
        """Raise ValueError unless exactly the rows that differ were found (`loan:NUMBER`)."""
        if sorted(entities) != sorted(f"loan:{number}" for number in self.rows_that_differ):
            raise ValueError(
                f"{len(entities)} rows were found to differ, where {self.rows} do: a figure would be worthless"
            )
