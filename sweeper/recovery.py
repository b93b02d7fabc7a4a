"""What became of the changes of runs that died: seen on the rows, at the start of the next run.

A change that was intended and never settled may have been written or not. The after image on the row says that it was, the
before image (or, of an insert, no row) that it was not; anything else stays unknown for ever. Each row or key is looked at
under its lock: a transaction of the dead run whose COMMIT is still under way is waited for. Where it does not end in time, the
change stays open for the next run.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

from sqlalchemy.exc import DBAPIError

from shared import errors, transient
from sweeper import app_access, batch_writer, batches, journal, repair
from sweeper.context import Context
from sweeper.journal import Change, Done
from sweeper.model import Finding, Outcome

NOT_DONE = "not done: the run died before"

_WORDS = {
    Outcome.REPAIRED: "were written",
    Outcome.FAILED: "were not written",
    Outcome.UNKNOWN: "cannot be told",
}


async def settle(context: Context) -> list[str]:
    """Settle what earlier runs left open; returns what is worth knowing of it. What cannot be looked at now stays open."""
    notes: list[str] = []
    for run_id in await journal.unsettled(context.chain):
        counts: Counter[Outcome] = Counter()
        why_not = None
        async for page in journal.changes(context.chain, run_id, outcome=journal.INTENDED):
            done, why_not = await look(context, page)
            await journal.settle(context.chain, run_id, done)
            counts.update(one.outcome for one in done.values())
            if why_not is not None:
                break
        if why_not is not None:
            notes.append(f"run {run_id} died, and its last changes cannot be looked at yet: {why_not}")
            continue
        if counts:
            found = ", ".join(f"{counts[outcome]} {said}" for outcome, said in _WORDS.items() if counts[outcome])
            notes.append(f"run {run_id} died in the middle of {counts.total()} changes; by the rows, {found}")
    return notes


async def look(context: Context, changes: Sequence[Change]) -> tuple[dict[int, Done], str | None]:
    """What the rows say, by the changes' numbers, and why they cannot be looked at now, where they cannot."""
    try:
        return await _look(context, changes), None
    except (DBAPIError, OSError, TimeoutError, errors.SettingError) as error:
        return {}, str(error.args[0]) if isinstance(error, errors.ChaintrueError) else transient.words(error)


async def _look(context: Context, changes: Sequence[Change]) -> dict[int, Done]:
    """What the rows say, by the changes' numbers; tables that are no longer there are left out."""
    shapes: dict[tuple[str, ...], list[Change]] = defaultdict(list)
    for change in changes:
        table = context.tables.get(change.table_name)
        if table is not None and all(table.has(name) for name in (*change.before, *change.after)):
            shapes[change.table_name, change.kind, *sorted(change.after), "of", *sorted(change.before)].append(change)
    done: dict[int, Done] = {}
    for (name, *_), some in shapes.items():
        for start in range(0, len(some), repair.INSERT_ROWS):
            page = some[start : start + repair.INSERT_ROWS]
            subject = context.subjects[name]
            findings = [as_finding(one) for one in page]
            batch = repair.batch_of(context.tables[name], subject.row_key, findings, storage=subject.storage)
            async with app_access.writing(context.app) as connection:
                seen = await batches.look(connection, batch, locking=True)
            for place, change in enumerate(page, start=1):
                done[change.number] = batch_writer.settled(seen.get(place), batch, not_done=NOT_DONE)
    return done


def as_finding(change: Change) -> Finding:
    """The change as the finding that it came from, with its images as text."""
    return Finding(
        drift_class=change.drift_class,
        table=change.table_name,
        row_id=change.row_id or None,
        entity=change.entity,
        words="",
        update={} if change.is_insert else change.after,
        guard=change.before,
        insert=change.after if change.is_insert else None,
    )
