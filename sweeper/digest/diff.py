"""The difference of two whole tables by hashes: both sides are walked at once, spilled, and matched bucket by bucket."""

import asyncio
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sqlalchemy import text

from shared import database
from sweeper.digest import canary, match, scan, spill
from sweeper.digest.hashing import Hashing
from sweeper.digest.match import Ids, Keys, Unequal
from sweeper.digest.scan import Connect, Walk
from sweeper.digest.spec import Digest
from sweeper.digest.spill import Manifest, SideProgress, Spill
from sweeper.pace import Pace

HASHES_A_LOOKUP = 100_000
MOST_REWRITTEN = 100_000
"""Rows written during a scan that are read again; of more than these a row that moved may be missed, which is said."""

_ESTIMATE = text("""
SELECT greatest(reltuples, pg_relation_size(oid) / 200) AS rows FROM pg_class WHERE oid = to_regclass(:table)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side's table. `rows` is a SELECT FROM it under the name `alias`, without a WHERE.

    place       which database it is        is_walked   piece by piece; else what `where` leaves is read at once
    """

    table: str
    alias: str
    rows: str
    where: str
    place: str
    connect: Connect
    pace: Pace
    is_walked: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What needs a look: see `match.Unequal`. The counts are of all rows that were hashed, without the canaries.

    is_resumed   some of the hashes are of an earlier run: what changed since then may look equal
    app_twins    of `app_only` those that share their key with another row
    rewritten    ids of the app's rows that were written since the scan began: the scan may have missed them
    has_more_rewritten   there are more of those than a scan reads again
    """

    differing: Ids
    app_only: Ids
    chain_only: Keys
    shared: Keys
    app_rows: int
    chain_rows: int
    canary_found: bool
    hashing: Hashing
    app_twins: Ids
    rewritten: Ids
    is_resumed: bool = False
    has_more_rewritten: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where hashes are spilled: `directory` None is a temporary one, gone with the run."""

    directory: Path | None
    max_age_seconds: float


async def run(
    digest: Digest, *, app: Side, chain: Side, place: Place, say: Callable[[float], None] = lambda _: None
) -> Difference:
    """Hash both sides and compare; goes on with a scan of the same that broke off."""
    with _opened(place.directory, app.table) as directory:
        kept = await _spilled(digest, app, chain, directory, place)
        hashing = _hashing_of(kept.manifest)
        try:
            known = await _probe(digest, hashing, app, chain)
            shares = dict.fromkeys(spill.SIDES, 0.0)

            def told(side: str, share: float) -> None:
                shares[side] = share
                say(min(shares.values()))

            async with asyncio.TaskGroup() as group:
                rewritten = group.create_task(_walk_app(digest, hashing, app, kept, told))
                group.create_task(_walk("chain", digest, hashing, chain, kept, told))
            found = _matched(kept, hashing, known, rewritten.result())
        finally:
            kept.close()
        spill.discard(directory)
    return found


async def keys_of(chain: Side, digest: Digest, hashing: Hashing, hashes: Keys) -> AsyncIterator[list[str]]:
    """The entities' own keys (`it.key`) to the hashes of what names them, many at a time."""
    statement = (
        f"SELECT it.key FROM ({chain.rows} WHERE {chain.where}) AS it "
        f"WHERE {hashing.key(digest.expected_key)} = ANY(CAST($1 AS bigint[]))"
    )
    for start in range(0, len(hashes), HASHES_A_LOOKUP):
        wanted = hashes[start : start + HASHES_A_LOOKUP].view(np.int64).tolist()
        yield await _keys(chain, statement, wanted)


async def colliding_keys(
    chain: Side, digest: Digest, hashing: Hashing, *, shared: Keys, names: Sequence[str]
) -> AsyncIterator[list[str]]:
    """The keys (`it.key`) of entities that another key's hash hides, many at a time.

    shared   hashes that several entities may have (`Unequal.shared`); an entity that has its hash alone is not given
    names    what rows name that have no entity, and yet the hash of one: the entities with these hashes are given
    """
    key = hashing.key(digest.expected_key)
    rows = f"SELECT it.key, {key} AS key_hash FROM ({chain.rows} WHERE {chain.where}) AS it"
    several = (
        f"SELECT unnest(array_agg(one.key)) AS key FROM ({rows} WHERE {key} = ANY(CAST($1 AS bigint[]))) AS one"
        " GROUP BY one.key_hash HAVING count(*) > 1"
    )
    hashed = f"SELECT {hashing.key('name')} FROM unnest(CAST($1 AS text[])) AS name"
    for start in range(0, len(shared), HASHES_A_LOOKUP):
        yield await _keys(chain, several, shared[start : start + HASHES_A_LOOKUP].view(np.int64).tolist())
    for start in range(0, len(names), HASHES_A_LOOKUP):
        wanted = list(names[start : start + HASHES_A_LOOKUP])
        yield await _keys(chain, f"{rows} WHERE {key} = ANY(ARRAY({hashed}))", wanted)


async def _keys(chain: Side, statement: str, wanted: Sequence[int] | Sequence[str]) -> list[str]:
    async with chain.pace.working(), chain.connect() as connection:
        await connection.execute(text("SELECT 1"))
        return [row["key"] for row in await database.raw(connection).fetch(statement, wanted)]


@contextmanager
def _opened(directory: Path | None, table: str) -> Iterator[Path]:
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="chaintrue-scan-") as temporary:
            yield Path(temporary)
    else:
        own = directory / table
        own.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield own


