"""One local server: started, watched until it is ready, stopped or killed, started again, and cleaned away.

Kafka and PostgreSQL say what differs: how the data directory is made, the command, what "ready" means.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from deploy.stack.failure import StackFailed, last_words
from deploy.stack.supervised import Supervisor

STOP_SECONDS = 15.0
POLL_SECONDS = 0.05
PORT_ATTEMPTS = 5
PORT_TAKEN = "Address already in use"
NO_MEMORY = ("Cannot allocate memory", "insufficient memory", "Could not reserve enough space", "OutOfMemoryError")


class Server(ABC):
    """A server on 127.0.0.1; an async context manager that starts it and cleans it away.

    `directory` None means a temporary one, removed at the end, however this process ends. A given one is kept, and a later
    server on it finds the data again. `ready_seconds` bounds each start.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    last_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self, *, directory: Path | None, ready_seconds: float) -> None:
        self._temporary = directory is None
        self.directory = temporary_directory() if directory is None else directory.absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log = self.directory / f"{self.name.lower()}.log"
        self.ready_seconds = ready_seconds
        self.ports: tuple[int, ...] = ()
        doomed = [self.directory] if self._temporary else []
        self._supervisor = Supervisor(name=self.name, last_signal=self.last_signal, doomed=doomed)

    @abstractmethod
    async def prepare(self) -> None:
        """Make the data directory, unless it is there."""

    @abstractmethod
    def choose_ports(self) -> tuple[int, ...]:
        """Free ports for the first start."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command that starts the server on `ports`."""

    @abstractmethod
    async def probe(self) -> bool:
        """Whether the server answers as its clients will ask it; False, not an error, for one that does not yet."""

    async def __aenter__(self) -> Self:
        try:
            await self._supervisor.open()
            await self.prepare()
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def pid(self) -> int | None:
        """The process id of the server, None while it does not run."""
        return self._supervisor.pid

    async def start(self) -> None:
        """Start, and return once the server answers; after `stop` or `kill` again, on the same ports and data."""
        if self._supervisor.running:
            return
        first = not self.ports
        for attempt in range(1, PORT_ATTEMPTS + 1):
            if first:
                self.ports = self.choose_ports()
            written = self.log.stat().st_size if self.log.exists() else 0
            await self._supervisor.spawn(self.command(), log=self.log)
            if await self._became_ready():
                return
            if attempt == PORT_ATTEMPTS or not self._said(PORT_TAKEN, since=written):
                raise self.failure("ended before it was ready")

    async def stop(self, *, deadline: float = STOP_SECONDS) -> None:
        """Ask the server to end in order; after `deadline` seconds it is killed. The data stays."""
        await self._supervisor.end(self.stop_signal, deadline=deadline)

    async def kill(self) -> None:
        """SIGKILL, as a crash would; returns once it and its children are gone. The data stays."""
        await self._supervisor.end(signal.SIGKILL, deadline=STOP_SECONDS)

    async def close(self) -> None:
        """Stop, and remove the directory if it is temporary; may be called more than once."""
        try:
            await self.stop()
        finally:
            await self._supervisor.close()
            if self._temporary:  # the keeper did it, unless somebody killed the keeper
                await asyncio.to_thread(shutil.rmtree, self.directory, ignore_errors=True)

    async def run(self, argv: Sequence[str], *, deadline: float) -> None:
        """Run one preparing command to its end; raises StackFailed with its words."""
        await self._supervisor.spawn(argv, log=self.log)
        code = await self._supervisor.wait(deadline)
        if code is None:
            await self.kill()
            raise self.failure(f"was not prepared within {deadline:g} s")
        if code != 0:
            raise self.failure(f"could not be prepared (exit code {code})")

    def failure(self, what: str) -> StackFailed:
        """The error that quotes the server's own last words, and the cure that fits them."""
        words = last_words(self.log)
        return StackFailed(f"the local {self.name} {what}; its last words:\n{words}", cure=self._cure(words))

    def _cure(self, words: str) -> str:
        if "No space left" in words:
            return f"free some space on the disk of {self.directory.parent}, or set TMPDIR to a larger one"
        if any(word in words for word in NO_MEMORY):
            return "free some memory: Kafka and PostgreSQL together take about 1 GB"
        if PORT_TAKEN in words:
            return f"end what listens on port {' or '.join(map(str, self.ports))}"
        return f"mend what these lines name, or use a {self.name} of your own"

    def _said(self, words: str, *, since: int) -> bool:
        with self.log.open("rb") as log:
            log.seek(since)
            return words.encode() in log.read()

    async def _became_ready(self) -> bool:
        """False when the server ended by itself; raises StackFailed when the deadline passed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.ready_seconds
        while self._supervisor.running and loop.time() < end:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(end):
                    if await self.probe():
                        return True
            await self._supervisor.wait(POLL_SECONDS)
        if not self._supervisor.running:
            return False
        failure = self.failure(f"did not answer within {self.ready_seconds:g} s")
        await self.kill()
        raise failure


def temporary_directory() -> Path:
    """A new directory that another user may enter: PostgreSQL refuses to run as root, so root runs it as somebody else."""
    shelves = [Path(tempfile.gettempdir())]
    if os.geteuid() == 0:
        shelves = [shelf for shelf in (*shelves, Path("/tmp"), Path("/var/tmp")) if open_to_all(shelf)] or shelves  # noqa: S108 - mkdtemp makes a private name
    directory = Path(tempfile.mkdtemp(prefix="chaintrue-", dir=shelves[0]))
    directory.chmod(0o755)
    return directory


def open_to_all(path: Path) -> bool:
    """Whether every user may enter this directory, by the permissions of it and of all above it."""
    return all(place.stat().st_mode & stat.S_IXOTH for place in (path.resolve(), *path.resolve().parents))
