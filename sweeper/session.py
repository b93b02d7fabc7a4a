"""What every run stands in: the lock, its record in `recon.runs`, both databases, the chain, and the application's live schema.

A run that ends by an error is recorded as failed before the error goes on.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import coverage_store, database, errors, rpc
from shared.settings import EngineSettings, RowSecurity
from sweeper import app_access, app_read_only, app_rights, app_schema, chain_tip, classes, freshness, lock, runs
from sweeper.context import Context, Subject
from sweeper.freshness import Freshness, Tip
from sweeper.model import Finding, Outcome
from sweeper.pace import Pace
from sweeper.report import Extent, Mode, Report, RunStatus, SpotCoverage

OnRequest = Callable[[str, str], None]
Progress = Callable[[str], None]


@dataclass(kw_only=True)
class Run:
    """What accumulates while a run goes on.

    failures: why nothing that it says counts; reasons: why it is not complete; notes: what is worth knowing
    freshness: the watermark against the tip of the chain; None where the run does not depend on the chain
    mark: where a later sweep of what changed may begin
    """

    mode: Mode
    extent: Extent
    run_id: UUID = field(default_factory=uuid4)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    failures: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    freshness: Freshness | None = None
    mark: Mapping[str, object] | None = None


@dataclass(frozen=True, kw_only=True)
class Session:
    """An open run. `chosen`: the subjects that can be compared, of those that were asked for."""

    run: Run
    context: Context
    chosen: list[Subject]
    settings: EngineSettings
    spot_coverage: dict[str, SpotCoverage] = field(default_factory=dict)


@asynccontextmanager
async def opened(
    settings: EngineSettings,
    *,
    scope: str,
    subjects: Sequence[Subject],
    tables: Sequence[str] = (),
    mode: Mode,
    extent: Extent,
    asks_chain: bool = True,
    on_request: OnRequest = lambda _method, _outcome: None,
) -> AsyncIterator[Session]:
    """A run from its lock to its end, on the subjects' tables (or those named). The block records its report itself.

    `asks_chain`: whether the run stands on the chain; without it neither the chain nor what was indexed of it is missed.
    Raises AlreadyRunning when another run holds the lock, and a ChaintrueError for a setting that is wrong.
    """
    classes.check_settings(settings.sweep, tables=[subject.table for subject in subjects])
    chosen = _choose(subjects, tables)
    run = Run(mode=mode, extent=extent)
    async with database.connect(settings.database, section="database") as chain, lock.alone(settings.database) as held:
        await runs.begin(held, run_id=run.run_id, mode=mode, extent=extent, started_at=run.started_at)
        try:
            async with held.watched(), rpc.client(settings, on_request=on_request) as client:
                tip = await _tip(settings, client, chain, run, scope, on_request) if asks_chain else None
                async with _context(settings, scope, subjects, chain, held, client) as context:
                    context.chain_was_asked = tip is not None or not asks_chain
                    await _introspect(context, chosen, subjects, run)
                    if asks_chain:
                        await _judge_freshness(context, run, tip)
                    yield Session(run=run, context=context, chosen=chosen, settings=settings)
        except BaseException as error:
            await asyncio.shield(runs.fail(chain, run.run_id, reason=reason(error)))
            raise


def report(one: Session, findings: Sequence[Finding]) -> Report:
    """The report of a run that writes what it was told, and scans nothing."""
    this, context = one.run, one.context
    if any(finding.outcome is Outcome.UNKNOWN and finding.evidence.get("reason") for finding in findings):
        this.reasons.append("what became of some rows is not known: look at those whose outcome is unknown")
    return Report(
        run_id=this.run_id,
        mode=this.mode,
        extent=this.extent,
        status=RunStatus.FAILED if this.failures else RunStatus.INCOMPLETE if this.reasons else RunStatus.COMPLETE,
        started_at=this.started_at,
        finished_at=datetime.now(UTC),
        watermark_ledger=context.watermark.ledger or None,
        compared=context.compared,
        spot_checks=context.answers,
        findings=findings,
        reasons=[*this.failures, *this.reasons],
        notes=this.notes,
        freshness=None if this.freshness is None else this.freshness.to_json(),
    )


def reason(error: BaseException) -> str:
    """Why a run ended, in a line; what a database driver says may quote rows, so only our own words are kept."""
    if isinstance(error, errors.ChaintrueError):
        return str(error.args[0])
    return "it was stopped" if isinstance(error, asyncio.CancelledError) else type(error).__name__


def _choose(subjects: Sequence[Subject], tables: Sequence[str]) -> list[Subject]:
    known = {subject.table: subject for subject in subjects}
    for name in tables:
        if name not in known:
            raise errors.SettingError(f"--table {name}: there is no such table", cure=f"one of {', '.join(known)}")
    return [subject for subject in subjects if not tables or subject.table in tables]


@asynccontextmanager
async def _context(
    settings: EngineSettings,
    scope: str,
    subjects: Sequence[Subject],
    chain: AsyncEngine,
    held: lock.Alone,
    client: rpc.Client,
) -> AsyncIterator[Context]:
    async with database.connect(settings.app_database, section="app_database") as app:
        async with chain.connect() as connection:
            watermark = await coverage_store.watermark(connection, scope=scope)
        yield Context(
            chain=chain,
            app=app_access.secured(app, settings.sweep.row_security),
            rpc=client,
            passphrase=settings.network.passphrase or "",
            scope=scope,
            settings=settings.sweep,
            lock=held,
            watermark=watermark or coverage_store.Watermark(0, None),
            paces={"app": Pace(share=settings.sweep.database_share), "chain": Pace()},
            subjects={subject.table: subject for subject in subjects},
        )


async def _tip(
    settings: EngineSettings, client: rpc.Client, chain: AsyncEngine, run: Run, scope: str, on_request: OnRequest
) -> Tip | None:
    """Return the tip of the chain; None, with the reason, where no node answers. It is read before the watermark, so a stream
    that keeps up never looks late."""
    async with chain.connect() as connection:
        known = await coverage_store.read_scope(connection, scope=scope)
    contracts = () if known is None else tuple(known.contracts)
    try:
        return await chain_tip.read(settings, client, contracts=contracts, on_request=on_request)
    except errors.WrongNetwork:
        raise
    except errors.RpcError as error:
        run.reasons.append(f"the chain could not be asked: {error.args[0]}")
        return None


async def _judge_freshness(context: Context, run: Run, tip: Tip | None) -> None:
    """Add why the tables are too old to tell whether the application is right."""
    if not context.watermark.ledger:
        run.reasons.insert(0, "nothing was indexed yet: run `chaintrue stream`")
        return
    async with context.chain.connect() as connection:
        now = float((await connection.execute(text("SELECT extract(epoch FROM clock_timestamp())"))).scalar_one())
    if tip is None:
        run.freshness = freshness.measure(context.watermark, None, now=now)
        return
    run.freshness = freshness.judge(context.watermark, tip, now=now, limits=context.settings)
    run.reasons += run.freshness.reasons
    run.notes += run.freshness.warnings


async def judge_late_entries(one: Session) -> None:
    """Add the reason where the chain's answers show entries that changed long after the watermark of now."""
    context = one.context
    if not context.late_entries:
        return
    async with context.chain.connect() as connection:
        now = await coverage_store.watermark(connection, scope=context.scope)
    late = freshness.late_entries(
        context.late_entries, watermark=0 if now is None else now.ledger, limit=context.settings.max_lag_ledgers
    )
    if late is not None and late not in one.run.reasons:
        one.run.reasons.append(late)


async def _introspect(context: Context, chosen: list[Subject], subjects: Sequence[Subject], run: Run) -> None:
    """Read the live tables; a table that a newer application would have is left out, and said."""
    tables = dict(context.tables)
    policies = context.settings.row_security is RowSecurity.POLICIES
    async with app_access.transaction(context.app) as connection:
        run.notes += await app_read_only.notes(connection)
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
            run.notes.append(f"{subject.table} is left out: the application has not the columns that would be compared")
        if policies:
            await app_rights.require_policies(connection, app_rights.needs(chosen), to_write=run.mode is not Mode.DRY)
    context.tables = tables
