"""Expected against actual, whatever the table: pages of rows with their entities, entities without rows, rules in order.

Both directions are read in keyset pages, each in a short transaction of its own, by indexed keys alone: memory is bounded by
the page, and neither database holds a snapshot for long. A subclass says what is read and which rules apply.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy import text

from sweeper import app_access
from sweeper.context import Compared, Context
from sweeper.model import Finding, Row

PAGE_ROWS = 1000
"""Rows in memory at once, on each side."""

E = TypeVar("E")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row with its entity; either may be missing. `related` is what the subclass looked up beside them."""

    row: Row | None
    expected: Row | None
    related: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys of `chain` that belong to the table's entities: from `first` up to, and without, `end`."""

    first: str
    end: str

    @classmethod
    def of_prefix(cls, prefix: str) -> "KeyRange":
        """All keys that begin with the prefix, which ends with a colon."""
        return cls(prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1))


class Comparison(ABC, Generic[E]):
    """A subject of the sweep (see `sweeper.context.Subject`). `E` is what the rules are given beside the case."""

    table: str
    required: tuple[str, ...]
    optional: bool = False
    row_key: str
    """The app's column that names the entity."""

    @abstractmethod
    def app_query(self, context: Context) -> str:
        """SELECT … FROM the table AS row, with `row.id` and the columns that the rules need; no WHERE."""

    @abstractmethod
    def expected_query(self) -> tuple[str, Mapping[str, Any]]:
        """SELECT … FROM a table of `chain` AS entity, with `entity.key`, in the app's words and units; and its parameters."""

    @abstractmethod
    def key_range(self) -> KeyRange: ...

    @abstractmethod
    def chain_key(self, row: Row, surroundings: E) -> str | None:
        """The key of the row's entity; None where it has none."""

    @abstractmethod
    def app_key(self, expected: Row) -> str:
        """What `row_key` holds in the entity's row."""

    @abstractmethod
    async def surroundings(self, context: Context) -> E:
        """What is looked up once for all rows."""

    @abstractmethod
    def rules(self) -> Sequence[Callable[[Case, E], Finding | None]]:
        """One pure function a drift class, in their precedence."""

    async def relate(self, context: Context, rows: Sequence[Row], expected: Mapping[str, Row]) -> dict[str, Any]:  # noqa: ARG002
        """What a page of rows needs beside its entities, for all of its cases."""
        return {}

    # The whole table

    async def survey(self, context: Context) -> AsyncIterator[Finding]:
        """All findings, both ways."""
        surroundings = await self.surroundings(context)
        compared = context.compared.setdefault(self.table, Compared())
        async for rows in self._app_pages(context):
            compared.app_rows += len(rows)
            for case in await self._cases(context, rows, surroundings):
                finding = self.classify(case, surroundings)
                if finding is not None:
                    yield finding
        async for page in self._expected_pages(context):
            compared.expected_rows += len(page)
            for case in await self._missing(context, page):
                finding = self.classify(case, surroundings)
                if finding is not None:
                    yield finding

    def classify(self, case: Case, surroundings: E) -> Finding | None:
        """The first class that matches."""
        return next((finding for rule in self.rules() if (finding := rule(case, surroundings)) is not None), None)

    # The second look

    async def look_again(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """Those that are found again, of the same class, as they are now."""
        surroundings = await self.surroundings(context)
        before = {finding.identity: finding for finding in findings}
        again: list[Finding] = []
        ids = [finding.row_id for finding in findings if finding.row_id is not None]
        keys = [finding.chain_key for finding in findings if finding.row_id is None and finding.chain_key is not None]
        for some in pages(ids, PAGE_ROWS):
            rows = await self._app_rows(context, "row.id = ANY(CAST(:ids AS uuid[]))", {"ids": list(some)})
            cases = await self._cases(context, rows, surroundings)
            again += [one for case in cases if (one := self.classify(case, surroundings)) is not None]
        for some in pages(keys, PAGE_ROWS):
            expected = await self._expected_by_key(context, some)
            cases = await self._missing(context, list(expected.values()))
            again += [one for case in cases if (one := self.classify(case, surroundings)) is not None]
        return [one for one in again if one.identity in before and before[one.identity].drift_class == one.drift_class]

    async def confirm(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:  # noqa: ARG002
        """Nothing to ask: the events themselves are the proof."""
        return list(findings)

    # Reading

    async def _cases(self, context: Context, rows: Sequence[Row], surroundings: E) -> list[Case]:
        keys = {row["id"]: self.chain_key(row, surroundings) for row in rows}
        expected = await self._expected_by_key(context, [key for key in keys.values() if key is not None])
        related = await self.relate(context, rows, expected)
        return [Case(row=row, expected=expected.get(keys[row["id"]] or ""), related=related) for row in rows]

    async def _missing(self, context: Context, page: Sequence[Row]) -> list[Case]:
        keys = [self.app_key(expected) for expected in page]
        column = f"row.{self.row_key}"
        statement = text(f"SELECT {column} AS key FROM {self.table} AS row WHERE {column} = ANY(:keys)")
        async with app_access.transaction(context.app) as connection:
            present = {found.key for found in await connection.execute(statement, {"keys": keys})}
        absent = [expected for expected in page if self.app_key(expected) not in present]
        if not absent:
            return []
        related = await self.relate(context, [], {expected["key"]: expected for expected in absent})
        return [Case(row=None, expected=expected, related=related) for expected in absent]

    async def _app_pages(self, context: Context) -> AsyncIterator[list[Row]]:
        after: object = None
        while True:
            predicate = "row.id > :after" if after is not None else "true"
            rows = await self._app_rows(context, predicate, {"after": after} if after is not None else {})
            if rows:
                yield rows
            if len(rows) < PAGE_ROWS:
                return
            after = rows[-1]["id"]

    async def _app_rows(self, context: Context, predicate: str, parameters: Mapping[str, Any]) -> list[Row]:
        statement = f"{self.app_query(context)} WHERE {predicate} ORDER BY row.id LIMIT {PAGE_ROWS}"
        async with app_access.transaction(context.app) as connection:
            return [dict(row._mapping) for row in await connection.execute(text(statement), parameters)]

    async def _expected_pages(self, context: Context) -> AsyncIterator[list[Row]]:
        keys = self.key_range()
        after = keys.first
        while True:
            rows = await self._expected(
                context,
                f"entity.key > :after AND entity.key < :end ORDER BY entity.key LIMIT {PAGE_ROWS}",
                {"after": after, "end": keys.end},
            )
            if rows:
                yield rows
            if len(rows) < PAGE_ROWS:
                return
            after = rows[-1]["key"]

    async def _expected_by_key(self, context: Context, keys: Sequence[str]) -> dict[str, Row]:
        if not keys:
            return {}
        rows = await self._expected(context, "entity.key = ANY(:keys)", {"keys": list(keys)})
        return {row["key"]: row for row in rows}

    async def _expected(self, context: Context, predicate: str, parameters: Mapping[str, Any]) -> list[Row]:
        query, constants = self.expected_query()
        async with context.chain.connect() as connection:
            result = await connection.execute(text(f"{query} WHERE {predicate}"), {**constants, **parameters})
            return [dict(row._mapping) for row in result]


def pages(items: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    """The items in pieces of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
