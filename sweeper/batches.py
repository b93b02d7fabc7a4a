"""One batch on the application's table: written by one statement, read back before it is committed; or only looked at.

The rows are locked in the order of their ids, so that two writers of many rows do not wait for one another. What counts as
written is what the row holds after the application's own triggers had their say.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import errors
from sweeper import row_images
from sweeper.app_schema import AppTable
from sweeper.row_images import Image

MARKED_BY_APP = frozenset({"updated_at"})
"""What a trigger of the application may set anew on each write, and the write still counts."""

_ID = "id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Changes of one table and kind that set and rely on the same columns. Of an insert `key` names the row.

    `hashes`: what the whole row has to be, where an update relies on more than the columns of its `before` image.
    """

    table: AppTable
    key: str
    ids: Sequence[str]
    after: Sequence[Image]
    before: Sequence[Image] = ()
    hashes: Sequence[str | None] = ()

    @property
    def is_insert(self) -> bool:
        return not self.before

    @property
    def written(self) -> list[str]:
        return sorted(self.after[0])

    @property
    def relied_on(self) -> list[str]:
        return sorted(self.before[0]) if self.before else []

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, numbers: Sequence[int]) -> "Batch":
        """Those of the changes with these numbers (from 0)."""
        return replace(
            self,
            ids=[self.ids[number] for number in numbers],
            after=[self.after[number] for number in numbers],
            before=[self.before[number] for number in numbers] if self.before else (),
            hashes=[self.hashes[number] for number in numbers] if self.hashes else (),
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """A row as it was found. `is_written`: it holds what was to be written, but for what the application marks itself."""

    row_id: str
    row_hash: str
    is_written: bool
    is_after: bool = False
    is_before: bool = False


class Altered(errors.ChaintrueError):
    """A trigger of the application changes what is written to this row, so nothing was left written."""


async def write(connection: AsyncConnection, batch: Batch, *, past_locked: bool = False) -> dict[int, Seen]:
    """Write what still stands as it was; gives the rows that were written, by their place in the batch.

    `past_locked`: rows that another transaction holds are passed over, not waited for. Raises Altered.
    """
    statement = _insert_sql(batch) if batch.is_insert else _update_sql(batch, past_locked=past_locked)
    rows = await connection.execute(text(statement), _parameters(batch))
    written = {row.place: Seen(row.row_id, row.row_hash, is_written=row.is_written) for row in rows}
    if written and batch.table.acts_after_writes:
        written = await look(connection, batch, places=list(written))
    if not all(one.is_written for one in written.values()):
        raise Altered
    return written


async def look(
    connection: AsyncConnection, batch: Batch, *, places: Sequence[int] | None = None, locking: bool = False
) -> dict[int, Seen]:
    """The rows of the batch (or of these places in it) as they are now. `locking`: waits for who is about to change them."""
    wants, names = _wants(batch)
    is_before = "false" if batch.is_insert else _stands(batch.table, "old", batch.relied_on)
    key = f"live.{row_images.quoted(batch.key)} = {_key(batch)}" if batch.is_insert else "live.id = want.id"
    statement = f"""
SELECT {_told(batch)}, {_stands(batch.table, "new", batch.written)} AS is_after, {is_before} AS is_before
FROM unnest({wants}) WITH ORDINALITY AS want ({names}, place)
JOIN {batch.table.name} AS live ON {key}
WHERE CAST(:places AS bigint[]) IS NULL OR want.place = ANY(CAST(:places AS bigint[]))
ORDER BY live.id{" FOR SHARE OF live" if locking and not batch.is_insert else ""}"""
    parameters = {**_parameters(batch), "places": None if places is None else list(places)}
    return _seen(await connection.execute(text(statement), parameters))


def _seen(rows: Iterable[Any]) -> dict[int, Seen]:
    """By place; of several rows for one key the one that is as it was to be written."""
    found: dict[int, Seen] = {}
    for row in rows:
        if row.place not in found or row.is_after:
            found[row.place] = Seen(row.row_id, row.row_hash, row.is_written, row.is_after, row.is_before)
    return found


def _told(batch: Batch) -> str:
    """What is told of a row that was written."""
    is_written = _stands(batch.table, "new", batch.written, without=MARKED_BY_APP)
    return f"want.place, CAST(live.id AS text) AS row_id, {row_images.hash_sql('live')} AS row_hash, {is_written} AS is_written"


def _stands(table: AppTable, prefix: str, columns: Sequence[str], *, without: frozenset[str] = frozenset()) -> str:
    """Whether the row holds the image, as its columns would store it."""
    same = (
        f"live.{row_images.quoted(name)} IS NOT DISTINCT FROM CAST(want.{prefix}_{number} AS {table.types[name]})"
        for number, name in enumerate(columns)
        if name not in without
    )
    return " AND ".join(same) or "true"


def _update_sql(batch: Batch, *, past_locked: bool) -> str:
    table = batch.table
    ids = row_images.array_sql(_ID, table.types[_ID])
    wants, names = _wants(batch)
    sets = ", ".join(f"{row_images.quoted(name)} = want.new_{number}" for number, name in enumerate(batch.written))
    return f"""
WITH want AS MATERIALIZED (
  SELECT want.* FROM unnest({wants}) WITH ORDINALITY AS want ({names}, place)
  JOIN {table.name} AS live ON live.id = want.id WHERE live.id = ANY({ids})
  ORDER BY live.id FOR NO KEY UPDATE OF live{" SKIP LOCKED" if past_locked else ""}
)
UPDATE {table.name} AS live SET {sets} FROM want
WHERE live.id = want.id AND live.id = ANY({ids})
  AND {_stands(table, "old", batch.relied_on)} AND (want.hash IS NULL OR want.hash = {row_images.hash_sql("live")})
RETURNING {_told(batch)}"""


def _insert_sql(batch: Batch) -> str:
    """Rows that are still missing; one that came meanwhile is left as it is."""
    table, key = batch.table, row_images.quoted(batch.key)
    wants, names = _wants(batch)
    values = ", ".join(f"want.new_{number}" for number, _ in enumerate(batch.written))
    named = _key(batch)
    return f"""
WITH want AS MATERIALIZED (SELECT * FROM unnest({wants}) WITH ORDINALITY AS want ({names}, place)),
live AS (
  INSERT INTO {table.name} ({row_images.listed(batch.written)}) SELECT {values} FROM want
  WHERE NOT EXISTS (SELECT FROM {table.name} AS other WHERE other.{key} = {named}) ORDER BY want.place
  RETURNING *
)
SELECT {_told(batch)} FROM want JOIN live ON live.{key} = {named}"""


def _key(batch: Batch) -> str:
    """The value of an insert's key."""
    return f"want.new_{batch.written.index(batch.key)}"


def _wants(batch: Batch) -> tuple[str, str]:
    """The arrays of the batch, and the names of their elements."""
    new, new_names = row_images.unnest_sql(batch.table, batch.written, prefix="new")
    old, old_names = row_images.unnest_sql(batch.table, batch.relied_on, prefix="old")
    if batch.is_insert:
        return ", ".join(new), ", ".join(new_names)
    arrays = [row_images.array_sql(_ID, batch.table.types[_ID]), "CAST(:hash AS text[])", *new, *old]
    return ", ".join(arrays), ", ".join([_ID, "hash", *new_names, *old_names])


def _parameters(batch: Batch) -> Mapping[str, Any]:
    written = row_images.parameters(batch.after, batch.written, prefix="new")
    if batch.is_insert:
        return written
    return {
        _ID: list(batch.ids),
        "hash": list(batch.hashes) or [None] * len(batch.ids),
        **written,
        **row_images.parameters(batch.before, batch.relied_on, prefix="old"),
    }
