"""`client.py SOCKET ARGUMENTS`: hands its files, environment and arguments to the server, and ends as the process made of them.

Read without site packages, and quick for that.
"""

import json
import os
import signal
import socket
import sys


def answer(connection: socket.socket) -> bytes:
    """Four bytes; a server that is gone must not look like a process 0 or an exit code 0."""
    found = connection.recv(4)
    if len(found) < 4:
        sys.exit("the server of tests.warm is gone")
    return found


def main(path: str, arguments: list[str]) -> None:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    directory = os.getcwd()  # noqa: PTH109 - pathlib takes longer to read than all the rest
    request = {"arguments": arguments, "environment": dict(os.environ), "directory": directory}
    body = json.dumps(request).encode()
    socket.send_fds(connection, [len(body).to_bytes(4)], [0, 1, 2])
    connection.sendall(body)
    pid = int.from_bytes(answer(connection))

    def hand_on(number: int, _: object) -> None:
        os.kill(pid, number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hand_on)
    code = int.from_bytes(answer(connection), signed=True)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
