"""`chaintrue`: the command. What each subcommand does is in `deploy/commands/`, how each of them ends in `running`."""

import asyncio
import sys
from pathlib import Path
from typing import Any, cast

import click

from deploy.commands import running

_EXIT_CODES = """\b
Exit codes: 0 clean, all repaired, or findings that are only reported
            1 error (a wrong setting, something unreachable)
            2 drift remains that policy would repair or propose (--strict: any finding)
            3 not complete: something could not be compared or asked"""

_UNDO_CODES = """\b
Exit codes: 0 all taken back, or nothing to do
            1 error (no such run, a wrong setting, something unreachable)
            2 some rows changed since, or could not be written
            3 not complete: what became of some rows is not known"""

_REPLAY_CODES = """\b
Exit codes: 0 identical, or exchanged
            1 error (a wrong setting, a log that is not whole, something unreachable)
            2 different"""

_config = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file with settings; the environment (CHAINTRUE_…) comes first.",
)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else.")
_html = click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write the report as a page to this file, too."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="chaintrue", message="%(prog)s %(version)s")
def cli() -> None:
    """Keeps an application's database true to its Soroban contracts."""


@cli.command(short_help="Own database to this version, topic created.")
@_config
@_json
def migrate(config: Path | None, as_json: bool) -> int:
    """Bring chaintrue's own database to this version, create and verify the topic."""
    from deploy import application, terminal
    from deploy.commands import migrate as command

    async def work(_: asyncio.Event) -> int:
        done = await command.run(_load(application, config, *command.REQUIRED))
        if as_json:
            terminal.show_json(done)
        else:
            topic = "created or mended" if done["topic_changed"] else "as it should be"
            terminal.out().print(
                f"The database is at revision {done['revision']}; the topic {done['topic']} is {topic}."
            )
        return 0

    return running.run(work)


@cli.command(short_help="Follow the chain until SIGTERM.")
@_config
@_json
@click.option("--only", type=click.Choice(["indexer", "worker"]), help="One part alone, to scale out.")
def stream(config: Path | None, as_json: bool, only: str | None) -> int:
    """Follow the chain: RPC to Kafka, Kafka to the authoritative tables. Ends on SIGTERM or Ctrl-C.

    With --json the logs are JSON lines, on stderr as always.
    """
    from deploy import application
    from deploy.commands import stream as command
    from streams.runner import Only

    async def work(stop: asyncio.Event) -> int:
        part = cast("Only | None", only)
        settings = _load(application, config, *command.required(part), json_logs=as_json)
        return await command.run(settings, stop, only=part)

    return running.run(work, stops=True)


@cli.command(short_help="Read a range of ledgers anew, through the log.")
@_config
@_json
@click.option("--from", "first", type=click.IntRange(min=1), required=True, help="The first ledger.")
@click.option("--to", "last", type=click.IntRange(min=1), required=True, help="The last ledger.")
def backfill(config: Path | None, as_json: bool, first: int, last: int) -> int:
    """Read the ledgers from RPC once more, write them to the log, and wait until a running stream has applied them.

    What the tables know already is not changed by it; what they missed is folded in.
    """
    from deploy import application, terminal
    from deploy.commands import backfill as command

    async def work(_: asyncio.Event) -> int:
        settings = _load(application, config, *command.REQUIRED)
        with terminal.progress("ledgers", first=first, last=last) as told:
            done = await command.run(settings, first=first, last=last, on_progress=told)
        if as_json:
            terminal.show_json(done)
        else:
            terminal.out().print(f"The ledgers {first} to {last} were read: {done['events']} events are in the tables.")
        return 0

    return running.run(work)


@cli.command(short_help="Rebuild the tables from the log and compare.", epilog=_REPLAY_CODES)
@_config
@_json
@click.option("--swap", is_flag=True, help="Put the rebuilt tables in the place of the live ones, different or not.")
@click.option(
    "--base",
    metavar="SCHEMA",
    help="The state before the topic's first record: a backup of the schema chain, restored under this name.",
)
def replay(config: Path | None, as_json: bool, swap: bool, base: str | None) -> int:
    """Build the authoritative tables once more from the log, beside the live ones, and compare table by table.

    A stream may run: it waits for a moment while both are brought to the same offset, and for another one while --swap
    exchanges them. Whatever ends a replay before that leaves the live tables as they are.
    """
    from deploy import application, terminal, terminal_replay
    from deploy.commands import replay as command

    async def work(_: asyncio.Event) -> int:
        settings = _load(application, config, *command.REQUIRED)
        with terminal.err().status("replaying") as status:
            outcome = await command.run(settings, base=base, swap=swap, on_progress=status.update)
        if as_json:
            terminal.show_json(outcome.to_json())
        else:
            terminal_replay.show(outcome, console=terminal.out())
        return outcome.exit_code

    return running.run(work)


