"""`chaintrue demo`: the whole way of a fact, from a contract's event to a repaired row, on real parts."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import orjson
from rich.table import Table

from deploy import application, localnet, terminal_report
from deploy import status as state
from deploy.commands import migrate, sweep
from deploy.commands import report as pages
from deploy.demo import checks, drifting, processes, stage
from deploy.demo.app import chain, chain_truth, drift, rows, schema
from deploy.demo.guide import Guide
from deploy.demo.stage import Stage
from shared import database, errors, log, whole_file
from shared.settings import LogFormat
from shared.stepfi.settings import Settings
from sweeper import classes, records, told
from sweeper.model import Outcome
from sweeper.report import Report
from sweeper.told import ToldFinding

READY_SECONDS = 90.0
POLL_SECONDS = 0.2
REPORTS = Path("reports")


async def run(guide: Guide, *, keep: bool, stop: asyncio.Event) -> int:
    """0 when what was found is what was injected, repaired where policy allows, and nothing was left to repair."""
    log.configure(LogFormat.CONSOLE, level=logging.ERROR)
    stage.forget_settings()
    began = time.monotonic()
    async with AsyncExitStack() as stack_of:
        directory = Path(stack_of.enter_context(TemporaryDirectory(prefix="chaintrue-demo-")))
        truth = await asyncio.to_thread(chain_truth.truth_at, localnet.STORY)
        scenery = await _build(guide, stack_of, truth, directory)
        settings = application.load(scenery.config)
        stream = await _follow(guide, stack_of, scenery, settings, truth)
        injected = await _drift(guide, scenery, truth)
        reports, troubles = await _reconcile(guide, settings, injected)
        stream.ensure_alive()
        path = await _write(settings, reports[1])
        _close(guide, injected, reports, troubles, path=path, seconds=time.monotonic() - began)
        if keep:
            await _keep(guide, scenery, stop)
    return 1 if troubles else 0


async def _build(guide: Guide, stack_of: AsyncExitStack, truth: chain.ChainTruth, directory: Path) -> Stage:
    guide.chapter("Real parts on this machine")
    scenery = await stage.build(guide, stack_of, truth, directory=directory)
    guide.item(f"Apache Kafka at {scenery.kafka}")
    guide.item("PostgreSQL with two databases: chaintrue's own, and the application's")
    guide.item(
        f"Stellar RPC at {scenery.net.url}",
        under=f"It plays what StepFi's real contracts did in ledgers {truth.start_ledger} to {truth.ledger}.",
    )
    return scenery


async def _follow(
    guide: Guide, stack_of: AsyncExitStack, scenery: Stage, settings: Settings, truth: chain.ChainTruth
) -> processes.Stream:
    guide.chapter("Following the chain")
    guide.command("chaintrue migrate")
    done = await migrate.run(settings)
    guide.say(f"The database is at revision {done['revision']}; the topic {done['topic']} is made.")
    guide.command("chaintrue stream")
    stream = await stack_of.enter_async_context(
        processes.stream(config=scenery.config, directory=scenery.config.parent)
    )
    await _until_followed(guide, settings, scenery, stream, truth)
    guide.say(f"Every event up to ledger {truth.ledger} went through Kafka into the authoritative tables.")
    guide.say("What events do not tell was read from the ledger's entries, and went the same way.")
    return stream


async def _until_followed(
    guide: Guide, settings: Settings, scenery: Stage, stream: processes.Stream, truth: chain.ChainTruth
) -> None:
    """Until the watermark is at the tip, and no entry is left to be read."""
    followed = application.stream(settings)
    first, last = truth.start_ledger, truth.ledger
    deadline = time.monotonic() + READY_SECONDS
    async with database.connect(settings.database, section="database") as engine:
        with guide.bars() as bar:
            of_chain, of_tables = bar("the chain plays"), bar("the tables follow")
            while True:
                stream.ensure_alive()
                current = await state.watermark(engine, scope=followed.scope)
                of_chain(scenery.net.latest_ledger - first, last - first)
                of_tables(max(0, current - first), last - first)
                async with engine.connect() as connection:
                    if current >= last and not await followed.wanted(connection, limit=1):
                        return
                if time.monotonic() > deadline:
                    raise errors.ChaintrueError(f"the stream did not reach ledger {last} within {READY_SECONDS:g} s")
                await asyncio.sleep(POLL_SECONDS)


async def _drift(guide: Guide, scenery: Stage, truth: chain.ChainTruth) -> drift.Plan:
    guide.chapter("An application database that drifts")
    await schema.create(scenery.app_database)
    chosen, true = drifting.choose(truth), rows.build(truth)
    connection = await asyncpg.connect(scenery.app_database)
    try:
        await rows.insert(connection, true)
        await drift.inject(connection, truth, chosen)
    finally:
        await connection.close()
    guide.say("Its rows are as StepFi's API writes them, and agree with the chain. Then they drift:")
    planned = drift.plan(truth, chosen)
    for name, known in classes.CLASSES.items():
        guide.head(f"\n{name}", known.means)
        for injection in planned.injections:
            if injection.drift_class == name:
                done = drifting.describe(injection, before=true, after=planned.tables)
                guide.item("; ".join(done), under=injection.about)
    traps = [injection.name.replace("_", " ") for injection in planned.injections if injection.drift_class is None]
    guide.head(f"\n{len(traps)} changes that are no drift, of which nothing may be said", ", ".join(traps))
    return planned


async def _reconcile(guide: Guide, settings: Settings, injected: drift.Plan) -> tuple[list[Report], list[str]]:
    """The three sweeps, and what is not as it was injected."""
    guide.chapter("Found and explained; nothing is written")
    guide.say(f"A difference counts once it was seen twice, {stage.SETTLE_SECONDS} s apart here (120 s by default).")
    guide.command("chaintrue sweep")
    dry = await _sweep(guide, settings, repair=False)
    terminal_report.show(told.read(dry.to_json()), console=guide.console)
    troubles = checks.differences(injected.findings, dry.findings, repaired=False)

    guide.chapter("What is proven and safe is repaired")
    guide.command("chaintrue sweep --repair")
    repaired = await _sweep(guide, settings, repair=True)
    as_told = told.read(repaired.to_json())
    guide.show(terminal_report.repaired(as_told.findings))
    terminal_report.show_end(as_told, console=guide.console)
    troubles += checks.differences(injected.findings, repaired.findings, repaired=True)

    guide.chapter("Again: nothing is left to repair")
    guide.command("chaintrue sweep --repair")
    again = await _sweep(guide, settings, repair=True)
    left = [one for one in injected.findings if one.outcome != "repaired"]
    troubles += checks.differences(left, again.findings, repaired=True)
    guide.say("0 rows were repaired. Policy, or lack of proof, leaves these to people:")
    _tell_left(guide, told.read(again.to_json()).by_class())
    return [dry, repaired, again], troubles


async def _sweep(guide: Guide, settings: Settings, *, repair: bool) -> Report:
    with guide.console.status("sweeping") as status:
        return await sweep.run(settings, repair=repair, tables=(), on_progress=status.update)


def _tell_left(guide: Guide, findings: Mapping[str, Sequence[ToldFinding]]) -> None:
    for drift_class, alike in findings.items():
        guide.head(f"\n{drift_class}", alike[0].done)
        for words in dict.fromkeys(finding.words for finding in alike):
            guide.item(words)


def _close(
    guide: Guide,
    injected: drift.Plan,
    reports: Sequence[Report],
    troubles: Sequence[str],
    *,
    path: Path,
    seconds: float,
) -> None:
    guide.chapter("The proof")
    dry, repaired, again = reports
    counts = {
        "injected": Counter(one.drift_class for one in injected.findings),
        "found": Counter(one.drift_class for one in dry.findings),
        "repaired": Counter(one.drift_class for one in repaired.findings if one.outcome is Outcome.REPAIRED),
        "left": Counter(one.drift_class for one in again.findings),
    }
    table = Table("class")
    for name in counts:
        table.add_column(name, justify="right")
    for drift_class in classes.CLASSES:
        table.add_row(drift_class, *(str(counted[drift_class]) for counted in counts.values()))
    guide.show(table)
    if troubles:
        guide.say("What was found is not what was injected:")
        for trouble in troubles:
            guide.item(trouble)
    else:
        guide.say("All that was injected was found, and nothing else. What policy allows is repaired.")
    page = path.with_suffix(".html")
    guide.say(f"The report of the repairs ({seconds:.0f} s in all):")
    guide.address("as data", str(path))
    guide.address("as a page for a browser", str(page))
    summary = {"as_expected": not troubles, "differences": list(troubles), **counts}
    guide.end({**summary, "report": str(path), "page": str(page), "seconds": round(seconds, 1)})


async def _write(settings: Settings, report: Report) -> Path:
    """The report as JSON, and beside it as a page; the path of the first."""
    path = _place(report)
    async with database.connect(settings.database, section="database") as engine:
        record = await records.find(engine, str(report.run_id))
        whole_file.write(path.with_suffix(".html"), await pages.html(engine, record))
    whole_file.write(path, orjson.dumps(report.to_json(), option=orjson.OPT_INDENT_2))
    return path


def _place(report: Report) -> Path:
    REPORTS.mkdir(exist_ok=True)
    return REPORTS / f"{report.run_id}.json"


async def _keep(guide: Guide, scenery: Stage, stop: asyncio.Event) -> None:
    guide.chapter("Everything keeps running until Ctrl-C")
    guide.address("Kafka", scenery.kafka)
    guide.address("chaintrue's database", scenery.chain_database)
    guide.address("the application's database", scenery.app_database)
    guide.address("Stellar RPC", scenery.net.url)
    guide.address("metrics of the stream", stage.metrics_url(scenery))
    guide.say("\nTo look around, in another terminal:")
    guide.command(f"chaintrue status --config {scenery.config}")
    guide.say("\nOr with the environment:")
    for name, value in scenery.environment.items():
        guide.console.print(f"export {name}='{value}'", markup=False, soft_wrap=True)
    with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C is how this ends well
        await stop.wait()
