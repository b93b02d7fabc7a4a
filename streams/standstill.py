"""Are the records that are due delivered? Faust can drop records in a rebalance and go on behind them: where no record follows,
nothing would tell that the tables stand still.
"""

import asyncio
from collections.abc import Callable, Mapping

import faust
import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import errors, same_log, transient
from streams import faust_app

log = structlog.get_logger()

LOOK_SECONDS = 2.0
STILL_LOOKS = 6
"""So often in a row a partition may have records in the log and none in work; a fetch takes less. Looks are counted and not
seconds: a process that was frozen has had no time to fetch."""
ANSWER_SECONDS = 5.0


class Standstill:
    """How often in a row each partition was seen to wait for the same offset."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], int] = {}

    def look(self, behind: Mapping[int, int]) -> tuple[int, int] | None:
        """A partition and its offset that stand still, or None. `behind` are the offsets due of those whose log has more."""
        self._seen = {place: self._seen.get(place, 0) + 1 for place in behind.items()}
        return next((place for place, looks in self._seen.items() if looks >= STILL_LOOKS), None)


async def watch(app: faust.App, engine: AsyncEngine, *, idle: Callable[[], bool]) -> None:
    """Look until cancelled; raises OffsetGap for a partition of ours that stands still while nothing is in work."""
    standstill = Standstill()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        behind = await _behind(app, engine) if idle() else {}
        still = standstill.look(behind if idle() else {})
        if still is not None:
            partition, due = still
            raise errors.OffsetGap(
                f"partition {partition}: offset {due} is due and in the log, and was not delivered "
                f"for {STILL_LOOKS * LOOK_SECONDS:g} s",
                cure="look at Kafka, then start chaintrue again: it goes on where it stopped",
                due=still,
            )


async def _behind(app: faust.App, engine: AsyncEngine) -> dict[int, int]:
    """The offsets due of our partitions of which the log has more; none where Kafka or PostgreSQL do not tell now."""
    try:
        ends = await faust_app.ask(app, _ends, seconds=ANSWER_SECONDS)
        due = {partition: await same_log.next_offset(engine, partition=partition) for partition in ends}
    except (KafkaError, DBAPIError, OSError, TimeoutError) as error:
        if not isinstance(error, KafkaError) and not transient.is_transient(error):
            raise
        log.debug("it could not be seen whether the tables stand still", error=transient.words(error))
        return {}
    if app.rebalancing:
        return {}
    return {partition: offset for partition, offset in due.items() if offset < ends[partition]}


async def _ends(consumer: AIOKafkaConsumer) -> dict[int, int]:
    """The ends (exclusive) of the logs of our partitions. Runs in the consumer's loop."""
    mine = consumer.assignment()
    ends = await consumer.end_offsets(mine) if mine else {}
    return {place.partition: end for place, end in ends.items()}
