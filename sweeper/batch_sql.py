"""The SQL of a batch: lock, update, insert, and read its rows. Values go as arrays of texts, cast to the live column types."""

from collections.abc import Mapping, Sequence
from typing import Any

from sweeper import row_images
from sweeper.app_schema import AppTable
from sweeper.batch import Batch

ID = "id"
IMMEDIATE = "SET CONSTRAINTS ALL IMMEDIATE"
"""Deferred constraints and triggers act now: what they do is seen before the commit, and what they refuse fails here."""


def lock(batch: Batch, *, past_locked: bool) -> str:
    """Lock the rows in the order of their ids; gives the place of each, and whether it is as the update relies on.

    `past_locked`: rows that another transaction holds are passed over, not waited for.
    """
    ids, table = row_images.array_sql(ID, batch.table.types[ID]), batch.table
    arrays, names = _before(batch)
    return f"""
SELECT want.place, CAST(live.id AS text) AS row_id, ({_stands(table, batch)}) IS TRUE AS stands
FROM unnest({arrays}) WITH ORDINALITY AS want ({names}, place)
JOIN {table.name} AS live ON live.id = want.id WHERE live.id = ANY({ids})
ORDER BY live.id FOR NO KEY UPDATE OF live{" SKIP LOCKED" if past_locked else ""}"""


def update(batch: Batch) -> str:
    """Write what still stands as it was. Without RETURNING, which PostgreSQL refuses where the table has a rule."""
    table, ids = batch.table, row_images.array_sql(ID, batch.table.types[ID])
    before, names = _before(batch)
    new, new_names = row_images.unnest_sql(table, batch.written, prefix="new")
    sets = ", ".join(f"{row_images.quoted(name)} = want.new_{number}" for number, name in enumerate(batch.written))
    return f"""
UPDATE {table.name} AS live SET {sets}
FROM unnest({", ".join([before, *new])}) AS want ({", ".join([names, *new_names])})
WHERE live.id = want.id AND live.id = ANY({ids}) AND {_stands(table, batch)}"""


def insert(batch: Batch) -> str:
    """Add rows that are still missing; gives the ids, and the place where the key is still that of the batch."""
    table, key = batch.table, row_images.quoted(batch.key)
    new, names = row_images.unnest_sql(table, batch.written, prefix="new")
    values = ", ".join(f"want.new_{number}" for number, _ in enumerate(batch.written))
    named = f"want.new_{batch.written.index(batch.key)}"
    return f"""
WITH want AS MATERIALIZED (
  SELECT * FROM unnest({", ".join(new)}) WITH ORDINALITY AS want ({", ".join(names)}, place)
),
live AS (
  INSERT INTO {table.name} ({row_images.listed(batch.written)}) SELECT {values} FROM want
  WHERE NOT EXISTS (SELECT FROM {table.name} AS other WHERE other.{key} = {named}) ORDER BY want.place
  RETURNING id, {key} AS key
)
SELECT want.place, CAST(live.id AS text) AS row_id, CAST(live.key AS text) AS key
FROM live LEFT JOIN want ON live.key = {named}"""


def read(batch: Batch, columns: Sequence[str], *, locking: bool = False) -> str:
    """Read the rows of the batch as they are now, the columns as text; a row that is inserted is found by its key."""
    column, parameter = (batch.key, "key") if batch.is_insert else (ID, ID)
    array = row_images.array_sql(parameter, batch.table.types[column])
    name = row_images.quoted(column)
    values = "".join(
        f", CAST(live.{row_images.quoted(name)} AS text) AS value_{number}" for number, name in enumerate(columns)
    )
    return f"""
SELECT want.place, CAST(live.id AS text) AS row_id, {row_images.hash_sql("live")} AS row_hash{values}
FROM unnest({array}) WITH ORDINALITY AS want (value, place)
JOIN {batch.table.name} AS live ON live.{name} = want.value WHERE live.{name} = ANY({array})
ORDER BY live.id{" FOR SHARE OF live" if locking and not batch.is_insert else ""}"""


def parameters(batch: Batch) -> Mapping[str, Any]:
    """The values that go with the statements that write."""
    new = row_images.parameters(batch.after, batch.written, prefix="new")
    if batch.is_insert:
        return new
    return {**before_parameters(batch), **new}


def before_parameters(batch: Batch) -> Mapping[str, Any]:
    """The values that go with `lock`."""
    return {
        ID: list(batch.ids),
        "hash": list(batch.hashes) or [None] * len(batch),
        **row_images.parameters(batch.before, batch.relied_on, prefix="old"),
    }


def read_parameters(batch: Batch) -> Mapping[str, Any]:
    """The values that go with `read`."""
    return {"key": batch.keys} if batch.is_insert else {ID: list(batch.ids)}


def _before(batch: Batch) -> tuple[str, str]:
    """The arrays that say what the rows have to be, and the names of their elements."""
    old, names = row_images.unnest_sql(batch.table, batch.relied_on, prefix="old")
    arrays = [row_images.array_sql(ID, batch.table.types[ID]), "CAST(:hash AS text[])", *old]
    return ", ".join(arrays), ", ".join([ID, "hash", *names])


def _stands(table: AppTable, batch: Batch) -> str:
    """Whether the row holds its before image, as its columns store it, and has the hash that the batch asks for."""
    same = [
        f"live.{row_images.quoted(name)} IS NOT DISTINCT FROM CAST(want.old_{number} AS {table.types[name]})"
        for number, name in enumerate(batch.relied_on)
    ]
    return " AND ".join([*same, f"(want.hash IS NULL OR want.hash = {row_images.hash_sql('live')})"])
