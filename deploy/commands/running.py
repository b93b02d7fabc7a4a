"""How every command runs and ends: signals, errors in words, exit codes. The one place that does so.

A command that runs until it is told to stop (`stops`) ends with its own code on Ctrl-C and SIGTERM. A one-shot command is
cancelled by them, and ends as a shell reports a signal: 130 for Ctrl-C, 143 for SIGTERM. A second signal ends it at once.
"""

import asyncio
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

ERROR = 1
SIGNALLED = 128
INTERRUPTED = SIGNALLED + signal.SIGINT
STOP_SECONDS = 9.5
"""From the first signal to the end, 10 s are promised."""
DEBUG = "CHAINTRUE_DEBUG"
"""Set to 1, an error shows its traceback."""

Work = Callable[[asyncio.Event], Coroutine[Any, Any, int]]


def run(work: Work, *, stops: bool = False, stop_seconds: float = STOP_SECONDS) -> int:
    """Run a command to its exit code. `work` is given the event that a signal sets."""
    debug = os.environ.pop(DEBUG, "") == "1"  # not one of the settings, which know all names that begin alike
    try:
        return asyncio.run(_supervised(work, stops=stops, stop_seconds=stop_seconds))
    except BrokenPipeError:
        _nobody_reads()
    except Exception as error:  # noqa: BLE001 - the last line of defence: a mistake of ours ends in words, too
        from deploy.commands import failures  # noqa: PLC0415 - slow to import, and only a failure needs it

        if debug:
            complain("".join(traceback.format_exception(error)))
        complain(failures.explain(error) or failures.confess(error))
    return ERROR


async def _supervised(work: Work, *, stops: bool, stop_seconds: float) -> int:
    stop = asyncio.Event()
    received: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        if received:
            _leave(SIGNALLED + number)
        received.append(number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    task = asyncio.ensure_future(work(stop))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        if not stops:
            task.cancel()
        await asyncio.wait({task}, timeout=stop_seconds)
    if not task.done():
        complain("not everything could be ended in time; what was left is given up")
        _leave(ERROR)
    return SIGNALLED + received[0] if task.cancelled() and received else task.result()


def end(code: int) -> NoReturn:
    """End the process with the code. A thread that hangs (Faust's does, without its broker) is not waited for."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        _leave(code)
    sys.exit(code)


def complain(message: str) -> None:
    """One message on stderr, secrets masked."""
    from shared.masking import mask  # noqa: PLC0415 - slow to import: `chaintrue --help` is quick

    print(f"chaintrue: {mask(message.rstrip())}", file=sys.stderr)  # noqa: T201 - the terminal is where a person reads it


def _leave(code: int) -> NoReturn:
    """End now: neither tasks that do not end nor threads that hang are waited for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _nobody_reads() -> None:
    """Whoever read our output is gone: nothing more is written, also not at the end of the process."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
