"""Frames of any size, written in any company: the log holds them in their order, or a first part of them."""

import asyncio
import hashlib
from dataclasses import replace

import pytest

from shared import errors, frames, kafka, position
from shared.settings import Kafka
from streams import resume
from tests.integration import stream_parts as parts
from tests.integration.conftest import settings
from tests.integration.stream_parts import NETWORK, PARTITION

__all__ = ["settings"]
FIRST = 100
SIZES = (10, 200_000, 300_000, kafka.BATCH_BYTES - 500, kafka.BATCH_BYTES, 4_000_000, 1, 7_900_000, 50_000, 50_000)


def piece(number: int, size: int) -> frames.Page:
    """A page of one ledger, whose event has so many bytes."""
    ledger = FIRST + number
    noise = hashlib.shake_256(str(number).encode()).hexdigest(size // 2)  # compresses badly, as real values do
    return parts.a_page(position.end_of(ledger - 1), position.end_of(ledger), parts.an_event(ledger, 0, value=noise))


async def read(settings: Kafka) -> list[frames.Frame]:
    return [one for one in await parts.read_log(settings, network=NETWORK) if not isinstance(one, frames.Origin)]


async def test_frames_of_all_sizes_stand_in_their_order(settings: Kafka) -> None:
    batch = [piece(number, size) for number, size in enumerate(SIZES)]
    async with kafka.writer(settings) as writer:
        await writer.write(PARTITION, [parts.an_origin(FIRST)])
        offsets = await writer.write(PARTITION, batch)
    assert offsets == list(range(1, len(batch) + 1))
    assert await read(settings) == batch


@pytest.mark.parametrize("place", [0, 4, 9])
async def test_a_frame_that_is_too_large_leaves_the_first_ones(settings: Kafka, place: int) -> None:
    batch = [piece(number, 100_000) for number in range(10)]
    batch[place] = piece(place, kafka.MAX_MESSAGE_BYTES + 1)
    async with kafka.writer(settings) as writer:
        await writer.write(PARTITION, [parts.an_origin(FIRST)])
        with pytest.raises(errors.FrameInvalid):
            await writer.write(PARTITION, batch)
        kept = await read(settings)
        assert kept == batch[: len(kept)]
        assert len(kept) <= place
        links = [resume.without_events(one) for one in batch[: len(kept)]]
        assert resume.standing_of([parts.an_origin(FIRST), *links]).through == position.end_of(FIRST - 1 + len(kept))
        after = piece(len(kept), 10)
        await writer.write(PARTITION, [after])  # the writer itself is as good as before
    assert (await read(settings))[-1] == after


async def test_who_is_stopped_while_it_writes_leaves_the_first_ones(settings: Kafka) -> None:
    """A page and a fill are written side by side; either is stopped somewhere."""
    pages = [piece(number, 150_000) for number in range(40)]
    fills = [replace(piece(number + 1_000, 150_000), kind="fill") for number in range(40)]
    async with kafka.writer(settings) as writer:
        await writer.write(PARTITION, [parts.an_origin(FIRST)])
        tasks = [asyncio.create_task(writer.write(PARTITION, batch)) for batch in (pages, fills)]
        await asyncio.sleep(0.05)
        tasks[0].cancel()
        await asyncio.wait(tasks)
        assert tasks[0].cancelled()
    found = await read(settings)
    assert [one for one in found if one in fills] == fills
    kept = [one for one in found if one in pages]
    assert len(kept) < len(pages)
    assert kept == pages[: len(kept)]
