"""Hashes as SQL: 64 bits of an entity's key, and 64 bits of a row, its key included.

A row's hash is a chain: it begins with a hash of the key, and each step is seeded with the result of the step before. No two
changes can cancel each other, as they can where the hashes of columns are combined by XOR. Three properties of PostgreSQL's
functions shape the steps (src/backend/utils/adt/numeric.c and src/backend/access/hash/hashfunc.c, the same in 15 to 18):

- `hash_numeric_extended` ignores the sign. It returns the seed itself for NaN and both infinities, and the seed less 1 for zero.
  So a step of its own hashes the marks of all columns: NULL or not, the sign, zero, which special value. Rows of equal marks
  have such values in the same places, and no value has the mark of NULL.
- `hash_numeric_extended` XORs the weight (the power of 10,000) into the hash: only as a seed of the next step can two such
  differences not cancel.
- `hashint8extended` folds its value to 32 bits before it hashes it. A seed is not folded: so a 64-bit hash is always passed on as
  the seed, never as the value.

PostgreSQL's own hash functions are the fastest, but their values may differ between versions and platforms: both databases hash
the same canary rows first, and where the results differ, md5 is used instead. The seed is random in each run, so nobody can
choose values that collide.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from shared import database
from sweeper.digest import canary
from sweeper.digest.spec import NOTHING, Digest, Form, Kind

SEED_BITS = 63
_ROW_SEED = 0x1E3779B97F4A7C15
"""Flips bits of the run's seed for the rows: keys with equal key hashes still have different row hashes."""
_COLUMNS_A_STEP = 10
"""Columns whose marks (an octal digit each) fit an integer."""
_SPECIAL = ("NaN", "Infinity", "-Infinity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashing:
    """How the rows of a run are hashed. `native`: by PostgreSQL's own functions."""

    seed: int
    native: bool = True
    name: str = ""

    @classmethod
    def fresh(cls) -> "Hashing":
        return cls(seed=secrets.randbits(SEED_BITS), name=uuid4().hex)

    def key(self, expression: str) -> str:
        """Return the hash of a key (text, not NULL) as a bigint."""
        return _text(expression, self.seed) if self.native else _md5(f"'{self.seed}|' || {expression}")

    def row(self, key: str, forms: Sequence[Form]) -> str:
        """Return the hash of a row as a bigint: of its key (text, not NULL) and its columns f0, f1, …"""
        columns = [(form.kind, f"f{number}") for number, form in enumerate(forms)]
        if not self.native:
            parts = [_portable(Kind.TEXT, key), *(_portable(kind, column) for kind, column in columns)]
            return _md5(f"concat_ws('|', '{self.seed}', {', '.join(parts)})")
        hashed = _text(key, self.seed ^ _ROW_SEED)
        for first in range(0, len(columns), _COLUMNS_A_STEP):
            hashed = f"hashint4extended({_marks(columns[first : first + _COLUMNS_A_STEP])}, {hashed})"
        for kind, column in columns:
            match kind:
                case Kind.TEXT:
                    hashed = _text(f"COALESCE({column}, '')", hashed)
                case Kind.NUMBER:
                    hashed = f"hash_numeric_extended(COALESCE({column}, 0), {hashed})"
                case Kind.FLAG:
                    pass  # its mark says all
        return hashed

    def canonical(self, digest: Digest, *, of_app: bool, rows: str, row_id: str, with_canaries: bool) -> str:
        """SELECT id, key, f0, f1, … FROM the rows (a subquery), and the canaries of the side."""
        forms = [form.app if of_app else form.expected for form in digest.forms]
        key = digest.app_key if of_app else digest.expected_key
        columns = "".join(f", {form} AS f{number}" for number, form in enumerate(forms))
        select = f"SELECT {row_id} AS id, {key} AS key{columns} FROM ({rows}) AS it"
        if not with_canaries:
            return select
        return " UNION ALL ".join([select, *self._canary_rows(digest, of_app=of_app)])

    def _canary_rows(self, digest: Digest, *, of_app: bool) -> list[str]:
        rows = []
        for one in canary.flock(self.name):
            if one.on_app if of_app else one.on_chain:
                values = [canary.value(form.kind, wrong=one.drifted and of_app) for form in digest.forms]
                columns = "".join(f", {value}" for value in values)
                rows.append(f"SELECT CAST('{one.id}' AS uuid), CAST('{one.key}' AS text){columns}")
        return rows

    def hashed(self, digest: Digest, canonical: str, *, with_id: bool) -> str:
        """SELECT [id,] key hash, row hash FROM the canonical rows. OFFSET 0 is a fence: what lies behind it is computed once."""
        shown = "id, " if with_id else ""
        key = f"CASE WHEN one.key IS NULL THEN {NOTHING} ELSE {self.key('one.key')} END"
        row = f"CASE WHEN one.key IS NULL THEN {NOTHING} ELSE {self.row('one.key', digest.forms)} END"
        return f"SELECT {shown}{key} AS key_hash, {row} AS row_hash FROM ({canonical} OFFSET 0) AS one"

    async def probe(self, connection: AsyncConnection, digest: Digest) -> list[tuple[int, int]]:
        """What a database makes of the canaries: (key hash, row hash) of each, undrifted, in their order."""
        rows = []
        for one in canary.flock(self.name):
            values = "".join(f", {canary.value(form.kind, wrong=False)} AS f{n}" for n, form in enumerate(digest.forms))
            rows.append(f"SELECT CAST('{one.id}' AS uuid) AS id, CAST('{one.key}' AS text) AS key{values}")
        canonical = " UNION ALL ".join(rows)
        found = await database.raw(connection).fetch(self.hashed(digest, canonical, with_id=True) + " ORDER BY id")
        return [(row["key_hash"], row["row_hash"]) for row in found]


def _text(expression: str, seed: int | str) -> str:
    return f'hashtextextended({expression} COLLATE "C", {seed})'


def _marks(columns: Sequence[tuple[Kind, str]]) -> str:
    """Return an integer whose octal digits say of each column what the hash of its value does not.

    The texts and flags of most rows have the mark 0, which one CASE finds out for less than a sum of their marks costs.
    """
    marks = [_mark(kind, column, 8**place) for place, (kind, column) in enumerate(columns)]
    numbers = [mark for mark, (kind, _) in zip(marks, columns, strict=True) if kind is Kind.NUMBER]
    others = [mark for mark, (kind, _) in zip(marks, columns, strict=True) if kind is not Kind.NUMBER]
    usual = " AND ".join(
        column if kind is Kind.FLAG else f"{column} IS NOT NULL" for kind, column in columns if kind is not Kind.NUMBER
    )
    if others:
        numbers.append(f"CASE WHEN {usual} THEN 0 ELSE {' + '.join(others)} END")
    return " + ".join(numbers)


def _mark(kind: Kind, column: str, unit: int) -> str:
    """Return the mark of a column, times `unit`. It is 0 for a text, for true and for a finite number above 0.

    `scale` is NULL for NaN and infinities, and costs less than a comparison.
    """
    match kind:
        case Kind.TEXT:
            return f"CASE WHEN {column} IS NULL THEN {unit} ELSE 0 END"
        case Kind.NUMBER:
            sign = f"CASE WHEN {column} > 0 THEN 0 WHEN {column} = 0 THEN {unit} ELSE {2 * unit} END"
            special = "".join(
                f" WHEN {column} = '{value}' THEN {(3 + number) * unit}" for number, value in enumerate(_SPECIAL)
            )
            return f"CASE WHEN scale({column}) IS NOT NULL THEN {sign}{special} ELSE {6 * unit} END"
        case Kind.FLAG:
            return f"CASE WHEN {column} THEN 0 WHEN {column} IS NULL THEN {unit} ELSE {2 * unit} END"


def _portable(kind: Kind, column: str) -> str:
    """The column as text that every PostgreSQL writes alike; NULL apart from '', and no value reads as two."""
    written = f"CAST(trim_scale({column}) AS text)" if kind is Kind.NUMBER else f"CAST({column} AS text)"
    return f"COALESCE(octet_length({written}) || '=' || {written}, '~')"


def _md5(expression: str) -> str:
    return f"CAST(CAST('x' || left(md5({expression}), 16) AS bit(64)) AS bigint)"
