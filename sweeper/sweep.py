"""One sweep, from the lock to the report:

survey both sides, check some of what looks right, settle (look again after a while), confirm by the chain, plan, repair,
verify, report
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from shared import coverage_store
from shared.settings import EngineSettings
from sweeper import (
    ahead,
    changed,
    column_fit,
    flapping,
    insert_gate,
    observe,
    plan,
    recovery,
    repair,
    runs,
    session,
    settling,
    sightings,
    spotting,
)
from sweeper.context import Context, Since, Subject
from sweeper.journal import Journal
from sweeper.known_drift import surveyed
from sweeper.model import Finding
from sweeper.plan_origin import PlanTo
from sweeper.report import Extent, Mode, Report, RunStatus
from sweeper.session import OnRequest, Progress, Session


async def run(
    settings: EngineSettings,
    *,
    scope: str,
    subjects: Sequence[Subject],
    repairing: bool,
    tables: Sequence[str] = (),
    changed_only: bool = False,
    plan_to: PlanTo | None = None,
    on_progress: Progress = lambda _: None,
    on_request: OnRequest = lambda _method, _outcome: None,
) -> Report:
    """Sweep the subjects' tables (or those named); nothing is written to the application unless `repairing`.

    changed_only   look at what changed on chain since the last complete sweep, and at the drift that was there by then
    plan_to        where to write the plan of what may be written and was not
    Raises AlreadyRunning when another sweep holds the lock, and a ChaintrueError for a setting that is wrong.
    """
    mode = Mode.REPAIR if repairing else Mode.DRY
    extent = Extent.TABLES if tables else Extent.CHANGED if changed_only else Extent.FULL
    async with session.opened(
        settings, scope=scope, subjects=subjects, tables=tables, mode=mode, extent=extent, on_request=on_request
    ) as one:
        one.context.say = on_progress
        findings = await _sweep(one)
        report = _report(one, findings)
        if plan_to is not None:
            await plan_to.write(one.context, report)
        await runs.finish(one.context.chain, report)
    return report


async def _sweep(one: Session) -> list[Finding]:
    this, context, settings = one.run, one.context, one.settings
    this.notes += await recovery.settle(context)
    if not context.watermark.ledger:
        return []
    # Of before: what comes to the tables while they are compared is news to the next sweep of what changed.
    this.mark = await changed.mark(context, [subject.table for subject in one.chosen])
    found, is_whole = await _survey(one)
    if context.resumed:  # those hashes are of before the watermark: no mark was earned
        this.mark = None
        this.notes.append(
            f"{', '.join(context.resumed)}: the scan of an earlier run was gone on with, and what changed since that run may "
            "not have been seen; so no sweep of what changed begins at this one"
        )
    if context.not_reread:  # drift in such a row would stay unseen by sweeps of what changed
        this.mark = None
        this.notes.append(
            f"{', '.join(context.not_reread)}: so many rows were written during the scan that not all of them were read again. "
            "New drift in a row that an update moved may be missed until the next sweep."
        )
    await _spot_check(one, found)
    findings = await _settle(one, found, is_whole=is_whole)
    await session.judge_late_entries(one)
    looked = any(rows.app_rows or rows.expected_rows for rows in context.compared.values())
    if not looked and this.extent is not Extent.CHANGED:
        this.reasons.append("nothing was compared: neither side has rows")
    if not (context.chain_was_asked or this.reasons):
        this.reasons.append("the chain could not be asked about what was found")
    planned = plan.make(insert_gate.mark(context, findings), settings=settings.sweep, compared=context.compared)
    this.reasons.extend(planned.refused)
    to_write = planned.to_write if this.mode is Mode.REPAIR and not (this.reasons or this.failures) else ()
    if not to_write:
        return list(planned.findings)
    context.say(f"repairing {len(to_write)} rows")
    done = await repair.repair(context, to_write, journal=Journal(context.chain, this.run_id))
    await sightings.over(context.chain, [finding for finding in done if finding.is_over])
    return repair.merged(planned.findings, done)


async def _survey(one: Session) -> tuple[dict[str, list[Finding]], bool]:
    """All that differs by table, and whether it is all: there is a limit. A scan that did not see its canary has failed."""
    this, context = one.run, one.context
    since = await _since(one) if this.extent is Extent.CHANGED else None
    left = one.settings.sweep.max_findings
    found: dict[str, list[Finding]] = {}
    for subject in one.chosen:
        context.say(f"comparing {subject.table}")
        findings = found.setdefault(subject.table, [])
        survey = (
            surveyed(context, subject, subject.survey(context))
            if since is None
            else subject.survey_changed(context, since)
        )
        async with aclosing(survey) as findings_now:
            async for finding in findings_now:
                if left == 0:
                    this.reasons.append(
                        f"more than {one.settings.sweep.max_findings} rows differ (CHAINTRUE_SWEEP__MAX_FINDINGS): "
                        "the rest was not looked at; are both databases those of one application?"
                    )
                    return found, False
                findings.append(finding)
                left -= 1
        if not context.canaries.get(subject.table, False):
            this.failures.append(
                f"the canary in {subject.table} was not found: the comparison sees no drift, so nothing it says counts"
            )
    return found, not this.failures


async def _spot_check(one: Session, found: dict[str, list[Finding]]) -> None:
    """Ask the chain about some entities whose rows look right; what follows from that is added to what was found."""
    context = one.context
    if not context.chain_was_asked:
        return
    context.say("asking the chain about rows that look right")
    told = await spotting.run(context, one.chosen, found, settings=one.settings.kafka)
    context.answers += told.answers
    one.spot_coverage.update(told.coverage)
    one.run.notes.extend(told.notes)
    known = {finding.identity for findings in found.values() for finding in findings}
    for finding in told.findings:
        if finding.identity not in known:
            found.setdefault(finding.table, []).append(finding)


async def _since(one: Session) -> Since | None:
    """Where a --changed sweep begins; None where all has to be looked at, which is then said."""
    start = await changed.start(one.context, [subject.table for subject in one.chosen])
    if start.since is None:
        one.run.extent = Extent.FULL
        one.run.notes.append(f"everything was compared: {start.why}")
    return start.since


async def _settle(one: Session, found: dict[str, list[Finding]], *, is_whole: bool) -> list[Finding]:
    """What is found again, unchanged, once it has stood for the settle time (in this run or since an earlier one), with the
    chain's answer to it."""
    context, every = one.context, [finding for findings in found.values() for finding in findings]
    whole = (
        found.keys() - set(context.resumed) if is_whole else ()
    )  # of an older scan: what drifts may not be among them
    first = await sightings.note(context.chain, every, whole=whole)
    if not every:
        return []
    until = time.monotonic() + settling.remaining(first, settle_seconds=one.settings.sweep.settle_seconds)
    while (left := until - time.monotonic()) > 0:
        context.say(f"{len(every)} rows differ: looking again in {left:.0f} s")
        await asyncio.sleep(min(left, 1.0))
    subjects = [subject for subject in one.chosen if found.get(subject.table)]
    context.begin_look()
    again = [finding for subject in subjects for finding in await subject.look_again(context, found[subject.table])]
    second = await sightings.note(context.chain, again, looked_at=map(sightings.place, every))
    beyond = await ahead.find(context, again, watermark=await _watermark(context))
    counted = settling.settled(first, second, again, ahead=beyond)
    one.run.notes.extend(counted.notes)
    return await _confirm(one, subjects, counted.findings)


