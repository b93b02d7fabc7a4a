"""Reading the topics and values of all recorded events: our strict reader against stellar-sdk's.

Both begin at base64 text and end at Python values. They take turns every few thousand texts, so that what else the machine
does meets both; and each run of ours begins with empty caches, so that none lives off the one before it.
"""

import time
from collections.abc import Callable
from importlib import metadata
from statistics import median

import stellar_sdk
from stellar_sdk import scval as sdk_scval

from shared import scval
from shared.scval import leaves, values
from tests import recordings
from tests.benchmarks import Row, show

RUNS = 5
TURN = 2_000
"""Texts that one of them decodes before the other does."""


def run() -> list[Row]:
    texts = [text for name in recordings.HISTORIES for text in recordings.event_values(name)]
    ours, theirs = [], []
    for _ in range(RUNS):
        forget()
        turns = [texts[start : start + TURN] for start in range(0, len(texts), TURN)]
        pairs = [(seconds(scval.read_base64, turn), seconds(sdk, turn)) for turn in turns]
        ours.append(sum(our for our, _ in pairs) / len(texts) * 1e6)
        theirs.append(sum(their for _, their in pairs) / len(texts) * 1e6)
    return [
        Row(
            name=f"decode {len(texts):,} topics and values",
            unit="µs each",
            ours=median(ours),
            peer=f"stellar-sdk {metadata.version('stellar-sdk')} from_xdr, to_native",
            theirs=median(theirs),
            ratio=median(their / our for their, our in zip(theirs, ours, strict=True)),
        )
    ]


def sdk(text: str) -> object:
    return sdk_scval.to_native(stellar_sdk.xdr.SCVal.from_xdr(text))


def forget() -> None:
    """Empties the reader's caches."""
    for cache in (leaves.symbol_of, leaves.address_of, values.address_bytes):
        cache.cache_clear()


def seconds(decode: Callable[[str], object], texts: list[str]) -> float:
    start = time.perf_counter()
    for text in texts:
        decode(text)
    return time.perf_counter() - start


if __name__ == "__main__":
    show(run())
