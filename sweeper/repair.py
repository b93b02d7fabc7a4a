"""Repairs on the application's database: compare-and-set in batches of one statement, each verified by reading back.

The intent (before and after) is recorded before a batch is tried, the outcome after it. How a batch is written, and what
becomes of one that is refused or lost, is in `sweeper/batch_writer.py`: the after image on a row says repaired, the before image
says not done, anything else is unknown.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from sqlalchemy.exc import DBAPIError

from shared import errors
from sweeper import (
    app_access,
    app_rights,
    batch_writer,
    batches,
    duplicate_inserts,
    insert_gate,
    lanes,
    obstacles,
    row_images,
)
from sweeper.app_schema import AppTable
from sweeper.batch import MARKED_BY_APP, Batch
from sweeper.context import Context, Subject
from sweeper.journal import Done, Journal
from sweeper.model import NEEDS_SETTING, Finding, Identity, Outcome, Value
from sweeper.storage import Storage

BATCH_ROWS = 1_000
"""Rows a statement: with twice as many nothing gets faster, and the rows stay locked for longer."""
INSERT_ROWS = 200
"""Rows a statement that inserts: each takes a lock of its own, of some thousands that a server has for all sessions."""
TWICE = "several repairs of this run want the same {key} {value}, so none of them is made"

_INSERT = "insert"
_EXACT = Storage()
Hashes = Mapping[tuple[str, str, str], str]


async def repair(
    context: Context, findings: Sequence[Finding], *, journal: Journal, hashes: Hashes | None = None
) -> list[Finding]:
    """Write the findings' updates and inserts; each comes back with its outcome, and the `reason` where it failed.

    Beside them come findings about rows that the application inserted at the same time (`sweeper/duplicate_inserts.py`).

    `hashes`: by the finding's identity, what the whole row has to be, not only the columns of the guard.
    Raises LockLost when another run may have begun.
    """
    app_rights.ensure_within(context.subjects, findings)
    marked = insert_gate.mark(context, findings)
    done = [replace(one, outcome=Outcome.PROPOSED) for one in marked if NEEDS_SETTING in one.evidence]
    allowed = [one for one in marked if NEEDS_SETTING not in one.evidence]
    for (name, kind, *_), group in sorted(_by_shape(context, allowed).items()):
        table, subject = context.tables[name], context.subjects[name]
        free, blocked = _apart(group, subject.row_key)
        done += blocked
        size = min(BATCH_ROWS, INSERT_ROWS) if kind == _INSERT else BATCH_ROWS
        some = [free[start : start + size] for start in range(0, len(free), size)]
        batch = partial(_repair_batch, context, table, subject, journal, hashes or {}, asyncio.Lock())
        done += chain.from_iterable(await lanes.each(some, batch))
    return await _looked_at_last(context, done)


async def _looked_at_last(context: Context, done: Sequence[Finding]) -> list[Finding]:
    """Return the findings; a row that no longer holds what an earlier batch wrote to it is `failed`.

    Each batch was read back before its commit, but triggers of a later one may have written to its rows. Where the database does
    not answer any more, what was read before the commits stands.
    """
    written = [one for one in done if one.outcome is Outcome.REPAIRED]
    undone: dict[Identity, str] = {}
    if len(written) <= 1:
        return list(done)  # nothing was written after it was read back
    for (name, *_), group in sorted(_by_shape(context, written).items()):
        table, subject = context.tables[name], context.subjects[name]
        for start in range(0, len(group), BATCH_ROWS):
            page = group[start : start + BATCH_ROWS]
            batch = batch_of(table, subject.row_key, page, storage=subject.storage)
            try:
                async with app_access.transaction(context.app) as connection:
                    found = await batches.undone(connection, batch)
            except (errors.ChaintrueError, DBAPIError, OSError, TimeoutError):
                return list(done)
            undone |= {page[place - 1].identity: reason for place, reason in found.items()}
    return [
        _told(one, Done(outcome=Outcome.FAILED, reason=undone[one.identity]))
        if one.outcome is Outcome.REPAIRED and one.identity in undone
        else one
        for one in done
    ]


def merged(findings: Sequence[Finding], done: Sequence[Finding]) -> list[Finding]:
    """Return the findings with what became of them, and what was found beside them."""
    outcome = {finding.identity: finding for finding in done}
    return [outcome.pop(finding.identity, finding) for finding in findings] + list(outcome.values())


def _by_shape(context: Context, findings: Iterable[Finding]) -> dict[tuple[str, ...], list[Finding]]:
    """By table and columns: what one statement can do, in the order of the rows. Columns that the table lacks are left out."""
    shapes: dict[tuple[str, ...], list[Finding]] = defaultdict(list)
    for finding in findings:
        table = context.tables[finding.table]
        update, guard, insert = (_known(table, part) for part in (finding.update, finding.guard, finding.insert or {}))
        if missing := sorted(set(update) - set(guard)):
            raise ValueError(f"{finding.drift_class} of {finding.table} writes {missing} without having seen them")
        one = replace(finding, update=update, guard=guard, insert=insert or None)
        kind = "update" if update else _INSERT
        shapes[finding.table, kind, *sorted(update or insert), "of", *sorted(guard)].append(one)
    return {shape: sorted(group, key=lambda one: one.row_id or one.entity or "") for shape, group in shapes.items()}


def _known(table: AppTable, image: Mapping[str, Value]) -> Mapping[str, Value]:
    """What of the image the live table has columns for."""
    return image if image.keys() <= table.types.keys() else {n: value for n, value in image.items() if table.has(n)}


def _apart(group: Sequence[Finding], key: str) -> tuple[list[Finding], list[Finding]]:
    """Those that want a key of their own, and those that want the same one: which of them is right is for people to say."""
    wanted = Counter(row_images.value_text(value) for one in group if (value := _written(one).get(key)) is not None)
    free, blocked = [], []
    for one in group:
        value = row_images.value_text(_written(one).get(key))
        if value is not None and wanted[value] > 1:
            blocked.append(_told(one, Done(outcome=Outcome.FAILED, reason=TWICE.format(key=key, value=value))))
        else:
            free.append(one)
    return free, blocked


async def _repair_batch(
    context: Context,
    table: AppTable,
    subject: Subject,
    journal: Journal,
    hashes: Hashes,
    turn: asyncio.Lock,
    findings: Sequence[Finding],
) -> list[Finding]:
    """One batch. While it is written, the next may be recorded; on the application's side there is one at a time (`turn`)."""
    forbidden = await obstacles.find(context, table, findings)
    blocked = [
        _told(one, Done(outcome=Outcome.FAILED, reason=forbidden[one.identity]))
        for one in findings
        if one.identity in forbidden
    ]
    free = [one for one in findings if one.identity not in forbidden]
    if not free:
        return blocked
    batch = batch_of(
        table,
        subject.row_key,
        free,
        [hashes.get(one.identity) for one in free] if hashes else (),
        storage=subject.storage,
    )
    numbers = await journal.intend(free, batch)
    async with turn:
        done = await batch_writer.write(context, batch)
    # What could not even be looked at stays intended: the next run settles it.
    await journal.settle({n: one for n, one in zip(numbers, done, strict=True) if one is not batch_writer.NOT_SEEN})
    told = [_told(finding, one) for finding, one in zip(free, done, strict=True)]
    written = [one for one in told if one.outcome is Outcome.REPAIRED]
    return [*blocked, *told, *await duplicate_inserts.find(context, table, subject.row_key, written)]


def batch_of(
    table: AppTable,
    key: str,
    findings: Sequence[Finding],
    hashes: Sequence[str | None] = (),
    *,
    storage: Storage = _EXACT,
) -> Batch:
    """Return findings of one shape as a batch; `storage` says by how much its amounts may be rounded, and what is only a mark."""
    written = _written(findings[0])
    return Batch(
        table=table,
        key=key,
        tolerances={name: amount for name in written if (amount := storage.tolerance_of(name))},
        marks=MARKED_BY_APP | storage.marks,
        ids=[one.row_id or "" for one in findings],
        after=[row_images.of(_written(one)) for one in findings],
        before=[row_images.of(one.guard) for one in findings] if findings[0].update else (),
        hashes=hashes,
    )


def _written(finding: Finding) -> Mapping[str, Value]:
    return finding.update or finding.insert or {}


def _told(finding: Finding, done: Done) -> Finding:
    one = replace(finding, outcome=done.outcome)
    return one if done.reason is None else one.with_evidence(reason=done.reason)
