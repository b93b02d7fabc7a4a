"""The table as a page: what was measured, on which machine, with what."""

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from deploy.stack import kafka_server
from tests.benchmarks import Row, number, times

PACKAGES = ("faust-streaming", "stellar-sdk", "asyncpg", "aiokafka", "sqlalchemy", "reladiff")

_HEAD = """# Benchmarks

Written by `make bench ARGS="--markdown context/benchmarks.md"`. Every figure has its peer or bound in the same run, in turns,
and is the median of the turns. All parties share the machine with Kafka and PostgreSQL (with fsync).

"""


def page(rows: Iterable[Row]) -> str:
    """The whole file."""
    lines = [
        "| Measure | Unit | Ours | Peer or bound | Theirs | Times better |",
        "|---|---|---:|---|---:|---:|",
        *(
            f"| {row.name} | {row.unit} | {number(row.ours)} | {row.peer} | {number(row.theirs)} | {times(row.ratio)} |"
            for row in rows
        ),
    ]
    return f"{_HEAD}{_machine()}\n\n" + "\n".join(lines) + "\n"


def _machine() -> str:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, Kafka {kafka_server.VERSION}, PostgreSQL 18, {versions}."
    )


def _processor() -> str:
    """Its name, where Linux tells it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
