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

    def row(self, forms: tuple[Form, ...], *, key: str) -> str:
        """The hash of the columns f0, f1, … beneath the key's column, as a bigint."""
        if self.native:
            parts = [self._native(form.kind, f"f{number}", self.seed + number + 1) for number, form in enumerate(forms)]
            return f"hashint8extended({' # '.join(parts) or '0'}, {self.key(key)})"
        parts = [_portable(form.kind, f"f{number}") for number, form in enumerate(forms)]
        return _md5(f"concat_ws('|', '{self.seed}', {', '.join([key, *parts])})")

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
        """SELECT [id,] key hash, row hash FROM the canonical rows.

        OFFSET 0 keeps PostgreSQL from computing a form anew wherever the hash names it.
        """
        shown = "one.id, " if with_id else ""
        key = f"CASE WHEN one.key IS NULL THEN {NOTHING} ELSE {self.key('one.key')} END"
        row = f"CASE WHEN one.key IS NULL THEN {NOTHING} ELSE {self.row(digest.forms, key='one.key')} END"
        return f"SELECT {shown}{key} AS key_hash, {row} AS row_hash FROM ({canonical} OFFSET 0) AS one"

    async def probe(self, connection: AsyncConnection, digest: Digest) -> list[tuple[int, int]]:
        """What a database makes of the canaries: (key hash, row hash) of each, undrifted, in their order."""
        rows = []
        for one in canary.flock(self.name):
            values = "".join(f", {canary.value(form.kind, wrong=False)} AS f{n}" for n, form in enumerate(digest.forms))
            rows.append(f"SELECT CAST('{one.id}' AS uuid) AS id, CAST('{one.key}' AS text) AS key{values}")
        canonical = " UNION ALL ".join(rows)
        found = await database.raw(connection).fetch(self.hashed(digest, canonical, with_id=True) + " ORDER BY one.key")
        return [(row["key_hash"], row["row_hash"]) for row in found]


def _portable(kind: Kind, column: str) -> str:
    """The column as text that every PostgreSQL writes alike; NULL apart from '', and no value reads as two."""
    written = f"CAST(trim_scale({column}) AS text)" if kind is Kind.NUMBER else f"CAST({column} AS text)"
    return f"COALESCE(octet_length({written}) || '=' || {written}, '~')"


def _md5(expression: str) -> str:
    return f"CAST(CAST('x' || left(md5({expression}), 16) AS bit(64)) AS bigint)"