async def _watermark(context: Context) -> int:
    """The ledger that is vouched for by now: what the second look read may be newer than what the run began with."""
    async with context.chain.connect() as connection:
        now = await coverage_store.watermark(connection, scope=context.scope)
    return 0 if now is None else now.ledger


async def _confirm(one: Session, subjects: Sequence[Subject], findings: Sequence[Finding]) -> list[Finding]:
    """The findings with the chain's answer; where that contradicts our tables these are mended first, by the log."""
    context, sweep = one.context, one.settings.sweep
    asked: list[Finding] = []
    for subject in subjects:
        context.say(f"asking the chain about {subject.table}")
        asked += await subject.confirm(context, [finding for finding in findings if finding.table == subject.table])
    confirmed = await observe.mend(context, subjects, asked, settings=one.settings.kafka)
    left = {finding.identity for finding in confirmed}
    await sightings.over(context.chain, [finding for finding in asked if finding.identity not in left])
    context.answers.update(finding.answer for finding in confirmed if finding.answer is not None)
    storable = await column_fit.keep(context, confirmed, one.run.notes)
    return await flapping.mark(
        context.chain, storable, limit=sweep.flap_limit, window_seconds=sweep.flap_window_seconds
    )


def _report(one: Session, findings: Sequence[Finding]) -> Report:
    """What a run that writes what it was told reports, and what was scanned besides."""
    this, context = one.run, one.context
    plain = session.report(one, findings)
    is_whole = this.extent is not Extent.TABLES and plain.status is RunStatus.COMPLETE
    return replace(
        plain,
        spot_coverage=one.spot_coverage,
        canary=all(context.canaries.values()) if context.canaries else None,
        database_load={side: pace.to_json() for side, pace in context.paces.items()},
        mark=this.mark if is_whole else None,
    )
