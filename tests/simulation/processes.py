"""Processes of chaintrue that are killed and started again, by the test or by a supervisor such as systemd would be."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.stack.supervised import Supervisor

RESTART_SECONDS = 0.5
STOP_SECONDS = 12.0
"""A stream promises to end within 10 s of SIGTERM."""
FOR_EVER = 86_400.0


def command() -> str:
    """The `chaintrue` that stands beside this Python."""
    return str(Path(sys.executable).parent / "chaintrue")


@dataclass(frozen=True)
class End:
    """A process ended though nobody asked it to: its exit code, and what it said since its start."""

    code: int
    words: str

    @property
    def passes(self) -> bool:
        """Whether its last words were that Kafka or PostgreSQL are away, and the cure: whoever starts it again mends that."""
        away = ("CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS: Kafka at", "CHAINTRUE_DATABASE__URL: ")
        said = self.words.rpartition("\nchaintrue: ")[2].removeprefix("chaintrue: ")
        return self.code == 1 and said.startswith(away) and "Cure: " in said


class Process:
    """One command that is to run: what ends by itself is started again, what was killed stays down until `start`."""

    def __init__(self, name: str, argv: Sequence[str], *, directory: Path) -> None:
        self.name = name
        self.ends: list[End] = []
        self.log = directory / f"{name}.log"
        self._argv = argv
        self._supervisor = Supervisor(name=name, last_signal=signal.SIGKILL, doomed=[])
        self._wanted = asyncio.Event()
        self._lock = asyncio.Lock()
        self._began = 0

    @asynccontextmanager
    async def tended(self) -> AsyncIterator["Process"]:
        """Run it for the length of the block, from the first `start` on."""
        await self._supervisor.open()
        tending = asyncio.create_task(self._tend(), name=f"tending {self.name}")
        try:
            yield self
        finally:
            self._wanted.clear()
            tending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tending
            await self._supervisor.close()

    async def start(self) -> None:
        self._wanted.set()

    async def kill(self) -> None:
        """kill -9, and stay down."""
        self._wanted.clear()
        async with self._lock:
            await self._supervisor.end(signal.SIGKILL, deadline=STOP_SECONDS)

    def freeze(self) -> None:
        """SIGSTOP: it does nothing any more, and does not know."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on where it was."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if (pid := self._supervisor.pid) is not None:
            os.kill(pid, number)

    async def stop(self) -> None:
        """SIGTERM; a process that runs ends well, and in time."""
        self._wanted.clear()
        async with self._lock:
            if not self._supervisor.running:
                return
            young = not self.words()  # until Python has read the program, a signal just ends it
            async with asyncio.timeout(STOP_SECONDS):
                await self._supervisor.end(signal.SIGTERM, deadline=FOR_EVER)
            code = await self._supervisor.wait(0)
            assert code == 0 or young, (self.name, code, self.words())

    def words(self) -> str:
        """What it said since it was started the last time."""
        with self.log.open("rb") as file:
            file.seek(self._began)
            return file.read().decode(errors="replace")

    async def _tend(self) -> None:
        while True:
            await self._wanted.wait()
            async with self._lock:
                if self._wanted.is_set():
                    self._began = self.log.stat().st_size if self.log.exists() else 0
                    await self._supervisor.spawn(self._argv, log=self.log)
            code = await self._supervisor.wait(FOR_EVER)
            if self._wanted.is_set() and code is not None:
                self.ends.append(End(code, self.words()))
                await asyncio.sleep(RESTART_SECONDS)
