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

from sweeper import app_rights, batch_writer, lanes, obstacles, row_images
from sweeper.app_schema import AppTable
from sweeper.batches import Batch
from sweeper.context import Context
from sweeper.journal import Done, Journal
from sweeper.model import Finding, Outcome, Value

BATCH_ROWS = 1_000
"""Rows a statement: with twice as many nothing gets faster, and the rows stay locked for longer."""
TWICE = "several repairs of this run want the same {key} {value}, so none of them is made"

Hashes = Mapping[tuple[str, str, str], str]


async def repair(
    context: Context, findings: Sequence[Finding], *, journal: Journal, hashes: Hashes | None = None
) -> list[Finding]:
    """Write the findings' updates and inserts; each comes back with its outcome, and the `reason` where it failed.

    `hashes`: by the finding's identity, what the whole row has to be, not only the columns of the guard.
    Raises LockLost when another run may have begun.
    """
    app_rights.ensure_within(context.subjects, findings)
    done: list[Finding] = []
    for (name, *_), group in sorted(_by_shape(context, findings).items()):
        table = context.tables[name]
        key = context.subjects[name].row_key
        free, blocked = _apart(group, key)
        done += blocked
        some = [free[start : start + BATCH_ROWS] for start in range(0, len(free), BATCH_ROWS)]
        batch = partial(_repair_batch, context, table, key, journal, hashes or {}, asyncio.Lock())
        done += chain.from_iterable(await lanes.each(some, batch))
    return done


def _by_shape(context: Context, findings: Iterable[Finding]) -> dict[tuple[str, ...], list[Finding]]:
    """By table and columns: what one statement can do, in the order of the rows. Columns that the table lacks are left out."""
    shapes: dict[tuple[str, ...], list[Finding]] = defaultdict(list)
    for finding in findings:
        table = context.tables[finding.table]
        update, guard, insert = (_known(table, part) for part in (finding.update, finding.guard, finding.insert or {}))
        if missing := sorted(set(update) - set(guard)):
            raise ValueError(f"{finding.drift_class} of {finding.table} writes {missing} without having seen them")
        one = replace(finding, update=update, guard=guard, insert=insert or None)
        shapes[finding.table, "update" if update else "insert", *sorted(update or insert), "of", *sorted(guard)].append(
            one
        )
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
    key: str,
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
    batch = batch_of(table, key, free, [hashes.get(one.identity) for one in free] if hashes else ())
    numbers = await journal.intend(free, batch)
    async with turn:
        done = await batch_writer.write(context, batch)
    # What could not even be looked at stays intended: the next run settles it.
    await journal.settle({n: one for n, one in zip(numbers, done, strict=True) if one is not batch_writer.NOT_SEEN})
    return blocked + [_told(finding, one) for finding, one in zip(free, done, strict=True)]


def batch_of(table: AppTable, key: str, findings: Sequence[Finding], hashes: Sequence[str | None] = ()) -> Batch:
    """Findings of one shape as a batch."""
    return Batch(
        table=table,
        key=key,
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
