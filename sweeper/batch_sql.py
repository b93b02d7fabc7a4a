"""The SQL of a batch: update, insert, and read its rows. Values go as arrays of texts, cast to the live column types."""

from collections.abc import Mapping, Sequence
from typing import Any

from sweeper import row_images
from sweeper.batch import Batch

ID = "id"
IMMEDIATE = "SET CONSTRAINTS ALL IMMEDIATE"
"""Deferred constraints and triggers act now: what they do is seen before the commit, and what they refuse fails here."""


def update(batch: Batch, *, past_locked: bool) -> str:
    """Lock the rows in the order of their ids, and write what stands as it was; gives the places of those.

    `past_locked`: rows that another transaction holds are passed over, not waited for. Whether a row stands is seen under its
    lock: the snapshot of the statement may show an older version of a row that was waited for.
    """
    table, ids = batch.table, row_images.array_sql(ID, batch.table.types[ID])
    new, names = row_images.unnest_sql(table, batch.written, prefix="new")
    return f"""
WITH want AS MATERIALIZED ({_locked(batch, new, names, past_locked=past_locked)}),
written AS (
  UPDATE {table.name} AS live SET {_sets(batch)} FROM want
  WHERE live.id = want.id AND live.id = ANY({ids}) AND want.stands
)
SELECT array_agg(place ORDER BY place) FROM want WHERE stands"""


def lock(batch: Batch, *, past_locked: bool) -> str:
    """The first half of `update`, for a table with rules: PostgreSQL knows no rules within WITH."""
    return f"SELECT array_agg(place ORDER BY place) FROM ({_locked(batch, [], [], past_locked=past_locked)}) AS want WHERE stands"


def update_by_rule(batch: Batch) -> str:
    """The second half, of rows that are locked. Without RETURNING, which PostgreSQL refuses where the table has a rule."""
    table, ids = batch.table, row_images.array_sql(ID, batch.table.types[ID])
    new, new_names = row_images.unnest_sql(table, batch.written, prefix="new")
    arrays, names = _before(batch)
    return f"""
UPDATE {table.name} AS live SET {_sets(batch)}
FROM unnest({", ".join([*arrays, *new])}) AS want ({", ".join([*names, *new_names])})
WHERE live.id = want.id AND live.id = ANY({ids}) AND {_stands(batch)}"""


def insert(batch: Batch) -> str:
    """Add rows that are still missing; gives the ids, and the place where the key is still that of the batch.

    Of a row that came since the keys were read it says so (`is_missing`): that one is somebody else's, whatever it holds.
    """
    table, key = batch.table, row_images.quoted(batch.key)
    new, names = row_images.unnest_sql(table, batch.written, prefix="new")
    values = ", ".join(f"want.new_{number}" for number, _ in enumerate(batch.written))
    named = f"want.new_{batch.written.index(batch.key)}"
    return f"""
WITH want AS MATERIALIZED (
  SELECT want.*, NOT EXISTS (SELECT FROM {table.name} AS other WHERE other.{key} = {named}) AS is_missing
  FROM unnest({", ".join(new)}) WITH ORDINALITY AS want ({", ".join(names)}, place)
),
live AS (
  INSERT INTO {table.name} ({row_images.listed(batch.written)}) SELECT {values} FROM want
  WHERE want.is_missing ORDER BY want.place
  RETURNING id, {key} AS key
)
SELECT want.place, want.is_missing, CAST(live.id AS text) AS row_id, CAST(live.key AS text) AS key
FROM live FULL JOIN want ON live.key = {named}"""


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


def _locked(batch: Batch, new: Sequence[str], new_names: Sequence[str], *, past_locked: bool) -> str:
    """The rows of the batch, locked, and whether each is as the update relies on."""
    arrays, names = _before(batch)
    return f"""
  SELECT want.*, ({_stands(batch)}) AS stands
  FROM unnest({", ".join([*arrays, *new])}) WITH ORDINALITY AS want ({", ".join([*names, *new_names])}, place)
  JOIN {batch.table.name} AS live ON live.id = want.id WHERE live.id = ANY({arrays[0]})
  ORDER BY live.id FOR NO KEY UPDATE OF live{" SKIP LOCKED" if past_locked else ""}
"""


def _sets(batch: Batch) -> str:
    return ", ".join(f"{row_images.quoted(name)} = want.new_{number}" for number, name in enumerate(batch.written))


def _before(batch: Batch) -> tuple[list[str], list[str]]:
    """The arrays that say what the rows have to be, and the names of their elements."""
    old, names = row_images.unnest_sql(batch.table, batch.relied_on, prefix="old", of_domains=False)
    return [row_images.array_sql(ID, batch.table.types[ID]), "CAST(:hash AS text[])", *old], [ID, "hash", *names]


def _stands(batch: Batch) -> str:
    """Whether the row holds its before image, as its columns store it, and has the hash that the batch asks for.

    A domain may forbid by now what its rows still hold (NOT VALID), so the image is read as the type beneath it.
    """
    same = [
        f"live.{row_images.quoted(name)} IS NOT DISTINCT FROM CAST(want.old_{number} AS {batch.table.base_type(name)})"
        for number, name in enumerate(batch.relied_on)
    ]
    return " AND ".join([*same, f"(want.hash IS NULL OR want.hash = {row_images.hash_sql('live')})"])
