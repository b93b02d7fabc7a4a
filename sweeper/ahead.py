"""Which findings that rest on facts beyond the watermark may count all the same.

An observation is placed behind every event of the ledger that answered it, so it may lie beyond the watermark while the entry
itself has not changed for long. Such a row is as old as its entry: where the entry was last modified at or below the watermark,
and no event of it is known beyond, nothing about it is ahead.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from sqlalchemy import text

from shared import errors, position
from sweeper.context import Context
from sweeper.model import Finding, Identity

_BEYOND = text("""
SELECT key, position, kind = 'observed' AS is_observed, CAST(body ->> 'lastModifiedLedgerSeq' AS bigint) AS last_modified
FROM chain.facts WHERE key = ANY(:keys) AND position > :watermark
""")


class Beyond(NamedTuple):
    """A fact behind the watermark. `last_modified` is None where the fact is one part of an entry that several tell of."""

    position: str
    is_observed: bool
    last_modified: int | None


async def find(context: Context, findings: Sequence[Finding], *, watermark: int) -> set[Identity]:
    """Return the findings that know of something newer than the watermark (a ledger)."""
    candidates = {one.identity: one for one in findings if rests_beyond(one, watermark)}
    keys = {identity: context.subjects[one.table].fact_keys(one) for identity, one in candidates.items()}
    facts = await _read(context, {key for of_finding in keys.values() for key in of_finding}, watermark)
    return {
        identity
        for identity in candidates
        if not is_vouched_for([fact for key in keys[identity] for fact in facts.get(key, ())], watermark=watermark)
    }


def rests_beyond(finding: Finding, watermark: int) -> bool:
    """Whether the newest fact of the finding lies behind the watermark, or cannot be placed."""
    known_at = finding.evidence.get("known_at")
    if known_at is None:
        return False
    try:
        return position.ledger_of(position.check(known_at)) > watermark
    except errors.FrameInvalid:
        return True  # it claims to rest on a fact, and nothing tells where that is


def is_vouched_for(facts: Sequence[Beyond], *, watermark: int) -> bool:
    """Return whether all facts beyond the watermark are observations of entries that were last modified at or below it. Pure.

    Facts without `last_modified` count by the entry observed at the same position; without any facts nothing is proven.
    """
    if not facts or not all(fact.is_observed for fact in facts):
        return False
    modified: dict[str, list[int]] = defaultdict(list)
    for fact in facts:
        if fact.last_modified is not None:
            modified[fact.position].append(fact.last_modified)
    return all(fact.position in modified and max(modified[fact.position]) <= watermark for fact in facts)


async def _read(context: Context, keys: Set[str], watermark: int) -> Mapping[str, list[Beyond]]:
    facts: dict[str, list[Beyond]] = defaultdict(list)
    if not keys:
        return facts
    parameters = {"keys": sorted(keys), "watermark": position.end_of(watermark)}
    async with context.chain.connect() as connection:
        for row in await connection.execute(_BEYOND, parameters):
            facts[row.key].append(Beyond(row.position, row.is_observed, row.last_modified))
    return facts
