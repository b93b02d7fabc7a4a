"""A run's updates, taken back: each row gets its before image again, but only where nobody touched the row since.

Nobody did where the whole row is, to the byte, as the run left it. It is a run of its own, with a journal of its own: one that
died is settled like any other, and can be undone itself. Inserts are listed and left: no row is ever deleted; so are changes of
which it is not known whether they were written. The chain is not asked, for the rows and the journal say all.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from shared import database, errors
from shared.settings import EngineSettings, Policy
from sweeper import app_access, batches, journal, records, recovery, repair, row_images, runs, session, undo_unsure
from sweeper.batches import Seen
from sweeper.context import Compared, Context, Subject
from sweeper.journal import Change, Journal
from sweeper.model import Both, Finding, Outcome
from sweeper.report import Extent, Mode, Report
from sweeper.session import Progress, Session

CHANGED = "the row changed since the run wrote it"
GONE = "the row is gone"
KEPT = "chaintrue deletes no row: whether it is to go is for people to say"

_TABLES = text("SELECT DISTINCT table_name FROM recon.changes WHERE run_id = :run_id ORDER BY table_name")


async def run(
    settings: EngineSettings,
    named: str,
    *,
    scope: str,
    subjects: Sequence[Subject],
    on_progress: Progress = lambda _: None,
) -> Report:
    """Take back the run that is `named` by its id, or by a beginning that no other run shares.

    Raises RunUnknown where there is no such run, PlanRefused where its tables are not there.
    """
    async with database.connect(settings.database, section="database") as engine:
        undone = (await records.find(engine, named)).run_id
        async with engine.connect() as connection:
            tables = [row.table_name for row in await connection.execute(_TABLES, {"run_id": undone})]
    if missing := sorted({*tables} - {subject.table for subject in subjects}):
        raise errors.PlanRefused(f"run {undone} wrote to {', '.join(missing)}, which is no table of this application")
    async with session.opened(
        settings,
        scope=scope,
        subjects=subjects,
        tables=tables,
        mode=Mode.UNDO,
        extent=Extent.RUN,
        asks_chain=False,
    ) as one:
        one.context.say = on_progress
        one.run.notes += await recovery.settle(one.context)
        report = session.report(one, await _undo(one, undone))
        await runs.finish(one.context.chain, report)
    return report


@dataclass(slots=True)
class _Counts:
    """What there is no finding of."""

    there: int = 0
    already: int = 0
    inserts: int = 0


async def _undo(one: Session, undone: UUID) -> list[Finding]:
    this, context = one.run, one.context
    written = Journal(context.chain, this.run_id)
    counts = _Counts()
    findings: list[Finding] = []
    async for page in journal.changes(context.chain, undone, outcome=Outcome.REPAIRED.value):
        counts.there += len(page)
        context.say(f"looking at {counts.there} rows")
        shapes: dict[tuple[str, ...], list[Change]] = defaultdict(list)
        for change in page:
            if change.is_insert:
                findings.append(_left(change, undone))
                counts.inserts += 1
            else:
                shapes[change.table_name, *sorted(change.after)].append(change)
        for (table, *columns), changes in shapes.items():
            findings += await _put_back(context, table, columns, changes, undone, written, counts)
    unsure = await undo_unsure.changes(context, undone)
    counts.there += len(unsure.findings) + unsure.as_before
    counts.already += unsure.as_before
    this.notes += [*_notes(undone, counts), *unsure.notes]
    return [*findings, *unsure.findings]


async def _put_back(
    context: Context,
    table: str,
    columns: Sequence[str],
    changes: Sequence[Change],
    undone: UUID,
    written: Journal,
    counts: _Counts,
) -> list[Finding]:
    """The changes of one shape."""
    compared = context.compared.setdefault(table, Compared())
    lacking = [name for name in columns if not context.tables[table].has(name)]
    if lacking:
        reason = f"the table has no column {', '.join(lacking)} any more"
        return [_finding(change, undone, outcome=Outcome.FAILED, reason=reason) for change in changes]
    rows = await _look(context, table, changes)
    held = await _values(context, table, columns, [change.row_id for change in changes])
    findings: list[Finding] = []
    free: list[Finding] = []
    hashes: dict[tuple[str, str, str], str] = {}
    for place, change in enumerate(changes, start=1):
        row = rows.get(place)
        compared.app_rows += row is not None
        if row is not None and row.is_before:
            counts.already += 1
        elif row is None or row.row_hash != change.row_hash or change.row_id not in held:
            reason = GONE if row is None else CHANGED
            findings.append(_finding(change, undone, outcome=Outcome.SKIPPED_CHANGED, reason=reason))
        else:
            one = _finding(change, undone, guard=held[change.row_id])
            free.append(one)
            hashes[one.identity] = row.row_hash
    context.say(f"putting back {len(free)} rows of {table}")
    return findings + await repair.repair(context, free, journal=written, hashes=hashes)


async def _look(context: Context, table: str, changes: Sequence[Change]) -> dict[int, Seen]:
    """The rows by place: whether they hold what was written, or what was there before."""
    findings = [
        Finding(
            drift_class=change.drift_class,
            table=table,
            row_id=change.row_id,
            entity=change.entity,
            words="",
            update=change.after,
            guard={name: change.before[name] for name in change.after},
        )
        for change in changes
    ]
    batch = repair.batch_of(context.tables[table], context.subjects[table].row_key, findings)
    async with app_access.transaction(context.app) as connection:
        return await batches.look(connection, batch)


async def _values(
    context: Context, table: str, columns: Sequence[str], ids: Sequence[str]
) -> dict[str, Mapping[str, str | None]]:
    """What the columns hold now, as text: what a trigger of the application marked is not what the run wrote."""
    listed = ", ".join(f"CAST(live.{row_images.quoted(name)} AS text)" for name in columns)
    kind = context.tables[table].types["id"]
    statement = text(
        f"SELECT CAST(live.id AS text), {listed} FROM {table} AS live WHERE live.id = ANY({row_images.array_sql('ids', kind)})"
    )
    async with app_access.transaction(context.app) as connection:
        rows = (await connection.execute(statement, {"ids": list(ids)})).all()
    return {row[0]: dict(zip(columns, row[1:], strict=True)) for row in rows}


def _finding(
    change: Change,
    undone: UUID,
    *,
    guard: Mapping[str, str | None] | None = None,
    outcome: Outcome = Outcome.PROPOSED,
    reason: str | None = None,
) -> Finding:
    """The change as a finding: on the app's side what it held before the run, on the chain's what the run wrote."""
    columns = {name: Both(change.before[name], value) for name, value in sorted(change.after.items())}
    finding = Finding(
        drift_class=change.drift_class,
        table=change.table_name,
        row_id=change.row_id,
        entity=change.entity,
        words=f"Run {str(undone)[:8]} set {', '.join(columns)}; what was there before is put back.",
        columns=columns,
        update={} if guard is None else {name: change.before[name] for name in change.after},
        guard=guard or {},
        action=Policy.REPAIR,
        outcome=outcome,
    )
    return finding if reason is None else finding.with_evidence(reason=reason)


def _left(change: Change, undone: UUID) -> Finding:
    return Finding(
        drift_class=change.drift_class,
        table=change.table_name,
        row_id=change.row_id,
        entity=change.entity,
        words=f"Run {str(undone)[:8]} inserted this row.",
        evidence={"reason": KEPT},
        action=Policy.REPORT,
        outcome=Outcome.REPORTED,
    )


def _notes(undone: UUID, counts: _Counts) -> list[str]:
    if not counts.there:
        return [f"run {undone} wrote nothing: there is nothing to undo"]
    notes = [f"this undoes run {undone}"]
    if counts.already:
        notes.append(f"{counts.already} rows hold what they held before that run: nothing to do about them")
    if counts.inserts:
        notes.append(f"{counts.inserts} rows that it inserted are left: {KEPT}")
    return notes
