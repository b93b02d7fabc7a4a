"""Facts and state rows in PostgreSQL: stored by whole batches, sorted by key, so that no two workers lock in another order."""

from collections.abc import AsyncIterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import database
from shared.chain_schema import schema_of
from streams import fact_partitions
from streams import fold as folding
from streams.application import Application
from streams.facts import OBSERVED, Fact
from streams.state_cache import StateCache

STAGED_ROWS = 64
"""So many rows are worth the three statements of a COPY."""
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's dialects have no types
FACT_COLUMNS = ("key", "position", "kind", "tx_hash", "body", "problem", "conflict")

# The lower bytes win where two bodies differ, whichever came first; two values of one entry at one ledger are a conflict.
_MERGE = """
INSERT INTO {schema}.facts AS held (key, position, kind, tx_hash, body, problem, conflict)
{source}
ON CONFLICT (key, position) DO UPDATE SET
  kind = CASE WHEN excluded.body::text COLLATE "C" < held.body::text THEN excluded.kind ELSE held.kind END,
  tx_hash = CASE WHEN excluded.body::text COLLATE "C" < held.body::text THEN excluded.tx_hash ELSE held.tx_hash END,
  problem = CASE WHEN excluded.body::text COLLATE "C" < held.body::text THEN excluded.problem ELSE held.problem END,
  body = CASE WHEN excluded.body::text COLLATE "C" < held.body::text THEN excluded.body ELSE held.body END,
  conflict = true
WHERE held.body::text <> excluded.body::text OR (excluded.conflict AND NOT held.conflict)
"""

_GIVEN = """
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]::json[], $6::text[], $7::boolean[])
"""

_FACTS_OF_KEYS = """
SELECT fact.key, fact.position, fact.kind, fact.body::text AS body
FROM unnest($1::text[]) AS wanted (key)
CROSS JOIN LATERAL (
  SELECT coalesce(max(position), '') AS position FROM {schema}.facts
  WHERE key = wanted.key AND kind = '{observed}' AND $2::boolean) AS newest_observed
JOIN {schema}.facts AS fact ON fact.key = wanted.key AND fact.position >= newest_observed.position
ORDER BY fact.key, fact.position
"""


def merge_statement(schema: str, source: str) -> str:
    """SQL that stores the facts that the query `source` gives (the columns of FACT_COLUMNS, each place once) where some of
    them may be stored already."""
    return _MERGE.format(schema=schema, source=source)


def fact_row(fact: Fact) -> tuple[Any, ...]:
    """The fact as a row, in the order of FACT_COLUMNS."""
    return fact.key, fact.position, fact.kind, fact.tx_hash, fact.body, fact.problem, fact.conflict


async def store_facts(connection: AsyncConnection, facts: Sequence[Fact], *, newest: str) -> list[Fact]:
    """Store facts (merged, sorted by key and position); returns those that were new, or that differ from what was stored.

    No stored fact stands behind the position `newest`, so what does is new, and goes the quickest way.
    """
    new = [fact for fact in facts if fact.position > newest]
    if new:
        await database.raw(connection).copy_records_to_table(
            "facts", schema_name=schema_of(connection), columns=FACT_COLUMNS, records=map(fact_row, new)
        )
    if len(new) == len(facts):
        return new
    stored = await _merge_facts(connection, [fact for fact in facts if fact.position <= newest])
    return [fact for fact in facts if fact.position > newest or (fact.key, fact.position) in stored]


async def _merge_facts(connection: AsyncConnection, facts: Sequence[Fact]) -> set[tuple[str, str]]:
    """Store facts that may be there already; gives key and position of those that were not, or not so."""
    columns = map(list, zip(*map(fact_row, facts), strict=True))
    statement = merge_statement(schema_of(connection), _GIVEN) + "RETURNING key, position"
    rows = await database.raw(connection).fetch(statement, *columns)
    return {(row["key"], row["position"]) for row in rows}


async def fold_changed(
    connection: AsyncConnection, changed: Sequence[Fact], *, application: Application, cache: StateCache
) -> None:
    """Bring the rows of all keys that the changed facts (sorted by key and position) tell of up to date."""
    folds = {fold.prefix: fold for fold in application.folds}
    for prefix, facts in groupby(changed, key=attrgetter("prefix")):
        if prefix in folds:
            await _fold_prefix(connection, list(facts), fold=folds[prefix], application=application, cache=cache)


