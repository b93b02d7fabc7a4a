"""A reviewed plan, applied: each change is found anew on both sides, confirmed by the chain, and written only as it was reviewed.

The plan says which rows, and what people agreed to; it is never believed about the values. What is no longer so is left alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import text

from shared import errors
from shared.settings import EngineSettings
from sweeper import (
    app_access,
    column_fit,
    insert_gate,
    plan,
    plan_done,
    plan_file,
    plan_origin,
    recovery,
    repair,
    row_images,
    runs,
    session,
    sightings,
)
from sweeper.context import Compared, Context, Subject
from sweeper.journal import Journal
from sweeper.model import Answer, Finding, Identity, Outcome
from sweeper.plan_file import Change, PlanFile
from sweeper.report import Extent, Mode, Report
from sweeper.session import OnRequest, Progress, Session

WITHHELD = (
    "the row is no longer found to be missing, and no row has its key: another row may stand for the same entity. "
    "Hint: sweep again, and resolve the findings about rows without an id of the chain"
)


async def run(
    settings: EngineSettings,
    reviewed: PlanFile,
    *,
    scope: str,
    contracts: Sequence[str],
    subjects: Sequence[Subject],
    on_progress: Progress = lambda _: None,
    on_request: OnRequest = lambda _method, _outcome: None,
) -> Report:
    """Apply the plan. Raises PlanRefused when it was not made for this place and moment: then nothing is written."""
    plan_origin.check_before(reviewed, settings, contracts=contracts, now=datetime.now(UTC))
    changes = reviewed.selected()
    tables = sorted({change.table for change in changes})
    _check_tables(reviewed, subjects)
    async with session.opened(
        settings,
        scope=scope,
        subjects=subjects,
        tables=tables,
        mode=Mode.APPLY,
        extent=Extent.PLAN,
        on_request=on_request,
    ) as one:
        one.context.say = on_progress
        one.run.notes += await recovery.settle(one.context)
        here = await plan_origin.made_for(one.context, contracts=contracts, tables=tables)
        if one.context.watermark.ledger:  # before anything was indexed there is nothing to compare the plan with
            plan_origin.check(reviewed, here, tables=tables)
        if len(changes) < len(reviewed.changes):
            one.run.notes.append(f"{len(reviewed.changes) - len(changes)} changes of the plan are not selected")
        report = session.report(one, await _apply(one, changes))
        await runs.finish(one.context.chain, report)
    return report


def _check_tables(reviewed: PlanFile, subjects: Sequence[Subject]) -> None:
    known = {subject.table for subject in subjects}
    for number, change in enumerate(reviewed.changes):
        place = f"changes[{number}]"
        if change.table not in known:
            words = f"{place}.table: there is no table {change.table!r}"
            raise errors.PlanRefused(words, cure=f"one of {', '.join(sorted(known))}")
        if change.row_id is not None and not _is_uuid(change.row_id):
            raise errors.PlanRefused(
                f"{place}.row_id: {change.row_id!r} is no id of a row", cure="correct or delete it"
            )


def _is_uuid(told: str) -> bool:
    try:
        return str(UUID(told)) == told
    except ValueError:
        return False


async def _apply(one: Session, changes: Sequence[Change]) -> list[Finding]:
    this, context = one.run, one.context
    planned = [plan_file.finding_of(change) for change in changes]
    if this.reasons or not changes:
        return planned
    findings: list[Finding] = []
    context.begin_look()
    for subject in one.chosen:
        findings += await _find_anew(
            context, subject, [one for one in changes if one.table == subject.table], this.notes
        )
    await session.judge_late_entries(one)
    if not context.chain_was_asked:
        this.reasons.append("the chain could not be asked about what is to be written")
    decided = plan.review(insert_gate.mark(context, findings), settings=context.settings)
    this.reasons.extend(decided.refused)
    if this.reasons or not decided.to_write:
        return list(decided.findings)
    context.say(f"writing {len(decided.to_write)} rows")
    written = await repair.repair(context, decided.to_write, journal=Journal(context.chain, this.run_id))
    await sightings.over(context.chain, [finding for finding in written if finding.is_over])
    return repair.merged(decided.findings, written)


async def _find_anew(context: Context, subject: Subject, changes: Sequence[Change], notes: list[str]) -> list[Finding]:
    """What the plan's changes of one table are now; those that are no longer needed are only noted."""
    if not changes:
        return []
    context.say(f"looking again at {len(changes)} rows of {subject.table}")
    found = await subject.examine(context, [plan_file.finding_of(change) for change in changes])
    found = await column_fit.keep(context, found, notes)
    of_row = {finding.row_id: finding for finding in found if finding.row_id is not None}
    of_entity = {finding.entity: finding for finding in found if finding.row_id is None}
    context.compared[subject.table] = Compared(expected_rows=len(changes), app_rows=len(changes))
    same: list[Finding] = []
    others: list[tuple[Change, Finding]] = []
    agreeing: list[Change] = []
    for change in changes:
        now = of_entity.get(change.entity) if change.row_id is None else of_row.get(change.row_id)
        if now is None:
            agreeing.append(change)
        elif (why := difference(change, now, at=context.now)) is not None:
            gone_on = replace(plan_file.finding_of(change, outcome=Outcome.SKIPPED_CHANGED), columns=now.columns)
            others.append((change, gone_on.with_evidence(reason=why)))
        else:
            same.append(now)
    present = await _present(context, subject, [change for change in agreeing if change.row_id is None])
    for change in agreeing:
        if change.row_id is None and change.identity not in present:
            withheld = plan_file.finding_of(change, outcome=Outcome.SKIPPED_CHANGED)
            others.append((change, withheld.with_evidence(reason=WITHHELD)))
    left_out = {change.identity for change, _ in others}
    notes += await _nothing_to_do(context, subject.table, [one for one in agreeing if one.identity not in left_out])
    done = await plan_done.among(context, subject, [change for change, _ in others])
    if done:
        notes.append(f"{len(done)} changes of {subject.table} are done already: the rows hold what the plan sets")
    confirmed = await subject.confirm(context, same)
    context.answers.update(one.answer for one in confirmed if one.answer is not None)
    return [*confirmed, *(finding for change, finding in others if change.identity not in done)]


