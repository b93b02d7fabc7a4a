"""A process with the most memory that it held."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MEGABYTE = 1024 * 1024
# A process begins with the greatest size of the one that started it: a small one in between, or our own size would be told.
_WEIGHED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """What the process printed, and the most memory that it held (bytes)."""

    output: bytes
    memory: int


def run(command: Sequence[str], *, env: Mapping[str, str], codes: Sequence[int] = (0,)) -> Ended:
    """Run the command to its end; raises RuntimeError, with its last words, for another exit code than these."""
    ended = subprocess.run((sys.executable, "-c", _WEIGHED, *command), env=env, capture_output=True, check=False)  # noqa: S603 - our own commands
    if ended.returncode not in codes:
        raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr.decode()[-4000:]}")
    return Ended(ended.stdout, int(ended.stderr.split()[-1]) * 1024)
