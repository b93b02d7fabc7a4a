"""`chaintrue stream --only worker` for several scopes, which StepFi's own settings cannot name: a process of the simulation."""

import asyncio
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from deploy.commands import running
from shared import log
from shared.stepfi.settings import Settings
from streams import runner
from tests import recordings
from tests.simulation.clones import Clone

HISTORY = "random-1.jsonl.gz"
TRANSACTIONS = 500


def clones(count: int) -> list[Clone]:
    """So many deployments with the same traffic, the beginning of a recording."""
    lines = list(islice(recordings.lines(HISTORY), 1 + TRANSACTIONS))
    return [Clone(lines, number) for number in range(count)]


def argv(config: Path, count: int) -> Sequence[str]:
    """The command line; the tests are not installed, so it says where they are."""
    root = Path(__file__).parents[2]
    return ["env", f"PYTHONPATH={root}", sys.executable, "-m", __name__, str(config), str(count)]


def main() -> int:
    config, count = sys.argv[1:]
    settings = Settings.load(Path(config))
    log.configure(settings.log.format)
    applications = [clone.application for clone in clones(int(count))]

    async def work(stop: asyncio.Event) -> int:
        await runner.run(settings, applications, stop=stop, only="worker")
        return 0

    return running.run(work, stops=True)


if __name__ == "__main__":
    sys.exit(main())
