"""TLS that an address asks for is had or refused, in every command, whatever the password; and nothing of it is shown.

The PostgreSQL of these tests has no TLS.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from stellar_sdk import StrKey

from deploy import stack
from deploy.demo import processes
from shared import database, errors, pg_connection
from shared.settings import Database
from shared.stepfi.settings import REQUIRED_CONTRACTS
from tests import tls_front
from tests.acceptance.conftest import FINISH_SECONDS, Ended
from tests.certificates import Authority

PASSWORD = "p#ssw0rdLong/er5ecret?XYZ"
PIECES = ("ssw0rdLong", "er5ecret", "p#ssw0", "et?XYZ")
COMMANDS = ("status", "migrate", "report --list", "sweep", "sweep --repair", "doctor")


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[stack.Postgres]:
    """A PostgreSQL that logs who is let in, with a role `one` whose password is full of what addresses split at."""
    async with stack.postgres(fsync=False) as running:
        url = await running.create_database("app")
        connection = await asyncpg.connect(url)
        await connection.execute(f"CREATE ROLE one LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        await connection.execute("ALTER SYSTEM SET log_connections = 'on'")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()
        yield running


def place(server: stack.Postgres) -> str:
    return urlsplit(server.url("app")).netloc.rpartition("@")[2]


async def run(command: str, url: str) -> Ended:
    """The command with that address for both databases, and servers of nothing else."""
    contracts = {name: StrKey.encode_contract(bytes([at] * 32)) for at, name in enumerate(REQUIRED_CONTRACTS)}
    values = {
        "NETWORK__PASSPHRASE": "Test SDF Network ; September 2015",
        "RPC__URLS": "http://127.0.0.1:1",
        "KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "KAFKA__TIMEOUT_SECONDS": "1",
        "RPC__MAX_ATTEMPTS": "1",
        "DATABASE__URL": url,
        "APP_DATABASE__URL": url,
        **{f"STEPFI__{name.upper()}": contract for name, contract in contracts.items()},
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CHAINTRUE_")}
    process = await asyncio.create_subprocess_exec(
        *(processes.command(), *command.split()),
        env=inherited | {f"CHAINTRUE_{name}": value for name, value in values.items()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(FINISH_SECONDS):
        stdout, stderr = await process.communicate()
    return Ended(process.returncode or 0, stdout.decode(), stderr.decode())


@pytest.mark.parametrize(
    ("password", "options", "words"),
    [
        ("p#ssw0rdLong", "?sslmode=verify-full&sslrootcert={ca}", "write it as %23"),
        ("p?ssw0rdLong", "?sslmode=require", "write it as %3F"),
        (quote(PASSWORD, safe=""), "?sslmode=verify-full&sslrootcert={ca}", "rejected SSL upgrade"),
    ],
    ids=["raw #", "raw ?", "encoded"],
)
async def test_no_command_goes_in_the_clear(
    server: stack.Postgres, tmp_path, password: str, options: str, words: str
) -> None:
    ca = Authority(tmp_path, "authority").certificate
    url = f"postgresql://one:{password}@{place(server)}/app{options.format(ca=ca)}"
    for command in COMMANDS:
        ended = await run(command, url)
        said = " ".join((ended.stdout + ended.stderr).split())  # doctor wraps its lines
        assert ended.code not in {0, 2}, (command, said)
        assert words in said, (command, said)
        assert "bug in chaintrue" not in said, (command, said)
        assert not [piece for piece in PIECES if piece in said], (command, said)
    log = server.log.read_text()
    assert "user=one" not in log
    assert not [piece for piece in PIECES if piece in log]


def settings(url: str) -> Database:
    return Database(url=SecretStr(url), connect_timeout_seconds=5)


@pytest.mark.parametrize(
    "options", ["", "?sslmode=disable", "?application_name=mine&keepalives_idle=33&connect_timeout=4"]
)
async def test_an_encoded_password_is_taken_on_each_way(server: stack.Postgres, options: str) -> None:
    wanted = settings(f"postgresql://one:{quote(PASSWORD, safe='')}@127.0.0.1:1,{place(server)}/app{options}")
    async with database.connect(wanted, section="database") as engine, engine.connect() as connection:
        assert (await connection.execute(text("SELECT current_user"))).scalar_one() == "one"
    engine = database.single(wanted)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT current_user"))).scalar_one() == "one"
    await engine.dispose()
    async with database.plain(wanted) as driver:
        mine = "mine" if "application_name" in options else "chaintrue"
        assert await driver.fetchval("SELECT current_setting('application_name')") == mine
        if "keepalives" in options:
            beneath = driver._transport.get_extra_info("socket")
            assert beneath.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert beneath.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 33


async def test_no_host_of_the_kind_that_is_asked_for(server: stack.Postgres) -> None:
    url = f"postgresql://one:{quote(PASSWORD, safe='')}@{place(server)}/app?target_session_attrs=standby"
    with pytest.raises(errors.DatabaseUnreachable, match="target_session_attrs=standby") as caught:
        async with database.connect(settings(url), section="database"):
            pass
    assert "correct target_session_attrs" in (caught.value.cure or "")


async def test_a_connection_that_lacks_its_tls_is_ended(server: stack.Postgres, tmp_path) -> None:
    """Whatever the driver made of its arguments: the transport itself is looked at."""
    ca = Authority(tmp_path, "authority").certificate
    url = f"postgresql://one:{quote(PASSWORD, safe='')}@{place(server)}/app"
    address = settings(f"{url}?sslmode=verify-full&sslrootcert={ca}").address
    unasked = {"host": "127.0.0.1", "port": address.hosts[0][1], "user": "one", "password": PASSWORD, "database": "app"}
    with pytest.raises(pg_connection.NotEncrypted, match="sslmode=verify-full"):
        await pg_connection.open_connection(address, ssl=False, **unasked)


async def test_a_connection_with_tls_passes(server: stack.Postgres, tmp_path) -> None:
    authority = Authority(tmp_path, "authority")
    url = f"postgresql://one:{quote(PASSWORD, safe='')}@{place(server)}/app"
    async with tls_front.postgres(url, authority.issue("server")) as front:
        wanted = settings(f"{front}?sslmode=verify-full&sslrootcert={authority.certificate}")
        async with database.connect(wanted, section="database") as engine, engine.connect() as connection:
            assert (await connection.execute(text("SELECT current_user"))).scalar_one() == "one"
        async with database.plain(settings(f"{front}?sslmode=require")) as driver:
            assert driver._transport.get_extra_info("ssl_object") is not None
        wrong = settings(f"{front.replace('er5ecret', 'er5ecreT')}?sslmode=require")
        with pytest.raises(errors.DatabaseUnreachable) as caught:
            async with database.connect(wanted.model_copy(update={"url": wrong.url}), section="database"):
                pass
        assert not [piece for piece in PIECES if piece in str(caught.value)]