async def _present(context: Context, subject: Subject, inserts: Sequence[Change]) -> set[Identity]:
    """Return the planned inserts whose key a row of the application has by now."""
    names = {change.identity: (change.insert or {}).get(subject.row_key) for change in inserts}
    wanted = sorted({name for name in names.values() if name is not None})
    if not wanted:
        return set()
    key = f"CAST(live.{row_images.quoted(subject.row_key)} AS text)"
    statement = text(f"SELECT {key} AS name FROM {subject.table} AS live WHERE {key} = ANY(:names)")
    async with app_access.transaction(context.app) as connection:
        found = {row.name for row in await connection.execute(statement, {"names": wanted})}
    return {identity for identity, name in names.items() if name in found}


async def _nothing_to_do(context: Context, table: str, changes: Sequence[Change]) -> list[str]:
    """In words, what became of the rows that no longer differ."""
    if not changes:
        return []
    ids = [change.row_id for change in changes if change.row_id is not None]
    statement = text(f"SELECT count(*) FROM {table} AS live WHERE live.id = ANY(CAST(CAST(:ids AS text[]) AS uuid[]))")
    async with app_access.transaction(context.app) as connection:
        there = int((await connection.execute(statement, {"ids": ids})).scalar_one())
    gone, fine = len(ids) - there, len(changes) - len(ids) + there
    notes = []
    if fine:
        notes.append(f"{fine} changes of {table} are no longer needed: the application database agrees with the chain")
    if gone:
        notes.append(f"{gone} rows of {table} that the plan would change are gone")
    return notes


def difference(change: Change, now: Finding, *, at: datetime) -> str | None:
    """Why what is found now is not what was reviewed; None where it is. Pure."""
    if now.answer is Answer.UNKNOWN:
        return None  # whatever it was, it will not be written
    return next(_differences(change, now, at), None)


def _differences(change: Change, now: Finding, at: datetime) -> Iterator[str]:
    if now.drift_class != change.drift_class:
        yield f"it is {now.drift_class} by now, and was {change.drift_class} when the plan was made"
    if now.entity != change.entity:
        yield f"the row is now that of {now.entity}, and was that of {change.entity} when the plan was made"
    fresh = plan_file.change_of(now, at)
    if fresh is None:
        yield "nothing of it may be written any more, by what is found now"
        return
    for name in _unlike(change.expect, fresh.expect):
        yield f"{name} is not what it was when the plan was made: the row changed since, or the plan was edited"
    for name in (*_unlike(change.set, fresh.set), *_unlike(change.insert or {}, fresh.insert or {})):
        yield f"{name} would not become what the plan says: the chain moved on, or the plan was edited"
    if sorted(change.touch) != fresh.touch:
        yield "the columns that get the time of the writing are others: the plan was edited"


def _unlike(planned: plan_file.Image, fresh: plan_file.Image) -> list[str]:
    """The columns that only one of them has, or that hold another value."""
    one, other = row_images.of(planned), row_images.of(fresh)
    return sorted(name for name in {*one, *other} if name not in one or name not in other or one[name] != other[name])
