"""One sweep, from the lock to the report:

survey both sides, settle (look again after a while), confirm by the chain, plan, repair, verify, report
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime

from shared.settings import EngineSettings
from sweeper import changed, plan, repair, runs, session
from sweeper.context import Context, Since, Subject
from sweeper.model import Finding, Outcome
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
    on_progress: Progress = lambda _: None,
    on_request: OnRequest = lambda _method, _outcome: None,
) -> Report:
    """Sweep the subjects' tables (or those named); nothing is written to the application unless `repairing`.

    changed_only   look at what changed on chain since the last complete sweep, and at the drift that was there by then
    Raises AlreadyRunning when another sweep holds the lock, and a ChaintrueError for a setting that is wrong.
    """
    mode = Mode.REPAIR if repairing else Mode.DRY
    extent = Extent.TABLES if tables else Extent.CHANGED if changed_only else Extent.FULL
    async with session.opened(
        settings, scope=scope, subjects=subjects, tables=tables, mode=mode, extent=extent, on_request=on_request
    ) as one:
        one.context.say = on_progress
        findings = await _sweep(one)
        report = await _report(one, findings)
        await runs.finish(one.context.chain, report)
    return report


async def _sweep(one: Session) -> list[Finding]:
    this, context, settings = one.run, one.context, one.settings
    if this.reasons:
        return []
    found = await _survey(one)
    findings = await _settle(context, settings, one.chosen, found)
    looked = any(rows.app_rows or rows.expected_rows for rows in context.compared.values())
    if not looked and this.extent is not Extent.CHANGED:
        this.reasons.append("nothing was compared: neither side has rows")
    if not context.chain_was_asked:
        this.reasons.append("the chain could not be asked about what was found")
    planned = plan.make(findings, settings=settings.sweep, compared=context.compared)
    this.reasons.extend(planned.refused)
    to_write = planned.to_write if this.mode is Mode.REPAIR and not (this.reasons or this.failures) else ()
    if not to_write:
        return list(planned.findings)
    context.say(f"repairing {len(to_write)} rows")
    done = await repair.repair(context, to_write, journal=runs.Journal(context.chain, this.run_id))
    outcome = {finding.identity: finding for finding in done}
    return [outcome.get(finding.identity, finding) for finding in planned.findings]


async def _survey(one: Session) -> dict[str, list[Finding]]:
    """All that differs by table, up to the limit; a scan that did not see its canary has failed."""
    this, context = one.run, one.context
    since = await _since(one) if this.extent is Extent.CHANGED else None
    left = one.settings.sweep.max_findings
    found: dict[str, list[Finding]] = {}
    for subject in one.chosen:
        context.say(f"comparing {subject.table}")
        findings = found.setdefault(subject.table, [])
        survey = subject.survey(context) if since is None else subject.survey_changed(context, since)
        async with aclosing(survey) as surveyed:
            async for finding in surveyed:
                if left == 0:
                    this.reasons.append(
                        f"more than {one.settings.sweep.max_findings} rows differ (CHAINTRUE_SWEEP__MAX_FINDINGS): "
                        "the rest was not looked at; are both databases those of one application?"
                    )
                    return found
                findings.append(finding)
                left -= 1
        if not context.canaries.get(subject.table, False):
            this.failures.append(
                f"the canary in {subject.table} was not found: the comparison sees no drift, so nothing it says counts"
            )
    return found


async def _since(one: Session) -> Since | None:
    """Where a --changed sweep begins; None where all has to be looked at, which is then said."""
    start = await changed.start(one.context, [subject.table for subject in one.chosen])
    if start.since is None:
        one.run.extent = Extent.FULL
        one.run.notes.append(f"everything was compared: {start.why}")
    return start.since


async def _settle(
    context: Context,
    settings: EngineSettings,
    chosen: Sequence[Subject],
    found: dict[str, list[Finding]],
) -> list[Finding]:
    """What is found again after the settle time, with the chain's answer to it. Measured by our own monotonic clock alone."""
    if not any(found.values()):
        return []
    until = time.monotonic() + settings.sweep.settle_seconds
    while (left := until - time.monotonic()) > 0:
        context.say(f"{sum(map(len, found.values()))} rows differ: looking again in {left:.0f} s")
        await asyncio.sleep(min(left, 1.0))
    findings: list[Finding] = []
    for subject in chosen:
        if not found[subject.table]:
            continue
        context.say(f"asking the chain about {subject.table}")
        again = await subject.look_again(context, found[subject.table])
        confirmed = await subject.confirm(context, again)
        context.answers.update(one.answer for one in confirmed if one.answer is not None)
        findings += confirmed
    return findings


async def _report(one: Session, findings: Sequence[Finding]) -> Report:
    this, context = one.run, one.context
    unsettled = any(finding.outcome is Outcome.UNKNOWN and finding.evidence.get("reason") for finding in findings)
    if unsettled:
        this.reasons.append("what became of some repairs is not known: look at the rows whose outcome is unknown")
    status = RunStatus.FAILED if this.failures else RunStatus.INCOMPLETE if this.reasons else RunStatus.COMPLETE
    is_whole = this.extent is not Extent.TABLES and status is RunStatus.COMPLETE
    return Report(
        run_id=this.run_id,
        mode=this.mode,
        extent=this.extent,
        status=status,
        started_at=this.started_at,
        finished_at=datetime.now(UTC),
        watermark_ledger=context.watermark.ledger or None,
        compared=context.compared,
        spot_checks=context.answers,
        findings=findings,
        reasons=[*this.failures, *this.reasons],
        notes=this.notes,
        canary=all(context.canaries.values()) if context.canaries else None,
        database_load={side: pace.to_json() for side, pace in context.paces.items()},
        mark=await changed.mark(context) if is_whole else None,
    )
