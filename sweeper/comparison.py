"""Expected against actual, whatever the table: the digests say which rows need a look, the rules say what they are.

Candidates are read in pages, each in a short transaction of its own: memory is bounded by the page, and neither database
holds a snapshot for long. A subclass says what is read, what of it is hashed, and which rules apply.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from sqlalchemy import text

from sweeper import app_access, long_values, same_key
from sweeper.context import Compared, Context, Since
from sweeper.digest import match, sides
from sweeper.digest.diff import Difference
from sweeper.digest.match import Ids
from sweeper.digest.spec import Digest
from sweeper.model import Finding, Row
from sweeper.same_key import SameKey
from sweeper.storage import Storage

PAGE_ROWS = 1000
"""Rows in memory at once, on each side."""
CHANGED_KEYS = 5000
"""Changed entities that are hashed at once."""

E = TypeVar("E")
Sliced = TypeVar("Sliced", Sequence[str], Ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row with its entity; either may be missing. `related` is what the subclass looked up beside them.

    `same_key`: the rows that share the key of this one, where there are others.
    """

    row: Row | None
    expected: Row | None
    related: Mapping[str, Any] = field(default_factory=dict)
    same_key: SameKey | None = None


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
    expected_table: str
    """The table of `chain` that `expected_query` reads."""
    row_key: str
    """The app's column that names the entity."""
    entity_kind: str
    """What the entity is called in findings: `loan` of `loan:12`."""
    changed_at: str = "entity.position"
    """SQL on `expected_query`: the position of the newest fact that anything in the expected row follows from."""
    spot_whole: bool = False
    """Whether one entry of the chain answers for all of the table (see `sweeper.spot_checks`)."""
    grace_seconds: int = 0
    """For how long a row may be missing before that is a finding."""
    writes: frozenset[str] = frozenset()
    inserts: frozenset[str] = frozenset()
    storage: Storage = Storage()
    looks_up: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @abstractmethod
    def app_query(self, context: Context, *, cut: bool = False) -> str:
        """SELECT … FROM the table AS row, with `row.id` and the columns that the rules need; no WHERE.

        `cut`: texts that are too long to be quoted are cut (`sweeper.long_values`). The digest takes them whole.
        """

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

    def entity_of(self, name: str) -> str | None:
        """Return how findings call the entity of a row whose `row_key` is the name; None where the name is no entity's."""
        return f"{self.entity_kind}:{name}"

    @abstractmethod
    def digest(self) -> Digest:
        """What of both queries is hashed, so that equal hashes mean that no rule finds anything."""

    @abstractmethod
    async def surroundings(self, context: Context, *, alone: Ids | None) -> E:
        """What is looked up once for all rows. `alone`: ids of the rows that no entity has, None where they are not known."""

    @abstractmethod
    def rules(self) -> Sequence[Callable[[Case, E], Finding | None]]:
        """One pure function a drift class, in their precedence."""

    async def relate(self, context: Context, rows: Sequence[Row], expected: Mapping[str, Row]) -> dict[str, Any]:  # noqa: ARG002
        """What a page of rows needs beside its entities, for all of its cases."""
        return {}

    def fact_keys(self, finding: Finding) -> Sequence[str]:
        """Return the keys of `chain.facts` that the finding's entity is folded from."""
        return () if finding.chain_key is None else (finding.chain_key,)

    @property
    def compares(self) -> str:
        return repr((self.table, self.expected_query(), self.key_condition, self.digest()))

    def rows_of(self, around: E, keys: Sequence[str]) -> list[str]:  # noqa: ARG002 - a subclass may need them
        """Ids of rows that do not name their entity, and may be one of these."""
        return []

    # The whole table

    async def survey(self, context: Context) -> AsyncGenerator[Finding, None]:
        """All findings, both ways."""
        compared = context.compared.setdefault(self.table, Compared())
        found = await sides.difference(context, self)
        context.canaries[self.table] = found.canary_found
        if found.is_resumed:
            context.resumed.append(self.table)
        compared.app_rows, compared.expected_rows = found.app_rows, found.chain_rows
        # Of a table whose rows without an entity are no findings, those count that share their key with another row.
        alone = found.app_only if self.digest().rows_without_entity else found.app_twins
        # Also rows that the scan may have passed by: without them a provisional row could look like the only one of its loan.
        alone = np.concatenate([alone, match.without(found.rewritten, found.differing, alone)])
        if found.has_more_rewritten:
            context.not_reread.append(self.table)
        around = await self.surroundings(context, alone=alone)
        strays: dict[str, str] = {}
        for page in pages(found.differing, PAGE_ROWS):
            findings, others = await self._look_at_differing(context, match.texts(page), around)
            strays |= others
            for finding in findings:
                yield finding
        if strays and self.digest().rows_without_entity:
            alone = np.concatenate([alone, match.ids(strays)])
            around = await self.surroundings(context, alone=alone)
        for page in pages(alone, PAGE_ROWS):
            for finding in await self._look_at_rows(context, match.texts(page), around):
                yield finding
        async for finding in self._look_at_the_rest(context, found, list(strays.values()), around):
            yield finding

    async def survey_changed(self, context: Context, since: Since) -> AsyncGenerator[Finding, None]:
        """What is found of the entities that changed since, and of what drifted by then."""
        compared = context.compared.setdefault(self.table, Compared())
        compared.of_rows = await sides.app_rows(context, self)
        around = await self.surroundings(context, alone=None)
        for some in pages(since.row_ids.get(self.table, ()), PAGE_ROWS):
            for finding in await self._look_at_rows(context, some, around):
                yield finding
        named = await sides.changed_keys(context, self, since=since.position, beside=since.keys.get(self.table, ()))
        seen = set(since.row_ids.get(self.table, ()))
        for keys in pages(list(named), CHANGED_KEYS, at_least_one=True):
            found = await sides.difference(context, self, keys={key: named[key] for key in keys})
            context.canaries[self.table] = context.canaries.get(self.table, True) and found.canary_found
            compared.app_rows += found.app_rows
            compared.expected_rows += found.chain_rows
            rows = {*match.texts(found.differing), *self.rows_of(around, keys)} - seen
            seen |= rows
            for some in pages(sorted(rows), PAGE_ROWS):
                for finding in await self._look_at_rows(context, some, around):
                    yield finding
            async for finding in self._look_at_the_rest(context, found, [], around):
                yield finding

    def classify(self, case: Case, surroundings: E) -> Finding | None:
        """Return the finding of the first class that matches; that several rows share a key outweighs all else."""
        if case.row is not None and case.same_key is not None:
            name = case.row[self.row_key]
            row_id, entity = str(case.row["id"]), self.entity_of(name)
            return same_key.duplicate(
                self.table, self.row_key, row_id=row_id, name=name, entity=entity, rows=case.same_key
            )
        return next((finding for rule in self.rules() if (finding := rule(case, surroundings)) is not None), None)

    # The second look

    async def look_again(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """Those that are found again, as they are now; whether they differ in the same way is for others to say.

        A row is the same one whatever entity it is found to be by now: to leave it out would be to say that it agrees.
        """
        before = {finding.place for finding in findings}
        return [one for one in await self.examine(context, findings) if one.place in before]

    async def examine(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        """What is found of their rows and entities now, of whatever class."""
        ids = list(dict.fromkeys(finding.row_id for finding in findings if finding.row_id is not None))
        keys = [finding.chain_key for finding in findings if finding.row_id is None and finding.chain_key is not None]
        around = await self.surroundings(context, alone=None)
        again: list[Finding] = []
        for some in pages(ids, PAGE_ROWS):
            again += await self._look_at_rows(context, some, around)
        for some in pages(keys, PAGE_ROWS):
            again += await self._look_at_entities(context, some, around)
        return again

    async def look_at(self, context: Context, keys: Sequence[str]) -> list[Finding]:
        """The findings about these entities (their keys), and about the rows that name them."""
        around = await self.surroundings(context, alone=None)
        found: list[Finding] = []
        for some in pages(keys, PAGE_ROWS):
            found += await self._look_at_entities(context, some, around)
        return found

    async def confirm(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:  # noqa: ARG002
        """Nothing to ask: the events themselves are the proof."""
        return list(findings)

    # Looking

    async def _look_at_rows(self, context: Context, ids: Sequence[str], around: E) -> list[Finding]:
        rows = await self._app_rows(context, "row.id = ANY(CAST(CAST(:ids AS text[]) AS uuid[]))", {"ids": list(ids)})
        return self._found(await self._cases(context, rows, around), around)

    async def _look_at_entities(self, context: Context, keys: Sequence[str], around: E) -> list[Finding]:
        """Entities whose rows are missing; a row that has come by now, or was moved while it was hashed, is compared."""
        expected = await self._expected_by_key(context, keys)
        names = {self.app_key(one): key for key, one in expected.items()}
        column = f"row.{self.row_key}"
        rows = await self._app_rows(context, f"{column} = ANY(CAST(:names AS text[]))", {"names": list(names)})
        # A column that ignores case brings rows whose key is written otherwise: they name no entity of ours.
        present = {names[name] for row in rows if (name := str(row[self.row_key])) in names}
        missing = {key: one for key, one in expected.items() if key not in present}
        cases = await self._cases(context, rows, around)
        if missing:
            related = await self.relate(context, [], missing)
            cases += [Case(row=None, expected=one, related=related) for one in missing.values()]
        return self._found(cases, around)

    async def _look_at_differing(
        self, context: Context, ids: Sequence[str], around: E
    ) -> tuple[list[Finding], dict[str, str]]:
        """Look at rows whose keys have the hash of an entity's key.

        Returns the findings, and the rows that do not name an entity (by id, with what they name): the hash is that of another
        key, so they are rows without an entity, and they hide the entity that has the hash.
        """
        rows = await self._app_rows(context, "row.id = ANY(CAST(CAST(:ids AS text[]) AS uuid[]))", {"ids": list(ids)})
        own, strays = [], {}
        for case in await self._cases(context, rows, around):
            name = None if case.row is None else case.row[self.row_key]
            if case.row is not None and (case.expected is None or self.app_key(case.expected) != name):
                strays[str(case.row["id"])] = "" if name is None else str(name)
            else:
                own.append(case)
        return self._found(own, around), strays

    async def _look_at_the_rest(
        self, context: Context, found: Difference, names: Sequence[str], around: E
    ) -> AsyncGenerator[Finding, None]:
        """Look at the entities that no row has, and at those that another key's hash hides.

        Of a hidden entity only a missing row is new: a row of its own would have the same hash, and was looked at for that.
        """
        async for keys in sides.keys_of(context, self, found):
            for some in pages(keys, PAGE_ROWS):
                for finding in await self._look_at_entities(context, some, around):
                    yield finding
        looked: set[str] = set()
        async for keys in sides.colliding_keys(context, self, found, names=names):
            hidden = [key for key in dict.fromkeys(keys) if key not in looked]
            looked |= set(hidden)
            for some in pages(hidden, PAGE_ROWS):
                for finding in await self._look_at_entities(context, some, around):
                    if finding.row_id is None:
                        yield finding

    def _found(self, cases: Iterable[Case], around: E) -> list[Finding]:
        found = (self.classify(case, around) for case in cases)
        return [long_values.bounded(finding) for finding in found if finding is not None]

    # Reading

    @property
    def key_condition(self) -> str:
        """The entities of the table, as a condition on `entity`."""
        keys = self.key_range()
        return f"entity.key > {sides.literal(keys.first)} AND entity.key < {sides.literal(keys.end)}"

    async def _cases(self, context: Context, rows: Sequence[Row], around: E) -> list[Case]:
        if not rows:
            return []
        keys = {row["id"]: self.chain_key(row, around) for row in rows}
        expected = await self._expected_by_key(context, [key for key in keys.values() if key is not None])
        related = await self.relate(context, rows, expected)
        several = await self._several(context, rows)
        return [
            Case(
                row=row,
                expected=expected.get(keys[row["id"]] or ""),
                related=related,
                same_key=several.get(row[self.row_key]),
            )
            for row in rows
        ]

    async def _several(self, context: Context, rows: Sequence[Row]) -> Mapping[str, SameKey]:
        """The keys of these rows that other rows hold, too. Nothing is asked where a unique constraint forbids it."""
        if same_key.is_unique(context.tables.get(self.table), self.row_key):
            return {}
        names = sorted({row[self.row_key] for row in rows if row[self.row_key]})  # neither NULL nor '' names an entity
        async with app_access.transaction(context.app) as connection:
            return await same_key.read(connection, self.table, self.row_key, names)

    async def _app_rows(self, context: Context, predicate: str, parameters: Mapping[str, Any]) -> list[Row]:
        statement = text(f"{self.app_query(context, cut=True)} WHERE {predicate} ORDER BY row.id")
        async with context.paces["app"].working(), app_access.transaction(context.app) as connection:
            return [dict(row._mapping) for row in await connection.execute(statement, parameters)]

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


def pages(items: Sliced, size: int, *, at_least_one: bool = False) -> Iterator[Sliced]:
    """The items in pieces of at most `size`; of nothing no piece, or an empty one."""
    if at_least_one and not len(items):
        yield items
    for start in range(0, len(items), size):
        yield items[start : start + size]
