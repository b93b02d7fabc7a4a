"""`chaintrue`: the command. What each subcommand does is in `deploy/commands/`, how each of them ends in `running`."""

import asyncio
import sys

import click

from deploy import cli_options as options
from deploy import cli_stream, cli_sweep
from deploy.commands import running


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="chaintrue", message="%(prog)s %(version)s")
def cli() -> None:
    """Keeps an application's database true to its Soroban contracts."""


@click.command(short_help="All of it on this machine, in a minute.")
@options.as_json
@click.option("--keep", is_flag=True, help="Leave everything running until Ctrl-C, with its addresses printed.")
def demo(as_json: bool, keep: bool) -> int:
    """Kafka, PostgreSQL and a chain on this machine; drift injected, found, repaired, explained."""
    from deploy.demo import tour
    from deploy.demo.guide import Guide

    async def work(stop: asyncio.Event) -> int:
        return await tour.run(Guide(as_json=as_json), keep=keep, stop=stop)

    return running.run(work)


for _command in (
    cli_stream.migrate,
    cli_stream.stream,
    cli_stream.status,
    cli_stream.backfill,
    cli_stream.replay,
    cli_stream.doctor,
    cli_sweep.sweep,
    cli_sweep.apply,
    cli_sweep.undo,
    cli_sweep.schedule,
    cli_sweep.report,
    demo,
):
    cli.add_command(_command)


def main() -> None:
    """The entry point. A wrong call ends with 1: 2 means drift here."""
    try:
        running.end(cli.main(prog_name="chaintrue", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(running.ERROR)
    except click.exceptions.Abort:
        sys.exit(running.INTERRUPTED)
