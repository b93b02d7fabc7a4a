"""The subcommands of the sweeper: comparing, repairing, plans, taking back, the clock, reports."""

import asyncio
from functools import partial
from pathlib import Path

import click

from deploy import cli_options as options
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


@click.command(short_help="Compare the app with the chain; --repair mends it.", epilog=_EXIT_CODES)
@options.config
@options.as_json
@click.option("--repair", is_flag=True, help="Apply what policy allows; without it nothing is written to the app.")
@click.option("--table", "tables", multiple=True, help="Only this table; may be given again.")
@click.option("--changed", is_flag=True, help="Only what changed on chain since the last complete sweep.")
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    help="Write what policy would repair or propose, and was not written, to this file: for `apply`.",
)
@click.option("--strict", is_flag=True, help="Exit with 2 on any finding.")
@options.html
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
    from deploy.commands import ending
    from deploy.commands import sweep as command
    from sweeper.report import Mode

    if changed and tables:
        raise click.UsageError("--changed looks at all tables: leave --table out")

    async def work(_: asyncio.Event) -> int:
        settings = options.load(config, *command.REQUIRED)
        sweeping = partial(command.run, settings, repair=repair, tables=tables, changed=changed, plan=plan)
        mode = Mode.REPAIR if repair else Mode.DRY
        return await ending.see_through(
            settings, sweeping, mode=mode, doing="sweeping", as_json=as_json, html=html, strict=strict
        )

    return running.run(work)


@click.command(short_help="Sweeps by the clock, until SIGTERM.")
@options.config
@options.as_json
def schedule(config: Path | None, as_json: bool) -> int:
    """Full sweeps and sweeps of what changed, each by its cron expression (SCHEDULE__…, in UTC). Ends on SIGTERM or Ctrl-C.

    One sweep at a time, also beside other processes on the same database. A full sweep that was missed is made up for, one that
    finds another run going on waits for it. What goes wrong in a sweep is logged, and the next one comes. With --json the logs
    are JSON lines, on stderr as always.
    """
    from deploy.commands import ending
    from deploy.commands import schedule as command

    async def work(stop: asyncio.Event) -> int:
        settings = options.load(config, *command.REQUIRED, json_logs=as_json)
        listeners = command.Listeners(
            on_report=partial(ending.note, settings), on_failure=partial(ending.note_failure, settings)
        )
        return await command.run(settings, stop, listeners=listeners)

    return running.run(work, stops=True)


@click.command(short_help="Write a reviewed plan.", epilog=_EXIT_CODES.replace(" (--strict: any finding)", ""))
@options.config
@options.as_json
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
    from deploy.commands import apply as command
    from deploy.commands import ending
    from sweeper.report import Mode

    async def work(_: asyncio.Event) -> int:
        settings = options.load(config, *command.REQUIRED)
        applying = partial(command.run, settings, path=plan)
        return await ending.see_through(settings, applying, mode=Mode.APPLY, doing="applying the plan", as_json=as_json)

    return running.run(work)


@click.command(short_help="Take a run's updates back.", epilog=_UNDO_CODES)
@options.config
@options.as_json
@click.argument("run_id", metavar="RUN")
def undo(config: Path | None, as_json: bool, run_id: str) -> int:
    """Give the rows that RUN updated the values that they had before, to the byte, where nobody touched them since.

    RUN is the run_id of a report, or a beginning of it that no other run shares. Rows that were inserted are listed and left:
    no row is ever deleted. An undo is a run itself, and can be undone. The chain is not asked.
    """
    from deploy.commands import ending
    from deploy.commands import undo as command
    from sweeper.report import Mode

    async def work(_: asyncio.Event) -> int:
        settings = options.load(config, *command.REQUIRED)
        undoing = partial(command.run, settings, named=run_id)
        return await ending.see_through(settings, undoing, mode=Mode.UNDO, doing="undoing", as_json=as_json)

    return running.run(work)


@click.command(short_help="The report of a run: text, JSON, or a page.")
@options.config
@options.as_json
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
    from deploy import terminal
    from deploy.commands import report as command

    async def work(_: asyncio.Event) -> int:
        settings = options.load(config, *command.REQUIRED)
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
