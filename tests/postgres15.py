"""A PostgreSQL 15, the oldest that an application may run: pinned binaries, fetched once and kept in the user's cache."""

import io
import platform
import sys
import tarfile
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from deploy import stack
from deploy.stack import jars
from deploy.stack.postgres_server import Postgres

LOCK = Path(__file__).parent / "postgres-15.lock"


class Postgres15(Postgres):
    """As the local stack's, of another version."""

    name = "PostgreSQL-15"
    locale: ClassVar[tuple[str, ...]] = ("--locale", "C.UTF-8")

    def find_binaries(self) -> Path:
        """Unpacked beside the data, where `nobody` reaches them too."""
        (jar,) = jars.ensure(
            jars.read_lock(LOCK.read_text(encoding="utf-8")), directory=jars.cache_directory() / "postgres-15"
        )
        place = self.directory / "binaries"
        if not place.exists():
            with zipfile.ZipFile(jar) as archive:
                packed = archive.read(next(name for name in archive.namelist() if name.endswith(".txz")))
            with tarfile.open(fileobj=io.BytesIO(packed), mode="r:xz") as files:
                files.extractall(place, filter="data")
        return place / "bin"


@asynccontextmanager
async def postgres15() -> AsyncIterator[stack.Databases]:
    """Databases of a PostgreSQL 15; skipped where its binaries do not run."""
    if sys.platform != "linux" or platform.machine() not in {"x86_64", "AMD64"}:
        pytest.skip("the pinned PostgreSQL 15 is for Linux on x86-64")
    async with Postgres15(directory=None, fsync=False, ready_seconds=60) as server:
        yield server.databases
