"""The stream of the demo as its own process: the very command that a user runs, ended with the demo whatever happens."""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.stack.failure import last_words
from deploy.stack.supervised import Supervisor
from shared import errors

STOP_SECONDS = 10.0


def command() -> str:
    """The `chaintrue` that stands beside this Python."""
    return str(Path(sys.executable).parent / "chaintrue")


@dataclass(frozen=True)
class Stream:
    """A running `chaintrue stream`, and the file of its words."""

    supervisor: Supervisor
    log: Path

    def ensure_alive(self) -> None:
        """Raise ChaintrueError, with the stream's last words, if it has ended."""
        if not self.supervisor.running:
            raise errors.ChaintrueError(f"the stream of the demo has ended; its last words:\n{last_words(self.log)}")


@asynccontextmanager
async def stream(*, config: Path, directory: Path) -> AsyncIterator[Stream]:
    """`chaintrue stream --config …`, its logs in `directory`; SIGTERM at the end.

    It is kept as the local servers are: it ends with us, and `directory` is removed, by kill -9 too.
    """
    supervisor = Supervisor(name="chaintrue stream", last_signal=signal.SIGTERM, doomed=[directory])
    await supervisor.open()
    try:
        log = directory / "stream.log"
        await supervisor.spawn([command(), "stream", "--config", str(config)], log=log)
        yield Stream(supervisor, log)
        await supervisor.end(signal.SIGTERM, deadline=STOP_SECONDS)
    finally:
        await supervisor.close()
