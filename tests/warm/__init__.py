"""The command without its start: most of the time of a short command goes into reading its modules, and tests run hundreds.

`server` has read them and forks a process for each call; `client` stands in its place for whoever started it: the same output,
exit code and signals. The installed command itself is what `test_command.py`, `test_setup.py` and `test_security.py` start.
"""

import asyncio
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.warm import client

START_SECONDS = 60


@asynccontextmanager
async def command() -> AsyncIterator[Sequence[str]]:
    """What to run in the place of `chaintrue`, with the same arguments."""
    with tempfile.TemporaryDirectory(prefix="chaintrue-warm-") as directory:
        path = Path(directory) / "socket"
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.warm.server", str(path), stdout=asyncio.subprocess.PIPE
        )
        assert server.stdout is not None
        try:
            async with asyncio.timeout(START_SECONDS):
                assert await server.stdout.readline() == b"ready\n"
            yield [sys.executable, "-I", "-S", client.__file__, str(path)]
        finally:
            server.send_signal(signal.SIGTERM)
            await server.communicate()
