"""What was seen to differ, remembered across runs: `recon.drift`. Never deleted from; a row that agrees again is marked so.

All times are the own database's, so that runs on several machines agree on how long a difference stands.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sweeper import settling
from sweeper.model import Finding, Identity, Place
from sweeper.settling import Noted, Sighting

PAGE_ROWS = 5_000
"""Findings of one statement."""

_CLOCK = text("SELECT clock_timestamp()")

_SEEN = text("""
INSERT INTO recon.drift AS held (
  table_name, identity, row_id, chain_key, class, signature, first_seen, same_since, last_seen, is_there)
SELECT seen.table_name, seen.identity, seen.row_id, seen.chain_key, seen.class, seen.signature, :now, :now, :now, true
FROM unnest(CAST(:tables AS text[]), CAST(:identities AS text[]), CAST(:row_ids AS text[]), CAST(:chain_keys AS text[]),
  CAST(:classes AS text[]), CAST(:signatures AS text[]))
  AS seen (table_name, identity, row_id, chain_key, class, signature)
ON CONFLICT (table_name, identity) DO UPDATE SET
  row_id = excluded.row_id, chain_key = excluded.chain_key,
  class = excluded.class, signature = excluded.signature, last_seen = excluded.last_seen, is_there = true,
  first_seen = CASE WHEN held.is_there THEN held.first_seen ELSE excluded.first_seen END,
  same_since = CASE WHEN held.is_there AND held.signature = excluded.signature
    THEN held.same_since ELSE excluded.same_since END
RETURNING table_name, identity, first_seen, same_since
""")

_GONE_OF_TABLES = text("""
UPDATE recon.drift SET is_there = false
WHERE is_there AND table_name = ANY(CAST(:tables AS text[])) AND last_seen IS DISTINCT FROM :now
""")

_GONE = text("""
UPDATE recon.drift AS held SET is_there = false
FROM unnest(CAST(:tables AS text[]), CAST(:identities AS text[])) AS looked (table_name, identity)
WHERE held.is_there AND held.table_name = looked.table_name AND held.identity = looked.identity
  AND held.last_seen IS DISTINCT FROM :now
""")

_STANDING = text("""
SELECT table_name, class, count(*) FILTER (WHERE is_there) AS rows,
  greatest(extract(epoch FROM clock_timestamp() - min(first_seen) FILTER (WHERE is_there)), 0) AS age
FROM recon.drift GROUP BY table_name, class
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known to differ still.

    rows   by table and class; 0 where there was such drift once
    ages   by table: for how many seconds the oldest of it has been known, 0 where there is none any more
    """

    rows: Mapping[tuple[str, str], int] = field(default_factory=dict)
    ages: Mapping[str, float] = field(default_factory=dict)


def place(finding: Finding) -> Place:
    """What the finding is remembered by."""
    return finding.place


async def note(
    engine: AsyncEngine, findings: Iterable[Finding], *, whole: Collection[str] = (), looked_at: Iterable[Place] = ()
) -> Noted:
    """Write down what was found, and that what was looked at and not found is no longer there.

    `whole` are tables of which all was looked at that differed before (a full survey does so, and one of what changed, when it
    came to its end): what is not among the findings agrees again. Of the others only the places `looked_at` do.
    """
    seen = {place(finding): finding for finding in findings}
    looked = sorted(set(looked_at) - seen.keys())
    sightings: dict[Identity, Sighting] = {}
    async with engine.begin() as connection:
        now: datetime = (await connection.execute(_CLOCK)).scalar_one()
        places = sorted(seen)
        for start in range(0, len(places), PAGE_ROWS):
            sightings |= await _note([seen[one] for one in places[start : start + PAGE_ROWS]], connection, now)
        await connection.execute(_GONE_OF_TABLES, {"tables": list(whole), "now": now})
        for start in range(0, len(looked), PAGE_ROWS):
            await _gone(looked[start : start + PAGE_ROWS], connection, now)
    return Noted(at=now, sightings=sightings)


async def _note(findings: Sequence[Finding], connection: AsyncConnection, now: datetime) -> dict[Identity, Sighting]:
    signatures = [settling.signature(finding) for finding in findings]
    parameters = {
        "now": now,
        "tables": [finding.table for finding in findings],
        "identities": [place(finding)[1] for finding in findings],
        "row_ids": [finding.row_id for finding in findings],
        "chain_keys": [finding.chain_key for finding in findings],
        "classes": [finding.drift_class for finding in findings],
        "signatures": signatures,
    }
    held = {(row.table_name, row.identity): row for row in await connection.execute(_SEEN, parameters)}
    return {
        finding.identity: Sighting(
            first_seen=held[place(finding)].first_seen, same_since=held[place(finding)].same_since, signature=known
        )
        for finding, known in zip(findings, signatures, strict=True)
    }


async def _gone(places: Sequence[Place], connection: AsyncConnection, now: datetime | None) -> None:
    parameters = {"tables": [one[0] for one in places], "identities": [one[1] for one in places], "now": now}
    await connection.execute(_GONE, parameters)


async def over(engine: AsyncEngine, findings: Iterable[Finding]) -> None:
    """Write down that these agree now: they were repaired and read back."""
    places = sorted({place(finding) for finding in findings})
    async with engine.begin() as connection:
        for start in range(0, len(places), PAGE_ROWS):
            await _gone(places[start : start + PAGE_ROWS], connection, None)


async def standing(engine: AsyncEngine) -> Standing:
    """What is known to differ as of now."""
    async with engine.connect() as connection:
        found = (await connection.execute(_STANDING)).all()
    ages: dict[str, float] = {}
    for one in found:
        ages[one.table_name] = max(ages.get(one.table_name, 0.0), float(one.age))
    return Standing(rows={(one.table_name, one[1]): one.rows for one in found}, ages=ages)
