"""One sweep, from the lock to the report:

survey both sides, settle (look again after a while), confirm by the chain, plan, repair, verify, report
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from shared.settings import EngineSettings
from sweeper import plan, repair, runs, session
from sweeper.context import Context, Subject
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
    on_progress: Progress = lambda _: None,
    on_request: OnRequest = lambda _method, _outcome: None,
) -> Report:
    """Sweep the subjects' tables (or those named); nothing is written to the application unless `repairing`.

    Raises AlreadyRunning when another sweep holds the lock, and a ChaintrueError for a setting that is wrong.
    """
    mode, extent = Mode.REPAIR if repairing else Mode.DRY, Extent.TABLES if tables else Extent.FULL
    async with session.opened(
        settings, scope=scope, subjects=subjects, tables=tables, mode=mode, extent=extent, on_request=on_request
    ) as one:
        findings = await _sweep(one, say=on_progress)
        report = _report(one, findings)
        await runs.finish(one.context.chain, report)
    return report


async def _sweep(one: Session, *, say: Progress) -> list[Finding]:
    this, context, settings, chosen = one.run, one.context, one.settings, one.chosen
    if this.reasons:
        return []
    found: dict[str, list[Finding]] = {}
    for subject in chosen:
        say(f"comparing {subject.table}")
        found[subject.table] = [finding async for finding in subject.survey(context)]
    findings = await _settle(context, settings, chosen, found, say)
    if not any(rows.app_rows or rows.expected_rows for rows in context.compared.values()):
        this.reasons.append("nothing was compared: neither side has rows")
    if not context.chain_was_asked:
        this.reasons.append("the chain could not be asked about what was found")
    planned = plan.make(findings, settings=settings.sweep, compared=context.compared)
    this.reasons.extend(planned.refused)
    to_write = planned.to_write if this.mode is Mode.REPAIR and not this.reasons else ()
    if not to_write:
        return list(planned.findings)
    say(f"repairing {len(to_write)} rows")
    done = await repair.repair(context, to_write, journal=runs.Journal(context.chain, this.run_id))
    outcome = {finding.identity: finding for finding in done}
    return [outcome.get(finding.identity, finding) for finding in planned.findings]


async def _settle(
    context: Context,
    settings: EngineSettings,
    chosen: Sequence[Subject],
    found: dict[str, list[Finding]],
    say: Progress,
) -> list[Finding]:
    """What is found again after the settle time, with the chain's answer to it. Measured by our own monotonic clock alone."""
    if not any(found.values()):
        return []
    until = time.monotonic() + settings.sweep.settle_seconds
    while (left := until - time.monotonic()) > 0:
        say(f"{sum(map(len, found.values()))} rows differ: looking again in {left:.0f} s")
        await asyncio.sleep(min(left, 1.0))
    findings: list[Finding] = []
    for subject in chosen:
        if not found[subject.table]:
            continue
        say(f"asking the chain about {subject.table}")
        again = await subject.look_again(context, found[subject.table])
        confirmed = await subject.confirm(context, again)
        context.answers.update(one.answer for one in confirmed if one.answer is not None)
        findings += confirmed
    return findings


def _report(one: Session, findings: Sequence[Finding]) -> Report:
    this, context = one.run, one.context
    unsettled = any(finding.outcome is Outcome.UNKNOWN and finding.evidence.get("reason") for finding in findings)
    if unsettled:
        this.reasons.append("what became of some repairs is not known: look at the rows whose outcome is unknown")
    return Report(
        run_id=this.run_id,
        mode=this.mode,
        extent=this.extent,
        status=RunStatus.INCOMPLETE if this.reasons else RunStatus.COMPLETE,
        started_at=this.started_at,
        finished_at=datetime.now(UTC),
        watermark_ledger=context.watermark.ledger or None,
        compared=context.compared,
        spot_checks=context.answers,
        findings=findings,
        reasons=this.reasons,
        notes=this.notes,
    )