@cli.command(short_help="Compare the app with the chain; --repair mends it.", epilog=_EXIT_CODES)
@_config
@_json
@click.option("--repair", is_flag=True, help="Apply what policy allows; without it nothing is written to the app.")
@click.option("--table", "tables", multiple=True, help="Only this table; may be given again.")
@click.option("--changed", is_flag=True, help="Only what changed on chain since the last complete sweep.")
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    help="Write what policy would repair or propose, and was not written, to this file: for `apply`.",
)
@click.option("--strict", is_flag=True, help="Exit with 2 on any finding.")
@_html
def sweep(
    config: Path | None,
    as_json: bool,
    repair: bool,
    tables: tuple[str, ...],
    changed: bool,
    plan: Path | None,
    strict: bool,
    html: Path | None,
) -> int:
    """Compare the application's database with the chain; explain, and with --repair mend, each mismatch."""
    from deploy import application, terminal
    from deploy.commands import ending
    from deploy.commands import sweep as command

    if changed and tables:
        raise click.UsageError("--changed looks at all tables: leave --table out")

    async def work(_: asyncio.Event) -> int:
        settings = _load(application, config, *command.REQUIRED)
        async with ending.watched(settings):
            with terminal.err().status("sweeping") as status:
                report = await command.run(
                    settings, repair=repair, tables=tables, changed=changed, plan=plan, on_progress=status.update
                )
        await ending.tell(settings, report, as_json=as_json, html=html)
        return int(report.exit_code(strict=strict))

    return running.run(work)


@cli.command(short_help="Sweeps by the clock, until SIGTERM.")
@_config
@_json
def schedule(config: Path | None, as_json: bool) -> int:
    """Full sweeps and sweeps of what changed, each by its cron expression (SCHEDULE__…, in UTC). Ends on SIGTERM or Ctrl-C.

    One sweep at a time, also beside other processes on the same database. A full sweep that was missed is made up for. What
    goes wrong in a sweep is logged, and the next one comes. With --json the logs are JSON lines, on stderr as always.
    """
    from functools import partial

    from deploy import application
    from deploy.commands import ending
    from deploy.commands import schedule as command

    async def work(stop: asyncio.Event) -> int:
        settings = _load(application, config, *command.REQUIRED, json_logs=as_json)
        listeners = command.Listeners(
            on_report=partial(ending.note, settings), on_failure=partial(ending.note_failure, settings)
        )
        return await command.run(settings, stop, listeners=listeners)

    return running.run(work, stops=True)


@cli.command(short_help="Write a reviewed plan.", epilog=_EXIT_CODES.replace(" (--strict: any finding)", ""))
@_config
@_json
@click.argument("plan", type=click.Path(path_type=Path))
def apply(config: Path | None, as_json: bool, plan: Path) -> int:
    """Write the changes of PLAN, a file that `sweep --plan` wrote and people reviewed.

    Narrow it before: `select` lists classes, tables, rows (ids) and entities to apply, null being all of them, `select.skip`
    those to leave out; or delete whole changes. Values cannot be edited: each change is looked at again on both sides,
    confirmed by the chain, and written only if it is still exactly what the plan says. What is fine by now is nothing to do.

    A plan is refused (exit code 1, nothing written) for another network, other contracts or another schema of the app, when
    our tables are older than it or of another log, and when it is older than CHAINTRUE_SWEEP__PLAN_MAX_AGE_SECONDS. What
    policy only reports is never written; CHAINTRUE_SWEEP__MAX_REPAIRS holds.
    """
    from deploy import application, terminal
    from deploy.commands import apply as command
    from deploy.commands import ending

    async def work(_: asyncio.Event) -> int:
        settings = _load(application, config, *command.REQUIRED)
        async with ending.watched(settings):
            with terminal.err().status("applying the plan") as status:
                report = await command.run(settings, path=plan, on_progress=status.update)
        await ending.tell(settings, report, as_json=as_json)
        return int(report.exit_code(strict=False))

    return running.run(work)


@cli.command(short_help="Take a run's updates back.", epilog=_UNDO_CODES)
@_config
@_json
@click.argument("run_id", metavar="RUN")
def undo(config: Path | None, as_json: bool, run_id: str) -> int:
    """Give the rows that RUN updated the values that they had before, to the byte, where nobody touched them since.

    RUN is the run_id of a report, or a beginning of it that no other run shares. Rows that were inserted are listed and left:
    no row is ever deleted. An undo is a run itself, and can be undone. The chain is not asked.
    """
    from deploy import application, terminal
    from deploy.commands import ending
    from deploy.commands import undo as command

    async def work(_: asyncio.Event) -> int:
        settings = _load(application, config, *command.REQUIRED)
        async with ending.watched(settings):
            with terminal.err().status("undoing") as status:
                report = await command.run(settings, named=run_id, on_progress=status.update)
        await ending.tell(settings, report, as_json=as_json)
        return int(report.exit_code(strict=False))

    return running.run(work)


