"""Our side of the keeper (keeper.py): one supervised process at a time, awaited without polling."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.stack import keeper
from deploy.stack.failure import StackFailed

# What a server may know of our environment: no JAVA_TOOL_OPTIONS, CLASSPATH, PGDATA or the like changes how it runs.
PASSED_ON = ("PATH", "HOME", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
END_SECONDS = 15.0


class Supervisor:
    """Runs one process after the other for the server `name`; removes the directories `doomed` when we close, or die.

    `last_signal` is what the process gets when we died; SIGKILL follows. `user` and `group`: as whom to run, None as us.
    """

    def __init__(self, *, name: str, last_signal: signal.Signals, doomed: Sequence[Path]) -> None:
        self.name = name
        self.user: int | None = None
        self.group: int | None = None
        self._last_signal = last_signal
        self._doomed = doomed
        self._keeper: asyncio.subprocess.Process | None = None
        self._answers: asyncio.Task[None] | None = None
        self._pid: asyncio.Future[int] | None = None
        self._exit: asyncio.Future[int] | None = None

    @property
    def running(self) -> bool:
        return self._exit is not None and not self._exit.done()

    @property
    def pid(self) -> int | None:
        """The process id of what runs now, None when nothing does."""
        return self._pid.result() if self.running and self._pid is not None and self._pid.done() else None

    async def open(self) -> None:
        """Start the keeper itself; it sleeps until asked."""
        self._keeper = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", keeper.__file__),
            *(str(directory) for directory in self._doomed),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._answers = asyncio.create_task(self._listen(self._keeper))

    async def spawn(self, argv: Sequence[str], *, log: Path) -> None:
        """Run this command, its words appended to `log`; returns once it runs, raises StackFailed when it cannot."""
        loop = asyncio.get_running_loop()
        request = {
            "argv": list(argv),
            "env": {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"LC_ALL": "C"},
            "log": str(log),
            "user": self.user,
            "group": self.group,
            "last_signal": int(self._last_signal),
        }
        self._tell(request)
        self._pid, self._exit = loop.create_future(), loop.create_future()
        try:
            await self._pid
        except StackFailed:
            self._exit.cancel()
            raise

    async def wait(self, seconds: float) -> int | None:
        """The exit code (negative: the signal) once the process and its children are gone; None after `seconds`."""
        if self._exit is None:
            return None
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(self._exit), seconds)
        return None

    async def end(self, number: signal.Signals, *, deadline: float) -> None:
        """Send the signal and wait until all is gone; after `deadline` seconds SIGKILL follows."""
        if not self.running:
            return
        self._tell({"signal": int(number)})
        if await self.wait(deadline) is None:
            self._tell({"signal": int(signal.SIGKILL)})
            if await self.wait(END_SECONDS) is None:
                raise StackFailed(f"the local {self.name} (process {self.pid}) does not end, not even killed")

    async def close(self) -> None:
        """End the keeper: what still runs is ended, the directories are removed. May be called more than once."""
        process, self._keeper = self._keeper, None
        if process is None or process.stdin is None or self._answers is None:
            return
        process.stdin.close()
        with contextlib.suppress(TimeoutError):  # a keeper that hangs is not worth hanging for
            await asyncio.wait_for(asyncio.gather(process.wait(), self._answers), END_SECONDS)

    def _tell(self, request: Mapping[str, object]) -> None:
        if self._keeper is None or self._keeper.stdin is None or self._answers is None:
            raise StackFailed(f"the local {self.name} is closed")
        if self._answers.done():
            raise StackFailed(f"the keeper of the local {self.name} is gone")
        self._keeper.stdin.write(json.dumps(request).encode() + b"\n")

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        async for line in process.stdout:
            answer = json.loads(line)
            if "pid" in answer:
                _settle(self._pid, answer["pid"])
            elif "exit" in answer:
                _settle(self._exit, answer["exit"])
            else:
                _settle(self._pid, StackFailed(f"the local {self.name} cannot be run: {answer['error']}"))
        _settle(self._pid, StackFailed(f"the keeper of the local {self.name} is gone"))
        _settle(self._exit, -int(signal.SIGKILL))


def _settle(future: asyncio.Future[int] | None, outcome: int | StackFailed) -> None:
    if future is None or future.done():
        return
    if isinstance(outcome, int):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)
