"""One sweep, from the lock to the report:

survey both sides, settle (look again after a while), confirm by the chain, plan, repair, verify, report
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from shared import coverage_store, database, errors, rpc
from shared.settings import EngineSettings
from sweeper import app_access, app_schema, classes, plan, repair, runs
from sweeper.context import Context, Subject
from sweeper.model import Finding, Outcome
from sweeper.report import Report, RunStatus

Progress = Callable[[str], None]
OnRequest = Callable[[str, str], None]


@dataclass(kw_only=True)
class _Run:
    """What accumulates while a sweep goes on."""

    run_id: UUID = field(default_factory=uuid4)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


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
    classes.check_settings(settings.sweep.policy)
    chosen = _choose(subjects, tables)
    this = _Run()
    async with database.connect(settings.database, section="database") as chain, runs.alone(chain):
        await runs.begin(chain, run_id=this.run_id, mode=_mode(repairing), started_at=this.started_at)
        try:
            async with _surroundings(settings, scope, chosen, subjects, chain, this, on_request) as context:
                findings = await _sweep(context, settings, chosen, this, repairing=repairing, say=on_progress)
            report = _report(context, findings, this, repairing=repairing)
            await runs.finish(chain, report)
        except BaseException:
            await asyncio.shield(runs.fail(chain, this.run_id))
            raise
    return report


def _mode(repairing: bool) -> str:
    return "repair" if repairing else "dry"


def _choose(subjects: Sequence[Subject], tables: Sequence[str]) -> list[Subject]:
    known = {subject.table: subject for subject in subjects}
    for name in tables:
        if name not in known:
            raise errors.SettingError(f"--table {name}: there is no such table", cure=f"one of {', '.join(known)}")
    return [subject for subject in subjects if not tables or subject.table in tables]


@asynccontextmanager
async def _surroundings(
    settings: EngineSettings,
    scope: str,
    chosen: list[Subject],
    subjects: Sequence[Subject],
    chain: AsyncEngine,
    this: _Run,
    on_request: OnRequest,
) -> AsyncIterator[Context]:
    async with (
        database.connect(settings.app_database, section="app_database") as app,
        rpc.Client(
            urls=settings.rpc.urls,
            passphrase=settings.network.passphrase or "",
            ca_file=settings.rpc.ca_file,
            timeout_seconds=settings.rpc.timeout_seconds,
            max_attempts=settings.rpc.max_attempts,
            requests_per_second=settings.rpc.requests_per_second,
            on_request=on_request,
        ) as client,
    ):
        async with chain.connect() as connection:
            watermark = await coverage_store.watermark(connection, scope=scope)
        if watermark is None:
            this.reasons.append("nothing was indexed yet: run `chaintrue stream`")
            watermark = coverage_store.Watermark(0, None)
        context = Context(
            chain=chain,
            app=app,
            rpc=client,
            passphrase=settings.network.passphrase or "",
            watermark=watermark,
            subjects={subject.table: subject for subject in subjects},
        )
        await _introspect(context, chosen, subjects, this)
        try:
            await client.check()
        except errors.WrongNetwork:
            raise
        except errors.RpcError as error:
            context.chain_was_asked = False
            this.reasons.append(f"the chain could not be asked: {error.args[0]}")
        yield context


async def _introspect(context: Context, chosen: list[Subject], subjects: Sequence[Subject], this: _Run) -> None:
    """Read the live tables; a table that a newer application would have is left out, and said."""
    tables = dict(context.tables)
    async with app_access.transaction(context.app) as connection:
        for subject in subjects:
            found = await app_schema.read_table(connection, subject.table)
            complete = found is not None and all(found.has(column) for column in subject.required)
            if found is not None:
                tables[subject.table] = found
            if subject not in chosen or complete:
                continue
            if not subject.optional:
                app_schema.require(found, subject.table, subject.required)
            chosen.remove(subject)
            this.notes.append(
                f"{subject.table} is left out: the application has not the columns that would be compared"
            )
    context.tables = tables


async def _sweep(
    context: Context,
    settings: EngineSettings,
    chosen: Sequence[Subject],
    this: _Run,
    *,
    repairing: bool,
    say: Progress,
) -> list[Finding]:
    if this.reasons:
        return []
    found: dict[str, list[Finding]] = {}
    for subject in chosen:
        say(f"comparing {subject.table}")
        found[subject.table] = [finding async for finding in subject.survey(context)]
    findings = await _settle(context, settings, chosen, found, say)
    if not any(one.app_rows or one.expected_rows for one in context.compared.values()):
        this.reasons.append("nothing was compared: neither side has rows")
    if not context.chain_was_asked:
        this.reasons.append("the chain could not be asked about what was found")
    planned = plan.make(findings, settings=settings.sweep, compared=context.compared)
    this.reasons.extend(planned.refused)
    to_write = planned.to_write if repairing and not this.reasons else ()
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


def _report(context: Context, findings: Sequence[Finding], this: _Run, *, repairing: bool) -> Report:
    unsettled = any(finding.outcome is Outcome.UNKNOWN and finding.evidence.get("reason") for finding in findings)
    if unsettled:
        this.reasons.append("what became of some repairs is not known: look at the rows whose outcome is unknown")
    return Report(
        run_id=this.run_id,
        mode=_mode(repairing),
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
