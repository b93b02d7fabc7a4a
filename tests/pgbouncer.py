"""A real pgbouncer before a PostgreSQL of the tests, in any mode; skipped where no pgbouncer is installed."""

import os
import pwd
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from deploy.stack.ports import HOST, free_ports
from deploy.stack.server import Server

PROBE_SECONDS = 5.0


class PgBouncer(Server):
    """`url(address)` is an address of the PostgreSQL behind it, led through the pooler."""

    name = "pgbouncer"

    def __init__(
        self,
        binary: str,
        *,
        target: str,
        mode: str,
        pool_size: int,
        users: Mapping[str, str],
        options: Mapping[str, object],
    ) -> None:
        super().__init__(directory=None, ready_seconds=30)
        self._binary = binary
        self._target = urlsplit(target)
        self._mode = mode
        self._pool_size = pool_size
        self._options = options
        admin = {unquote(self._target.username or ""): unquote(self._target.password or "")}
        self._users = admin | dict(users)
        if os.geteuid() == 0:  # pgbouncer refuses root, as PostgreSQL does
            nobody = pwd.getpwnam("nobody")
            self._supervisor.user, self._supervisor.group = nobody.pw_uid, nobody.pw_gid

    def url(self, address: str) -> str:
        parts = urlsplit(address)
        return parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{HOST}:{self.ports[0]}").geturl()

    async def prepare(self) -> None:
        self._write("users.txt", "".join(f'"{name}" "{password}"\n' for name, password in self._users.items()))

    def choose_ports(self) -> tuple[int, ...]:
        return tuple(free_ports(1))

    def command(self) -> list[str]:
        settings = {
            "listen_addr": HOST,
            "listen_port": self.ports[0],
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": self.directory / "users.txt",
            "pool_mode": self._mode,
            "default_pool_size": self._pool_size,
            "max_client_conn": 200,
            "server_reset_query_always": 0,
            "log_connections": 0,
            "log_disconnections": 0,
            **self._options,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        databases = f"[databases]\n* = host={self._target.hostname} port={self._target.port}\n"
        file = self._write("pgbouncer.ini", databases + "[pgbouncer]\n" + "\n".join(lines) + "\n")
        return [self._binary, str(file)]

    async def probe(self) -> bool:
        try:
            connection = await asyncpg.connect(
                self.url(self._target.geturl()), timeout=PROBE_SECONDS, statement_cache_size=0
            )
        except (OSError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True

    def _write(self, name: str, content: str) -> Path:
        file = self.directory / name
        file.touch(mode=0o600)
        file.write_text(content, encoding="utf-8")
        if self._supervisor.user is not None and self._supervisor.group is not None:
            os.chown(file, self._supervisor.user, self._supervisor.group)
        return file


@asynccontextmanager
async def pgbouncer(
    target: str,
    *,
    mode: str = "transaction",
    pool_size: int = 5,
    users: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
) -> AsyncIterator[PgBouncer]:
    """Before the PostgreSQL at `target`, whose user it knows; `users`: further ones and their passwords."""
    binary = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        pytest.skip("no pgbouncer on the PATH: apt-get install pgbouncer, or brew install pgbouncer")
    async with PgBouncer(
        binary, target=target, mode=mode, pool_size=pool_size, users=users or {}, options=options or {}
    ) as server:
        yield server