async def _fold_prefix(
    connection: AsyncConnection,
    changed: Sequence[Fact],
    *,
    fold: folding.Fold,
    application: Application,
    cache: StateCache,
) -> None:
    keys = dict.fromkeys(fact.key for fact in changed)
    held = cache.get(keys)
    held |= await read_states(connection, fold, [key for key in keys if key not in held])
    states, late = folding.advance(fold, held, changed)
    states |= {key: state async for key, state in _fold_anew(connection, late, fold=fold, application=application)}
    await upsert_states(connection, fold, [states[key] for key in sorted(states)])
    cache.put(states)


async def _fold_anew(
    connection: AsyncConnection, keys: Sequence[str], *, fold: folding.Fold, application: Application
) -> AsyncIterator[tuple[str, folding.State]]:
    """Each key's state from its stored facts, streamed: a key may have more facts than memory should hold."""
    if not keys:
        return
    await fact_partitions.refuse_detached(connection)
    statement = _FACTS_OF_KEYS.format(schema=schema_of(connection), observed=OBSERVED)
    cursor = database.raw(connection).cursor(statement, list(keys), fold.resets, prefetch=500)
    key: str | None = None
    state: folding.State | None = None
    async for row in cursor:
        if row["key"] != key:
            if key is not None and state is not None:
                yield key, state
            key, state = row["key"], None
        fact = application.restore(key=row["key"], position=row["position"], kind=row["kind"], body=row["body"])
        state = fold.step(state, fact)
    if key is not None and state is not None:
        yield key, state


async def read_states(connection: AsyncConnection, fold: folding.Fold, keys: Sequence[str]) -> dict[str, folding.State]:
    """The rows of the keys that have one."""
    if not keys:
        return {}
    columns = ", ".join(f"{name}::text AS {name}" if name in fold.texts else name for name in fold.columns)
    statement = f"SELECT {columns} FROM {schema_of(connection)}.{fold.table.name} WHERE key = ANY($1::text[])"
    rows = await database.raw(connection).fetch(statement, keys)
    return {row["key"]: fold.read(row) for row in rows}


async def upsert_states(connection: AsyncConnection, fold: folding.Fold, states: Sequence[folding.State]) -> None:
    """Write the rows, in the order given: of several by COPY into a table of the session, which is many times as quick as
    arrays."""
    rows = [fold.write(state) for state in states]
    if not rows:
        return
    raw, target = database.raw(connection), f"{schema_of(connection)}.{fold.table.name}"
    if len(rows) < STAGED_ROWS:
        await raw.execute(_upsert_statement(fold, target, _unnested(fold)), *map(list, zip(*rows, strict=True)))
        return
    staged = f"staged_{fold.table.name}"
    # Made in this session when it is not there yet; empty again with each commit, so that a pooler may hand the session on.
    await raw.execute(staging_statement(fold, staged))
    await raw.copy_records_to_table(staged, schema_name="pg_temp", columns=fold.columns, records=rows)
    await raw.execute(_upsert_statement(fold, target, f"pg_temp.{staged}"))


def staging_statement(fold: folding.Fold, name: str) -> str:
    """SQL that makes the temporary table of this name, for rows as `Fold.write` gives them."""
    columns = ", ".join(f"{column.name} {_staged_type(fold, column)}" for column in fold.table.columns)
    return f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({columns}) ON COMMIT DELETE ROWS"


def insert_statement(fold: folding.Fold, target: str, source: str) -> str:
    """SQL that brings the rows of such a table into their own."""
    selected = ", ".join(f"{column.name}::{_type(column)}" for column in fold.table.columns)
    return f"INSERT INTO {target} ({', '.join(fold.columns)}) SELECT {selected} FROM {source}"


def _upsert_statement(fold: folding.Fold, target: str, source: str) -> str:
    updates = ", ".join(f"{name} = excluded.{name}" for name in fold.columns if name != "key")
    return f"{insert_statement(fold, target, source)} ON CONFLICT (key) DO UPDATE SET {updates}"


def _unnested(fold: folding.Fold) -> str:
    arrays = ", ".join(
        f"${number}::{_staged_type(fold, column)}[]" for number, column in enumerate(fold.table.columns, start=1)
    )
    return f"unnest({arrays}) AS given ({', '.join(fold.columns)})"


def _staged_type(fold: folding.Fold, column: Any) -> str:
    """States hold what is sent as text: integers of any size, and JSON."""
    return "text" if column.name in fold.texts else _type(column)


def _type(column: Any) -> str:
    """The column's type as PostgreSQL writes it; a collation belongs to the column, not to what is sent."""
    return str(column.type.compile(dialect=_DIALECT)).partition(" COLLATE")[0]
