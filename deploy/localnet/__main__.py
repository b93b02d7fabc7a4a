"""A localnet of its own: `python -m deploy.localnet` serves a recording until it is stopped."""

import asyncio
import signal
import sys
from pathlib import Path

import click

from deploy.localnet import chain, net
from shared import errors


@click.command()
@click.option("--history", type=click.Path(path_type=Path), default=net.STORY, show_default=True, help="The recording.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=0, show_default=True, help="The port; 0 takes a free one."
)
@click.option(
    "--tip",
    type=click.IntRange(0),
    help="The newest ledger at the start; 0 for none. [default: last, or first if played]",
)
@click.option(
    "--retention",
    type=click.IntRange(0),
    default=chain.DEFAULT_RETENTION,
    show_default=True,
    help="How many ledgers are kept; 0 keeps all.",
)
@click.option(
    "--pace", type=click.FloatRange(0), default=0.0, show_default=True, help="Ledgers a second; 0 stands still."
)
@click.option("--skip-empty", is_flag=True, help="Count only ledgers that hold transactions.")
def main(
    *, history: Path, host: str, port: int, tip: int | None, retention: int, pace: float, skip_empty: bool
) -> None:
    """Serve a recorded history as a Stellar RPC node; the first line printed is its URL.

    Recorded ledgers closed long ago: run chaintrue against it with CHAINTRUE_SWEEP__MAX_TIP_AGE_SECONDS=0.
    """
    serving = net.serve(
        history=history, host=host, port=port, tip=tip, retention=retention or None, pace=pace, skip_empty=skip_empty
    )
    try:
        asyncio.run(_until_stopped(serving))
    except errors.SettingError as error:
        click.echo(str(error), err=True)
        sys.exit(1)


async def _until_stopped(serving: net.Serving) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with serving as running:
        click.echo(running.url)
        await stopped.wait()


if __name__ == "__main__":
    main()
