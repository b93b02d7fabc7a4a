"""A process that compares the two tables `peer` (or views of the tables) with reladiff, by their integer key; prints what it took
and what it found.

Arguments: both addresses, the settings, one by one, and the seconds after which it is cut.
"""

import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import reladiff

COLUMNS = ("user_wallet", "vendor", "amount", "guarantee", "status", "remaining_balance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How it is run: connections to each side, threads of its own, and into how many segments it divides those of more than
    `threshold` rows; smaller ones that differ it reads. `table`: what it is given."""

    threads: int = 1
    pool: int = 1
    factor: int = 32
    threshold: int = 16_384
    table: str = "peer"


AS_IT_COMES = Settings()
ON_THE_SAME = Settings(table="peer_view")
TUNED_WITHOUT_DRIFT = Settings(threads=2, pool=4, factor=8)
TUNED_WITH_DRIFT = Settings(threads=2, pool=4, threshold=200_000)
"""The best of those that were tried on 100 thousand and 1 million rows: 1 to 4 connections, factors 8 to 256, thresholds from a
thousand to all rows."""


def main(chain_url: str, app_url: str, settings: Settings, *, deadline: float) -> dict[str, object]:
    """Seconds from the connected tables to the last row, and the keys that differ. Cut at the deadline, it ends the process."""
    chain, app = (_table(url, settings) for url in (chain_url, app_url))
    keys: set[int] = set()
    cut = threading.Timer(deadline, _cut, (keys, deadline))
    cut.daemon = True
    cut.start()
    start = time.perf_counter()
    difference = reladiff.diff_tables(
        chain,
        app,
        algorithm=reladiff.Algorithm.HASHDIFF,
        bisection_factor=settings.factor,
        bisection_threshold=settings.threshold,
        max_threadpool_size=settings.pool,
        skip_sort_results=True,
    )
    for _, row in difference:
        keys.add(int(row[0]))
    seconds = time.perf_counter() - start
    cut.cancel()
    return {"seconds": seconds, "keys": sorted(keys), "cut": False}


def _table(url: str, settings: Settings) -> reladiff.TableSegment:
    parts = urlsplit(url)
    place = {
        "driver": "postgresql",
        "host": parts.hostname,
        "port": parts.port,
        "user": parts.username,
        "password": parts.password,
        "dbname": parts.path[1:],
    }
    return reladiff.connect_to_table(
        place, settings.table, ("loan",), thread_count=settings.threads, extra_columns=COLUMNS
    )


def _cut(keys: set[int], deadline: float) -> None:
    """Tell how far it came, and end: its threads would not."""
    _tell({"seconds": deadline, "keys": sorted(keys.copy()), "cut": True})
    os._exit(0)


def _tell(told: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(told))
    sys.stdout.flush()


if __name__ == "__main__":
    first, second, threads, pool, factor, threshold, table, deadline = sys.argv[1:]
    numbers = {"threads": int(threads), "pool": int(pool), "factor": int(factor), "threshold": int(threshold)}
    settings = Settings(**numbers, table=table)
    _tell(main(first, second, settings, deadline=float(deadline)))
    os._exit(0)  # its pools do not end by themselves
