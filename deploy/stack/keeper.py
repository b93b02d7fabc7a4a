"""The keeper: a small process that stands between us and one server, and outlives us by a moment.

It holds the reading end of a pipe whose writing end only its parent has. However the parent ends, by kill -9 too, the pipe
closes; the keeper then ends the server with all its children, removes the directories it was given, and ends itself. It
runs in a session of its own, so a Ctrl-C at the terminal reaches the parent alone, who stops the server in order.

    python -I -S keeper.py DIRECTORY...         directories to remove at the end

Requests, one JSON object a line on standard input, and answers on standard output:

    {"argv": [...], "env": {...}, "log": PATH, "user": UID or null, "group": GID or null, "last_signal": N}
        -> {"pid": N}, and once it and all its children are gone {"exit": CODE}; or {"error": TEXT}
    {"signal": N}   to the server

Standard library only, and no import of ours: it has to start in milliseconds and depend on nothing.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable

GRACE_SECONDS = 5.0
PR_SET_PDEATHSIG = 1


class Keeper:
    """One server at a time, and the pipe that tells when its whole family has ended.

    The server inherits the pipe's writing end and hands it to its children: end of file means that none of them is left.
    """

    def __init__(self) -> None:
        self.server: subprocess.Popen[bytes] | None = None
        self.family = -1
        self.last_signal = int(signal.SIGKILL)

    def obey(self, line: bytes) -> None:
        request = json.loads(line)
        if "signal" in request:
            self.send(request["signal"])
            return
        try:
            self.spawn(request)
        except (OSError, subprocess.SubprocessError) as error:
            answer({"error": str(error)})

    def spawn(self, request: dict) -> None:  # type: ignore[type-arg] # JSON, whose shape the module's docstring gives
        self.last_signal = request["last_signal"]
        reader, writer = os.pipe()
        try:
            with open(request["log"], "ab") as log:  # noqa: PTH123 - pathlib would double the time to start
                self.server = subprocess.Popen(  # noqa: S603 - the command comes from our parent alone
                    request["argv"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=request["env"],
                    user=request["user"],
                    group=request["group"],
                    extra_groups=None if request["user"] is None else [],
                    pass_fds=(writer,),
                    preexec_fn=end_with_parent(self.last_signal),  # noqa: PLW1509 - the keeper has one thread
                )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self.family = reader
        answer({"pid": self.server.pid})

    def send(self, number: int) -> None:
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(number)

    def reap(self) -> None:
        """The family's pipe is at its end: collect the server's exit code and report it."""
        os.close(self.family)
        self.family = -1
        if self.server is not None:
            code, self.server = wait(self.server), None
            answer({"exit": code})

    def end(self) -> None:
        for number in (self.last_signal, signal.SIGKILL):
            if self.family >= 0:
                self.send(number)
                if select.select([self.family], [], [], GRACE_SECONDS)[0]:
                    self.reap()


def wait(server: "subprocess.Popen[bytes]") -> int:
    try:
        return server.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:  # it closed what it inherited, and lives
        server.kill()
        return server.wait()


def end_with_parent(number: int) -> Callable[[], None] | None:
    """Linux: the kernel sends this signal to the server when the keeper itself is killed."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    keeper = os.getpid()

    def in_child() -> None:
        prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != keeper:
            os._exit(1)

    return in_child


def answer(value: dict[str, object]) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody listens any more: the end of the input says so too
        os.write(1, json.dumps(value).encode() + b"\n")


def serve(keeper: Keeper) -> None:
    """Obey until the parent closes the pipe, or dies."""
    pending = b""
    while True:
        watched = [0] if keeper.family < 0 else [0, keeper.family]
        ready = select.select(watched, [], [])[0]
        if keeper.family in ready:
            keeper.reap()
        if 0 in ready:
            received = os.read(0, 65536)
            if not received:
                return
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                keeper.obey(line)


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    keeper = Keeper()
    try:
        serve(keeper)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        keeper.end()
        for directory in sys.argv[1:]:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
