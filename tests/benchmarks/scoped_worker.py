"""One worker of a deployment with many scopes: as `chaintrue stream --only worker` runs, which knows the one of its settings.

python -m tests.benchmarks.scoped_worker SCOPES
"""

import asyncio
import signal
import sys

from shared.log import configure
from shared.stepfi.settings import Settings
from streams import runner
from streams.stepfi.application import StepfiStream
from tests.benchmarks.traffic.chain import Traffic


def traffics(scopes: int) -> list[Traffic]:
    """The traffic of each scope; the place in the list is the partition."""
    return [Traffic(scope=f"stepfi-{number}") for number in range(scopes)]


async def work(scopes: int) -> None:
    """Apply until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    applications = [StepfiStream(traffic.settings, scope=traffic.scope) for traffic in traffics(scopes)]
    settings = Settings.load()
    configure(settings.log.format)
    await runner.run(settings, applications, stop=stop, only="worker")


if __name__ == "__main__":
    asyncio.run(work(int(sys.argv[1])))