@cli.command(short_help="The report of a run: text, JSON, or a page.")
@_config
@_json
@click.argument("run", required=False)
@click.option("--format", "form", type=click.Choice(["html", "json", "text"]), help="By the output's name, else text.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file, in one step, not to stdout."
)
@click.option("--list", "listing", is_flag=True, help="The last runs, and no report.")
def report(
    config: Path | None, as_json: bool, run: str | None, form: str | None, output: Path | None, listing: bool
) -> int:
    """Show the report of RUN: its id, or as many of its first characters as only it has. By default the last one.

    The page is one file that needs nothing else. --json is short for --format json, and prints exactly what is stored.
    """
    from deploy import application, terminal
    from deploy.commands import report as command

    async def work(_: asyncio.Event) -> int:
        settings = _load(application, config, *command.REQUIRED)
        if listing:
            runs = await command.listed(settings)
            if as_json or form == "json":
                terminal.show_json([one.to_json() for one in runs])
            else:
                terminal.out().print(command.table(runs))
            return 0
        wanted = command.Format.JSON if as_json else command.Format(form) if form else command.Format.of(output)
        await command.run(settings, prefix=run, form=wanted, output=output)
        return 0

    return running.run(work)


@cli.command(short_help="How far the tables are, and what they lack.")
@_config
@_json
@click.option(
    "--wait-ledger", type=click.IntRange(min=1), help="Return once the watermark is at this ledger or beyond."
)
@click.option("--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds to wait.")
def status(config: Path | None, as_json: bool, wait_ledger: int | None, timeout: float) -> int:
    """How far the tables are, what they lack, how the last sweeps ended. Exit codes: 0 healthy, 2 degraded or timed out.

    Degraded: nothing indexed yet; RPC silent, or no longer holding what comes next; more than 24 ledgers or 120 s behind it;
    an open gap, other than the one before the stream's start; events that could not be decoded. With --wait-ledger the exit
    code says only whether the ledger was reached in time. Why it is degraded is told on stderr with --json.
    """
    import migrations
    from deploy import application, terminal, terminal_status
    from deploy import status as state
    from shared import database

    async def work(_: asyncio.Event) -> int:
        settings = _load(application, config, "database.url")
        stream = application.stream(settings)
        async with database.connect(settings.database, section="database") as engine:
            await migrations.check(engine)
            reached = None
            if wait_ledger is not None:
                reached = await state.wait(engine, scope=stream.scope, ledger=wait_ledger, timeout=timeout)
            current = await state.read(settings, engine, stream)
        if as_json:
            terminal.show_json(current.body)
            for trouble in current.degraded:
                running.complain(trouble)
        else:
            terminal_status.show(current, console=terminal.out())
        if reached is False:
            running.complain(f"the watermark did not reach ledger {wait_ledger} within {timeout:g} s")
        healthy = not current.degraded if reached is None else reached
        return 0 if healthy else 2

    return running.run(work)


@cli.command(short_help="Look at everything that it stands on.")
@_config
@_json
def doctor(config: Path | None, as_json: bool) -> int:
    """Look at every connection, right, version, node, contract and file; each failure with its cure. Nothing is changed.

    Exit codes: 0 all is well, warnings included; 1 something failed. With --json a list of {check, ok, words, cure}.
    """
    from deploy import terminal, terminal_doctor
    from deploy.commands import doctor as command

    async def work(_: asyncio.Event) -> int:
        with terminal.err().status("examining"):
            found = await command.run(config)
        if as_json:
            terminal.show_json([one.to_json() for one in found.checks])
        else:
            terminal_doctor.show(found, console=terminal.out())
        return 0 if found.healthy else running.ERROR

    return running.run(work)


@cli.command(short_help="All of it on this machine, in a minute.")
@_json
@click.option("--keep", is_flag=True, help="Leave everything running until Ctrl-C, with its addresses printed.")
def demo(as_json: bool, keep: bool) -> int:
    """Kafka, PostgreSQL and a chain on this machine; drift injected, found, repaired, explained."""
    from deploy.demo import tour
    from deploy.demo.guide import Guide

    async def work(stop: asyncio.Event) -> int:
        return await tour.run(Guide(as_json=as_json), keep=keep, stop=stop)

    return running.run(work)


def _load(application: Any, config: Path | None, *required: str, json_logs: bool = False) -> Any:
    """The settings, and the logs as they say. From here on no line shows a secret of theirs."""
    from shared import log, masking
    from shared.settings import LogFormat

    settings = application.load(config, *required)
    masking.conceal(settings.secrets())
    log.configure(LogFormat.JSON if json_logs else settings.log.format)
    return settings


def main() -> None:
    """The entry point. A wrong call ends with 1: 2 means drift here."""
    try:
        running.end(cli.main(prog_name="chaintrue", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(running.ERROR)
    except click.exceptions.Abort:
        sys.exit(running.INTERRUPTED)
