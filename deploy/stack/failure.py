"""The one error of the local stack, and how it quotes a server."""

from pathlib import Path

from shared import errors

LAST_LINES = 15
STACK_FRAME = "\tat "  # of Java: says nothing to whoever only wants it to start
EXTRA_CURE = "install chaintrue with its extra `local`, or use a Kafka and a PostgreSQL of your own"


class StackFailed(errors.ChaintrueError):
    """The local stack could not be started."""


def last_words(log: Path, *, lines: int = LAST_LINES) -> str:
    """The end of a server's log, indented, for people, without stack frames; says so when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65536))
            words = file.read().decode(errors="replace").splitlines()
    except OSError:
        words = []
    kept = [line for line in words if line.strip() and not line.startswith(STACK_FRAME)][-lines:]
    return "\n".join(f"    {line}" for line in kept) or "    (it left no word in its log)"