async def _spilled(digest: Digest, app: Side, chain: Side, directory: Path, place: Place) -> Spill:
    """The files of this scan: those that a scan of the same left here, or fresh ones."""
    fingerprint = _fingerprint(digest, app, chain)
    kept = Spill.resumed(directory, fingerprint=fingerprint, max_age_seconds=place.max_age_seconds)
    if kept is not None:
        return kept
    hashing = await _agreed(digest, app, chain)
    buckets = spill.buckets_for(max(await estimate(app), await estimate(chain)))
    sides = {side: SideProgress(lengths=[0] * buckets) for side in spill.SIDES}
    manifest = Manifest(
        fingerprint=fingerprint,
        started_at=time.time(),
        seed=hashing.seed,
        name=hashing.name,
        native=hashing.native,
        buckets=buckets,
        sides=sides,
        since=await scan.now(app.connect) if app.is_walked else None,
    )
    return Spill(directory, manifest, is_kept=place.directory is not None)


def _fingerprint(digest: Digest, app: Side, chain: Side) -> str:
    # Of one seed always: what changes between two scans of the same is how a version of this program hashes.
    ways = [Hashing(seed=1, native=native).hashed(digest, "", with_id=True) for native in (True, False)]
    said = (digest, *ways, *((side.place, side.table, side.rows, side.where) for side in (app, chain)))
    return hashlib.sha256(repr(said).encode()).hexdigest()


def _hashing_of(manifest: Manifest) -> Hashing:
    return Hashing(seed=manifest.seed, name=manifest.name, native=manifest.native)


async def _agreed(digest: Digest, app: Side, chain: Side) -> Hashing:
    """PostgreSQL's own hashes where both databases make the same of them, else portable ones."""
    hashing = Hashing.fresh()
    of_app, of_chain = [await _of(side, hashing, digest) for side in (app, chain)]
    return hashing if of_app == of_chain else replace(hashing, native=False)


async def _probe(digest: Digest, hashing: Hashing, app: Side, chain: Side) -> list[int]:
    """The hashes of the canaries' keys, which both sides have to make alike."""
    of_app, of_chain = [await _of(side, hashing, digest) for side in (app, chain)]
    return [key for key, _ in of_chain] if of_app == of_chain else []


async def _of(side: Side, hashing: Hashing, digest: Digest) -> list[tuple[int, int]]:
    async with side.connect() as connection:
        await connection.execute(text("SELECT 1"))
        return await hashing.probe(connection, digest)


async def estimate(side: Side) -> int:
    """About how many rows the table has."""
    async with side.connect() as connection:
        return int((await connection.execute(_ESTIMATE, {"table": side.table})).scalar_one() or 0)


async def _walk(
    name: str, digest: Digest, hashing: Hashing, side: Side, kept: Spill, told: Callable[[str, float], None]
) -> None:
    first = kept.progress(name).next_page
    if first is None:
        told(name, 1.0)
        return
    if first == 0:
        kept.restart(name)  # a table without pages, or one that had none then
    of_app = name == "app"

    def statement(condition: str, with_canaries: bool) -> str:
        canonical = hashing.canonical(
            digest,
            of_app=of_app,
            rows=f"{side.rows} WHERE {side.where} AND {condition}",
            row_id="it.id" if of_app else "CAST(NULL AS uuid)",
            with_canaries=with_canaries,
        )
        return hashing.hashed(digest, canonical, with_id=of_app)

    walk = Walk(
        table=side.table,
        alias=side.alias,
        connect=side.connect,
        statement=statement,
        with_id=of_app,
        pace=side.pace,
        first=first,
    )
    async for piece in scan.pieces(walk) if side.is_walked else scan.whole(walk):
        kept.add(name, piece.records, next_page=piece.next_page)
        told(name, piece.share)


async def _walk_app(
    digest: Digest, hashing: Hashing, app: Side, kept: Spill, told: Callable[[str, float], None]
) -> Ids:
    """Walk the app's side; returns the ids of the rows written since the scan began, at most one more than a scan reads again."""
    await _walk("app", digest, hashing, app, kept, told)
    since = kept.manifest.since
    if since is None:
        return np.empty(0, "V16")
    return await scan.rewritten(app.table, app.connect, app.pace, since=since, limit=MOST_REWRITTEN + 1)


def _matched(kept: Spill, hashing: Hashing, known: list[int], rewritten: Ids) -> Difference:
    """What differs, with the canaries taken out again."""
    parts = []
    unseen = np.unique(match.numbers(rewritten))
    for app, chain in kept.buckets():
        parts.append(match.unequal(app, chain))
        if len(unseen):
            unseen = unseen[~np.isin(unseen, match.numbers(app["id"]))]
    sifted = canary.sift(
        Unequal(
            differing=np.concatenate([part.differing for part in parts]),
            app_only=np.concatenate([part.app_only for part in parts]),
            chain_only=np.concatenate([part.chain_only for part in parts]),
            shared=np.concatenate([part.shared for part in parts]),
            app_twins=np.concatenate([part.app_twins for part in parts]),
        ),
        canary.flock(hashing.name),
        known,
    )
    return Difference(
        differing=sifted.rest.differing,
        app_only=sifted.rest.app_only,
        chain_only=sifted.rest.chain_only,
        shared=sifted.rest.shared,
        app_rows=kept.progress("app").rows - canary.ON_APP + len(unseen),
        chain_rows=kept.progress("chain").rows - canary.ON_CHAIN,
        canary_found=sifted.found,
        hashing=hashing,
        app_twins=sifted.rest.app_twins,
        rewritten=rewritten[:MOST_REWRITTEN],
        is_resumed=kept.is_resumed,
        has_more_rewritten=len(rewritten) > MOST_REWRITTEN,
    )
