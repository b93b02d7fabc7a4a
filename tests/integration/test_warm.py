"""What stands for the command in acceptance tests: the same words, exit codes and signals as of the command itself."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.demo import processes
from tests import warm

PIPE = asyncio.subprocess.PIPE


@pytest.fixture(scope="module")
async def command() -> AsyncIterator[Sequence[str]]:
    async with warm.command() as argv:
        yield argv


async def ended(
    command: Sequence[str], *arguments: str, cwd: Path | None = None, **changes: str
) -> tuple[int | None, bytes, bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHAINTRUE_")} | changes
    process = await asyncio.create_subprocess_exec(
        *command, *arguments, env=environment, stdout=PIPE, stderr=PIPE, cwd=cwd
    )
    stdout, stderr = await process.communicate()
    return process.returncode, stdout, stderr


@pytest.mark.parametrize(
    "arguments", [("--version",), ("sweep", "--help"), ("sweep",), ("no-such-command",), ("apply", "none.json")]
)
async def test_it_says_and_ends_as_the_command_does(
    command: Sequence[str], arguments: tuple[str, ...], tmp_path: Path
) -> None:
    installed = await ended([processes.command()], *arguments, cwd=tmp_path)
    assert await ended(command, *arguments, cwd=tmp_path) == installed


async def test_the_environment_is_that_of_the_caller(command: Sequence[str]) -> None:
    code, _, said = await ended(command, "sweep", CHAINTRUE_SWEEP__LIMIT_SHARE="much")
    assert code == 1
    assert b"CHAINTRUE_SWEEP__LIMIT_SHARE" in said


@dataclass
class Silent:
    """A server that takes connections and never answers."""

    address: str = ""
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected.set()
        await reader.read(-1)
        self.left.set()
        writer.close()


@asynccontextmanager
async def waiting(command: Sequence[str]) -> AsyncIterator[tuple[asyncio.subprocess.Process, Silent]]:
    """A command that waits for its database."""
    silent = Silent()
    async with await asyncio.start_server(silent.take, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        environment = {
            "CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS": f"{host}:{port}",
            "CHAINTRUE_DATABASE__URL": f"postgresql://nobody@{host}:{port}/nothing?sslmode=disable",
            "CHAINTRUE_DATABASE__CONNECT_TIMEOUT_SECONDS": "60",
            "CHAINTRUE_KAFKA__TIMEOUT_SECONDS": "60",
            "PATH": os.environ["PATH"],
        }
        process = await asyncio.create_subprocess_exec(*command, "migrate", env=environment, stdout=PIPE, stderr=PIPE)
        async with asyncio.timeout(30):
            await silent.connected.wait()
        yield process, silent


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_reaches_it(command: Sequence[str], number: signal.Signals, code: int) -> None:
    async with waiting(command) as (process, _), asyncio.timeout(10):
        process.send_signal(number)
        await process.communicate()
    assert process.returncode == code


async def test_killed_it_is_gone(command: Sequence[str]) -> None:
    async with waiting(command) as (process, silent), asyncio.timeout(10):
        process.kill()
        await process.communicate()
        await silent.left.wait()
    assert process.returncode == -signal.SIGKILL
