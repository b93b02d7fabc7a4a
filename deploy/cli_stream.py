"""The subcommands around the stream: own database and topic, following the chain, filling, rebuilding, looking at all of it."""

import asyncio
from pathlib import Path
from typing import cast

import click

from deploy import cli_options as options
from deploy.commands import running

_REPLAY_CODES = """\b
Exit codes: 0 identical, or exchanged
            1 error (a wrong setting, a log that is not whole, something unreachable)
            2 different"""


@click.command(short_help="Own database to this version, topic created.")
@options.config
@options.as_json
def migrate(config: Path | None, as_json: bool) -> int:
    """Bring chaintrue's own database to this version, create and verify the topic."""
    from deploy import terminal
    from deploy.commands import migrate as command

    async def work(_: asyncio.Event) -> int:
        done = await command.run(options.load(config, *command.REQUIRED))
        if as_json:
            terminal.show_json(done)
        else:
            topic = "created or mended" if done["topic_changed"] else "as it should be"
            terminal.out().print(
                f"The database is at revision {done['revision']}; the topic {done['topic']} is {topic}."
            )
        return 0

    return running.run(work)


@click.command(short_help="Follow the chain until SIGTERM.")
@options.config
@options.as_json
@click.option("--only", type=click.Choice(["indexer", "worker"]), help="One part alone, to scale out.")
def stream(config: Path | None, as_json: bool, only: str | None) -> int:
    """Follow the chain: RPC to Kafka, Kafka to the authoritative tables. Ends on SIGTERM or Ctrl-C.

    With --json the logs are JSON lines, on stderr as always.
    """
    from deploy.commands import stream as command
    from streams.runner import Only

    async def work(stop: asyncio.Event) -> int:
        part = cast("Only | None", only)
        settings = options.load(config, *command.required(part), json_logs=as_json)
        return await command.run(settings, stop, only=part)

    return running.run(work, stops=True)


@click.command(short_help="Read a range of ledgers anew, through the log.")
@options.config
@options.as_json
@click.option("--from", "first", type=click.IntRange(min=1), help="The first ledger.")
@click.option("--to", "last", type=click.IntRange(min=1), help="The last ledger.")
@click.option(
    "--withdraw-gap", is_flag=True, help="Take back gaps that end beyond the newest ledger of all nodes, instead."
)
def backfill(config: Path | None, as_json: bool, first: int | None, last: int | None, withdraw_gap: bool) -> int:
    """Read the ledgers from RPC once more, write them to the log, and wait until a running stream has applied them.

    What the tables know already is not changed by it; what they missed is folded in.

    With --withdraw-gap no range is given. A gap that claims more ledgers than the chain has keeps the stream from going on. It is
    withdrawn in the log, and a running indexer resumes before it within a minute.
    """
    from deploy import terminal
    from deploy.commands import backfill as command

    if withdraw_gap and (first or last):
        raise click.UsageError("--withdraw-gap takes neither --from nor --to")
    if not withdraw_gap and (first is None or last is None):
        raise click.UsageError("name a range by --from and --to, or --withdraw-gap")

    async def fill(begin: int, end: int) -> int:
        settings = options.load(config, *command.REQUIRED)
        with terminal.progress("ledgers", first=begin, last=end) as told:
            done = await command.run(settings, first=begin, last=end, on_progress=told)
        if as_json:
            terminal.show_json(done)
        else:
            terminal.out().print(f"The ledgers {begin} to {end} were read: {done['events']} events are in the tables.")
        return 0

    async def withdraw() -> int:
        done = await command.withdraw(options.load(config, *command.REQUIRED))
        if as_json:
            terminal.show_json(done)
            return 0
        for gap in done["withdrawn"]:
            terminal.out().print(f"The gap from ledger {gap['from_ledger']} to {gap['to_ledger']} is withdrawn.")
        if not done["withdrawn"]:
            terminal.out().print("No gap ends beyond the newest ledger of the nodes.")
        else:
            terminal.out().print(f"The stream goes on behind ledger {done['behind_ledger']}.")
        return 0

    if first is None or last is None:
        return running.run(lambda _: withdraw())
    begin, end = first, last
    return running.run(lambda _: fill(begin, end))


@click.command(short_help="Rebuild the tables from the log and compare.", epilog=_REPLAY_CODES)
@options.config
@options.as_json
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
    from deploy import terminal, terminal_replay
    from deploy.commands import replay as command

    async def work(_: asyncio.Event) -> int:
        settings = options.load(config, *command.REQUIRED)
        with terminal.err().status("replaying") as status:
            outcome = await command.run(settings, base=base, swap=swap, on_progress=status.update)
        if as_json:
            terminal.show_json(outcome.to_json())
        else:
            terminal_replay.show(outcome, console=terminal.out())
        return outcome.exit_code

    return running.run(work)


@click.command(short_help="How far the tables are, and what they lack.")
@options.config
@options.as_json
@click.option(
    "--wait-ledger", type=click.IntRange(min=1), help="Return once the watermark is at this ledger or beyond."
)
@click.option("--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds to wait.")
def status(config: Path | None, as_json: bool, wait_ledger: int | None, timeout: float) -> int:
    """How far the tables are, what they lack, how the last sweeps ended. Exit codes: 0 healthy, 2 degraded or timed out.

    Degraded: nothing indexed yet; RPC silent, or no longer holding what comes next; more than 24 ledgers or 120 s behind it;
    an open gap, other than the one before the stream's start; events that could not be decoded; observations that wait for
    more than 24 ledgers while none is made. With --wait-ledger the exit
    code says only whether the ledger was reached in time. Why it is degraded is told on stderr with --json.
    """
    import migrations
    from deploy import application, terminal, terminal_status
    from deploy import status as state
    from shared import database

    async def work(_: asyncio.Event) -> int:
        settings = options.load(config, "database.url")
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


@click.command(short_help="Look at everything that it stands on.")
@options.config
@options.as_json
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
