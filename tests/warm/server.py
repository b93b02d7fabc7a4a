"""`python -m tests.warm.server SOCKET`: reads the modules of all commands, then forks a process for each client until SIGTERM.

    client: 4 bytes of length, with its three files | a JSON object;  server: 4 bytes, the pid | 4 bytes, the exit code

A client that is gone takes its process with it.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
import types
from dataclasses import dataclass
from typing import NoReturn, TypedDict

from deploy import cli, commands


class Request(TypedDict):
    """What a client asks for."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str


@dataclass(frozen=True)
class Child:
    """A running process: the socket of its client, and the file that tells of its end."""

    pid: int
    client: socket.socket
    ended: int


def serve(path: str) -> None:
    for module in pkgutil.iter_modules(commands.__path__):
        importlib.import_module(f"{commands.__name__}.{module.name}")
    importlib.import_module("deploy.status")
    gc.freeze()  # a fork shares these pages
    with socket.socket(socket.AF_UNIX) as listening, selectors.DefaultSelector() as selector:
        listening.bind(path)
        listening.listen(64)
        selector.register(listening, selectors.EVENT_READ)
        print("ready", flush=True)  # noqa: T201 - the starter waits for it
        while True:
            for key, _ in selector.select():
                if key.fileobj is listening:
                    _start(listening, selector)
                elif key.fileobj == key.data.ended:
                    _tell(key.data, selector)
                elif key.data.client.fileno() != -1:  # its process may just have ended
                    selector.unregister(key.data.client)  # a client says nothing any more, so it is gone
                    os.kill(key.data.pid, signal.SIGKILL)


def _start(listening: socket.socket, selector: selectors.BaseSelector) -> None:
    client, _ = listening.accept()
    head, files, _, _ = socket.recv_fds(client, 4, 3)
    with client.makefile("rb") as reader:
        body = reader.read(int.from_bytes(head))
    pid = os.fork()
    if not pid:
        for other in {key.data for key in selector.get_map().values() if key.data}:
            other.client.close()
            os.close(other.ended)
        selector.close()
        listening.close()
        client.close()
        _become(json.loads(body), files)  # half a request, of a client that was killed, ends the fork alone
    for file in files:
        os.close(file)
    child = Child(pid, client, os.pidfd_open(pid))
    selector.register(child.client, selectors.EVENT_READ, child)
    selector.register(child.ended, selectors.EVENT_READ, child)
    with contextlib.suppress(OSError):  # a client that is gone is seen at the next look
        client.sendall(pid.to_bytes(4))


def _become(request: Request, files: list[int]) -> NoReturn:
    """Be the command that the client asks for."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    sys.argv = ["chaintrue", *request["arguments"]]
    cli.main()
    sys.exit(0)


def _tell(child: Child, selector: selectors.BaseSelector) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    selector.unregister(child.ended)
    os.close(child.ended)
    with contextlib.suppress(KeyError):  # a client that is gone was taken out before
        selector.unregister(child.client)
    with contextlib.suppress(OSError):
        child.client.sendall(code.to_bytes(4, signed=True))
    child.client.close()


def _end(number: int, _: types.FrameType | None) -> None:
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    serve(sys.argv[1])
