"""The two sides of a subject of the sweep, for the digests: its own queries, with the conditions of this run."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import database
from sweeper import app_access
from sweeper.context import Context
from sweeper.digest import diff
from sweeper.digest.diff import Difference, Place, Side
from sweeper.digest.spec import Digest


class Hashed(Protocol):
    """What is asked of a subject (see `sweeper.comparison.Comparison`)."""

    table: str
    expected_table: str
    row_key: str
    changed_at: str

    def app_query(self, context: Context, *, cut: bool = False) -> str: ...
    def expected_query(self) -> tuple[str, Mapping[str, Any]]: ...
    def digest(self) -> Digest: ...
    @property
    def key_condition(self) -> str: ...


async def difference(context: Context, subject: Hashed, *, keys: Mapping[str, str] | None = None) -> Difference:
    """What needs a look, of all rows; or of the entities `keys` (their own keys, with what the app's rows call them) alone."""
    app, chain = _app(context, subject), _chain(context, subject)
    directory = context.settings.scan_directory
    if keys is not None:
        directory = None  # too short to be gone on with
        app = replace(app, where=f"row.{subject.row_key} = ANY({_array(keys.values())})", is_walked=False)
        chain = replace(chain, where=f"entity.key = ANY({_array(keys)})", is_walked=False)
    place = Place(directory=directory, max_age_seconds=context.settings.scan_max_age_seconds)

    def say(share: float) -> None:
        context.say(f"comparing {subject.table}: {share:.0%}")

    return await diff.run(subject.digest(), app=app, chain=chain, place=place, say=say)


async def app_rows(context: Context, subject: Hashed) -> int:
    """About how many rows the app's table has."""
    return await diff.estimate(_app(context, subject))


def keys_of(context: Context, subject: Hashed, found: Difference) -> AsyncIterator[list[str]]:
    """The keys of the entities that no row of the app has."""
    return diff.keys_of(_chain(context, subject), subject.digest(), found.hashing, found.chain_only)


def colliding_keys(
    context: Context, subject: Hashed, found: Difference, *, names: Sequence[str]
) -> AsyncIterator[list[str]]:
    """The keys of the entities that another key's hash hides (see `diff.colliding_keys`)."""
    chain = _chain(context, subject)
    return diff.colliding_keys(chain, subject.digest(), found.hashing, shared=found.shared, names=names)


async def changed_keys(context: Context, subject: Hashed, *, since: str, beside: Sequence[str]) -> dict[str, str]:
    """The entities whose expected row follows from a fact behind the position, and those with the keys `beside`.

    Each with what the app's row calls it.
    """
    changed = f"({subject.changed_at} > $1 OR entity.key = ANY(CAST($2 AS text[])))"
    rows = f"{_inlined(*subject.expected_query())} WHERE {subject.key_condition} AND {changed}"
    statement = f"SELECT it.key, {subject.digest().expected_key} AS name FROM ({rows}) AS it ORDER BY it.key"
    async with context.chain.connect() as connection:
        await connection.execute(text("SELECT 1"))
        found = await database.raw(connection).fetch(statement, since, list(beside))
    return {row["key"]: row["name"] for row in found}


def _app(context: Context, subject: Hashed) -> Side:
    return Side(
        table=subject.table,
        alias="row",
        rows=subject.app_query(context),
        where="true",
        place=_place(context.app),
        connect=lambda: app_access.transaction(context.app),
        pace=context.paces["app"],
    )


def _chain(context: Context, subject: Hashed) -> Side:
    return Side(
        table=subject.expected_table,
        alias="entity",
        rows=_inlined(*subject.expected_query()),
        where=subject.key_condition,
        place=_place(context.chain),
        connect=context.chain.connect,
        pace=context.paces["chain"],
    )


def _place(engine: AsyncEngine) -> str:
    """Which database it is; never with a password."""
    return f"{engine.url.host}:{engine.url.port}/{engine.url.database}"


def _inlined(query: str, parameters: Mapping[str, Any]) -> str:
    """The query with its parameters as literals: COPY takes none."""
    bound = text(query).bindparams(**parameters)
    return str(bound.compile(dialect=asyncpg.dialect(), compile_kwargs={"literal_binds": True}))  # type: ignore[no-untyped-call]  # SQLAlchemy's


def literal(value: str) -> str:
    """The text as a literal of SQL."""
    return "'" + value.replace("'", "''") + "'"


def _array(values: Iterable[str]) -> str:
    return f"CAST(ARRAY[{', '.join(map(literal, values))}] AS text[])"
