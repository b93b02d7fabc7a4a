"""Entries that contradict our own tables go to them by the log, like every fact: as a frame of observations.

The sweeper mends no table itself, and writes no finding that stands on tables that are wrong: it writes the frame, waits until
the stream has applied it, and compares anew. Where that cannot be (no Kafka is configured, it is away, no stream runs) the
answer stays unknown, with the reason. A frame that is applied only later does no harm: it is what the chain said.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from time import monotonic

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import applied, chain_tables, errors, frames, kafka, same_log
from shared.settings import Kafka, environment_name
from sweeper.context import Context, Subject
from sweeper.model import Answer, Finding
from sweeper.questions import Held

ENTRIES = 1_000
"""Entries that are told at once. With more of them something else is wrong than a few rows: see `chaintrue replay`."""
_ALLOWED = environment_name("sweep", "observe_seconds")
_STILL = (
    f"it contradicts them still: no more than {ENTRIES} entries are told at once, and an entry may change meanwhile"
)
_OTHER = "by what the entry told, the row is of another entity: that was seen once, so the next run says more"


async def tell(context: Context, contradictions: Iterable[Held], *, settings: Kafka) -> str | None:
    """Write the entries to the log and wait until our tables have them; None then, else why they have not."""
    held = list({one.key: one for one in contradictions}.values())[:ENTRIES]
    if not held:
        return None
    if settings.bootstrap_servers is None:
        return f"{environment_name('kafka', 'bootstrap_servers')} is not set"
    if not context.settings.observe_seconds:
        return f"{_ALLOWED} is 0"
    try:
        return await _tell(context, held, settings, seconds=context.settings.observe_seconds)
    except errors.ChaintrueError as error:
        return str(error.args[0])


async def _tell(context: Context, held: Sequence[Held], settings: Kafka, *, seconds: float) -> str | None:
    scopes = chain_tables.scopes.c
    query = select(scopes.partition, scopes.network).where(scopes.scope == context.scope)
    async with context.chain.connect() as connection:
        scope = (await connection.execute(query)).one_or_none()
    if scope is None:
        return "the stream has not begun"
    batch = frames_of(held, network=scope.network, scope=context.scope)
    until = monotonic() + seconds
    try:
        async with asyncio.timeout(seconds):
            offset = await _write(context.chain, settings, scope.partition, batch)
    except TimeoutError:
        return f"Kafka took longer than the {seconds:g} s that {_ALLOWED} allows"
    left = max(until - monotonic(), 0.0)
    if await applied.wait(context.chain, partition=scope.partition, offset=offset, seconds=left):
        return None
    return f"the stream has not applied it within {seconds:g} s ({_ALLOWED}): is it running?"


async def _write(engine: AsyncEngine, settings: Kafka, partition: int, batch: Iterable[frames.Frame]) -> int:
    """The offset of the last frame. A topic that is not our log is refused before anything is written to it."""
    await same_log.check(settings, engine, partition=partition)
    async with kafka.writer(settings) as writer:
        return (await writer.write(partition, batch))[-1]


def frames_of(held: Iterable[Held], *, network: str, scope: str) -> Iterator[frames.Observation]:
    """The answers as frames: those of one ledger together, the oldest first."""
    by_ledger: dict[int, list[frames.Entry]] = defaultdict(list)
    for one in held:
        by_ledger[one.ledger].append(one.entry())
    for ledger, entries in sorted(by_ledger.items()):
        whole = frames.Observation(network=network, scope=scope, latest_ledger=ledger, entries=tuple(entries))
        yield from frames.cut_entries(whole)


async def mend(
    context: Context, subjects: Sequence[Subject], findings: Sequence[Finding], *, settings: Kafka
) -> list[Finding]:
    """The findings; those whose entries contradict our tables as they are after these were mended.

    What agrees then is no finding any more. What could not be mended stays unknown, and says why.
    """
    wrong = [one for one in findings if one.contradicted_by is not None]
    if not wrong:
        return list(findings)
    why_not = await tell(context, [one.contradicted_by for one in wrong if one.contradicted_by], settings=settings)
    if why_not is not None:
        return [one if one.contradicted_by is None else _unknown(one, why_not) for one in findings]
    mended = [one for one in findings if one.contradicted_by is None]
    before = {one.place: one for one in wrong}
    for subject in subjects:
        of_table = [one for one in wrong if one.table == subject.table]
        again = await subject.look_again(context, of_table) if of_table else []
        mended += [_unknown(before[one.place], _OTHER) for one in again if one.identity != before[one.place].identity]
        for one in await subject.confirm(context, [one for one in again if one.identity == before[one.place].identity]):
            known = one.with_evidence(first_seen=before[one.place].evidence.get("first_seen"))
            mended.append(known if one.contradicted_by is None else _unknown(known, _STILL))
    return mended


def _unknown(finding: Finding, why: str) -> Finding:
    return replace(finding, answer=Answer.UNKNOWN).with_evidence(not_observed=why)
