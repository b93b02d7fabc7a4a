"""Which changes of a plan are done already, though something else is found of their rows by now.

A repair may leave columns that it must not write (amounts of another scale), and the row is then found under another class: of
the plan's change there is nothing left to do.
"""

from collections import defaultdict
from collections.abc import Sequence

from sweeper import app_access, batches, row_images
from sweeper.batch import Batch
from sweeper.context import Context, Subject
from sweeper.model import Identity
from sweeper.plan_file import Change


async def among(context: Context, subject: Subject, changes: Sequence[Change]) -> set[Identity]:
    """Those of the table's changes whose rows hold every value that they set. Inserts are not looked for."""
    table = context.tables[subject.table]
    shapes: dict[tuple[str, ...], list[Change]] = defaultdict(list)
    for change in changes:
        if change.set and all(table.has(name) for name in change.set):
            shapes[tuple(sorted(change.set))].append(change)
    done: set[Identity] = set()
    for some in shapes.values():
        images = [row_images.of(one.set) for one in some]
        ids = [one.row_id or "" for one in some]
        batch = Batch(table=table, key=subject.row_key, ids=ids, after=images, before=images)
        done |= {some[number].identity for number in await _holding(context, batch)}
    return done


async def _holding(context: Context, batch: Batch) -> set[int]:
    """Return the numbers (from 0) of the rows that hold their image."""
    async with app_access.transaction(context.app) as connection:
        seen = await batches.look(connection, batch)
    return {place - 1 for place, row in seen.items() if row.is_after}
