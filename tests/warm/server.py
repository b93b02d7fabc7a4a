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
from typing import Any, NoReturn

from deploy import cli, commands


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
                    child = _start(listening, selector)
                    selector.register(child.client, selectors.EVENT_READ, child)
                    selector.register(child.ended, selectors.EVENT_READ, child)
                elif key.fileobj == key.data.ended:
                    _tell(key.data, selector)
                else:  # a client says nothing any more, so it is gone
                    selector.unregister(key.data.client)
                    os.kill(key.data.pid, signal.SIGKILL)


def _start(listening: socket.socket, selector: selectors.BaseSelector) -> Child:
    client, _ = listening.accept()
    head, files, _, _ = socket.recv_fds(client, 4, 3)
    body = b""
    while len(body) < int.from_bytes(head):
        body += client.recv(1 << 20)
    pid = os.fork()
    if not pid:
        for other in {key.data for key in selector.get_map().values() if key.data}:
            other.client.close()
            os.close(other.ended)
        selector.close()
        listening.close()
        client.close()
        _become(json.loads(body), files)
    for file in files:
        os.close(file)
    client.sendall(pid.to_bytes(4))
    return Child(pid, client, os.pidfd_open(pid))


def _become(request: dict[str, Any], files: list[int]) -> NoReturn:
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
