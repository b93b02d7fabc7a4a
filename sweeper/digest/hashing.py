"""Hashes as SQL: 64 bits for an entity's key, 64 bits for its row, chained to the key so that two swapped rows differ.

PostgreSQL's own hash functions are the quickest, but their values may differ by version and platform: both databases hash the
same canary rows first, and where they disagree, md5 takes their place. The seeds are random in each run, so nobody can
choose values that collide.
"""

import secrets
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from shared import database
from sweeper.digest import canary
from sweeper.digest.spec import NOTHING, Digest, Form, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashing:
    """How the rows of a run are hashed. `native`: by PostgreSQL's own functions."""

    seed: int
    native: bool = True
    name: str = ""

    @classmethod
    def fresh(cls) -> "Hashing":
        return cls(seed=secrets.randbits(31), name=uuid4().hex)

    def key(self, expression: str) -> str:
        """The hash of a key (text, not NULL) as a bigint."""
        if self.native:
            return f'hashtextextended({expression} COLLATE "C", {self.seed})'
        return _md5(f"'{self.seed}|' || {expression}")

    def columns(self, forms: tuple[Form, ...]) -> str:
        """The hash of the columns f0, f1, … of one row as a bigint: each with a seed of its own, or two could be exchanged."""
        if self.native:
            parts = [self._native(form.kind, f"f{number}", self.seed + number + 1) for number, form in enumerate(forms)]
            return " # ".join(parts)
        parts = [_portable(form.kind, f"f{number}") for number, form in enumerate(forms)]
        return _md5(f"concat_ws('|', '{self.seed}', {', '.join(parts)})")

    def chained(self, columns: str, key: str) -> str:
        """The hash of a row: of its columns beneath its key, both bigints."""
        if self.native:
            return f"hashint8extended({columns}, {key})"
        return _md5(f"CAST({columns} AS text) || '|' || CAST({key} AS text)")

    def _native(self, kind: Kind, column: str, seed: int) -> str:
        null = f"CAST({seed * 7919} AS bigint)"
        match kind:
            case Kind.TEXT:
                return f'COALESCE(hashtextextended({column} COLLATE "C", {seed}), {null})'
            case Kind.NUMBER:  # the hash of a numeric knows no sign
                return f"COALESCE(hash_numeric_extended({column}, {seed}) # CAST({column} < 0 AS integer), {null})"
            case Kind.FLAG:
                return f"hashint8extended(COALESCE(CAST({column} AS integer), 2), {seed})"

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
        columns = self.columns(digest.forms)
        row = f"CASE key_hash WHEN {NOTHING} THEN {NOTHING} ELSE {self.chained('columns_hash', 'key_hash')} END"
        parts = (
            f"SELECT {shown}{key} AS key_hash, {columns} AS columns_hash FROM ({canonical} OFFSET 0) AS one OFFSET 0"
        )
        return f"SELECT {shown}key_hash, {row} AS row_hash FROM ({parts}) AS two"

    async def probe(self, connection: AsyncConnection, digest: Digest) -> list[tuple[int, int]]:
        """What a database makes of the canaries: (key hash, row hash) of each, undrifted, in their order."""
        rows = []
        for one in canary.flock(self.name):
            values = "".join(f", {canary.value(form.kind, wrong=False)} AS f{n}" for n, form in enumerate(digest.forms))
            rows.append(f"SELECT CAST('{one.id}' AS uuid) AS id, CAST('{one.key}' AS text) AS key{values}")
        canonical = " UNION ALL ".join(rows)
        found = await database.raw(connection).fetch(self.hashed(digest, canonical, with_id=True) + " ORDER BY id")
        return [(row["key_hash"], row["row_hash"]) for row in found]


def _portable(kind: Kind, column: str) -> str:
    """The column as text that every PostgreSQL writes alike; NULL apart from '', and no value reads as two."""
    written = f"CAST(trim_scale({column}) AS text)" if kind is Kind.NUMBER else f"CAST({column} AS text)"
    return f"COALESCE(octet_length({written}) || '=' || {written}, '~')"


def _md5(expression: str) -> str:
    return f"CAST(CAST('x' || left(md5({expression}), 16) AS bit(64)) AS bigint)"
