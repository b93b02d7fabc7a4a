"""The command on servers that ask for TLS and users; and that no secret is ever seen: not in what it says, not while it runs.

Every secret is full of what addresses, JSON and shells escape. The tests of this file run in their order.
"""

import asyncio
import contextlib
import dataclasses
import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg
import pytest

from deploy import localnet, stack
from deploy.demo.app import drift
from tests import services, tls_front
from tests.acceptance.conftest import FINISH_SECONDS, Ended, World, deployment
from tests.certificates import Authority
from tests.secured import PASSWORD, USER, SecuredKafka

RPC_KEY = "0123456789abcdef-rpc-key"
DATABASE_PASSWORD = "p@ss/w:rd%40\"'\\x y"
WRONG = "wr0ng@/:%40\"'\\pass word"
SECRETS = (RPC_KEY, DATABASE_PASSWORD, PASSWORD, WRONG)
DEBUG = {"CHAINTRUE_DEBUG": "1"}
JSON = {"CHAINTRUE_LOG__FORMAT": "json"}
HASTY_WORKER = "from shared import kafka; kafka.LOOK_SECONDS = 0.3; from deploy.cli import main; main()"


_TABLES_OF_REPORTS = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'recon'"


def forms(secret: str) -> set[str]:
    """How a secret may look in an address, in JSON and in Python."""
    plain = {secret, quote(secret), quote(secret, safe="")}
    return plain | {json.dumps(each)[1:-1] for each in plain} | {repr(each)[1:-1] for each in plain}


def shows_no_secret(text: str) -> bool:
    return not any(form in text for secret in SECRETS for form in forms(secret))


def safe(ended: Ended) -> Ended:
    """The command's end, after a look at all that it said."""
    assert shows_no_secret(ended.stdout), ended.stdout
    assert shows_no_secret(ended.stderr), ended.stderr
    return ended


def with_user(url: str, user: str, password: str) -> str:
    """The address with another user in it."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    return urlsplit(url)._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()


@pytest.fixture(scope="module")
async def secured(
    secured_kafka: SecuredKafka, postgres: stack.Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A deployment with TLS on all ways, its secrets in files."""
    directory = tmp_path_factory.mktemp("secrets")
    authority = Authority(directory, "authority")
    role = f"owner_{uuid.uuid4().hex}"
    plain = services.RunningKafka(secured_kafka.server.bootstrap_servers)
    async with contextlib.AsyncExitStack() as exits:
        world = await exits.enter_async_context(deployment(plain, postgres, localnet.STORY))
        connection = await asyncpg.connect(world.app_url)
        literal = await connection.fetchval("SELECT quote_literal($1)", DATABASE_PASSWORD)
        await connection.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD {literal}")
        secrets = {"CHAINTRUE_KAFKA__SASL_PASSWORD": PASSWORD}
        for variable in ("CHAINTRUE_DATABASE__URL", "CHAINTRUE_APP_DATABASE__URL"):
            before = with_user(world.environment[variable], role, DATABASE_PASSWORD)
            front = await exits.enter_async_context(tls_front.postgres(before, authority.issue(variable)))
            secrets[variable] = f"{front}?sslmode=verify-full&sslrootcert={authority.certificate}"
        front = await exits.enter_async_context(tls_front.https(world.net.url, authority.issue("rpc")))
        secrets["CHAINTRUE_RPC__URLS"] = f"{front}/?apikey={RPC_KEY}"
        for name, value in secrets.items():
            (directory / name).write_text(value + "\n")
            world.environment.pop(name, None)
            world.environment[f"{name}_FILE"] = str(directory / name)
        options = secured_kafka.options("SASL_SSL") | {"timeout_seconds": 5}
        del options["sasl_password"]
        world.environment |= {f"CHAINTRUE_KAFKA__{name.upper()}": str(value) for name, value in options.items()}
        # The authorities of the system are those that this file names: what is trusted without CHAINTRUE_RPC__CA_FILE.
        world.environment["SSL_CERT_FILE"] = str(authority.certificate)
        yield world
        await connection.execute(f"DROP OWNED BY {role}")
        await connection.execute(f"ALTER ROLE {role} NOLOGIN")
        await connection.close()


async def test_the_command_works_on_servers_with_tls_and_users(secured: World) -> None:
    done = safe(await secured.run("migrate", "--json", **DEBUG, **JSON))
    assert done.code == 0, done.stderr
    process = await secured.start("stream", **DEBUG, **JSON)
    try:
        last = str(secured.truth.ledger)
        ended = safe(await secured.run("status", "--json", "--wait-ledger", last, "--timeout", "60", **DEBUG))
        assert ended.code == 0, ended.stderr
        assert await _command_line(process.pid) == b""
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(FINISH_SECONDS):
            stdout, stderr = await process.communicate()
    assert safe(Ended(process.returncode or 0, stdout.decode(), stderr.decode())).code == 0, stderr.decode()
    assert b"Traceback" not in stderr
    assert all(json.loads(line) for line in stderr.decode().splitlines())


async def _command_line(pid: int) -> bytes:
    """What of our secrets others may read of the process while it runs; nothing where there is no /proc."""
    place = Path(f"/proc/{pid}")
    shown = b"".join((place / name).read_bytes() for name in ("cmdline", "comm") if (place / name).exists())
    return b"" if shows_no_secret(shown.decode()) else shown


async def test_reports_show_no_secret(secured: World) -> None:
    connection = await asyncpg.connect(secured.app_url)
    await drift.inject(connection, secured.truth, {"stale_status", "missing_row"} & set(drift.CORE))
    await connection.close()
    for arguments in (("sweep", "--json"), ("sweep",), ("sweep", "--repair", "--json")):
        ended = safe(await secured.run(*arguments, **DEBUG))
        assert ended.code in (0, 2), ended.stderr
    connection = await asyncpg.connect(secured.app_url.replace("/app_", "/own_"))  # as `deployment` names them
    for (table,) in await connection.fetch(_TABLES_OF_REPORTS):
        rows = await connection.fetch(f"SELECT t::text FROM {table} AS t")
        assert shows_no_secret("\n".join(row[0] for row in rows)), table
    await connection.close()


async def test_a_private_authority_of_rpc_is_named(secured: World, tmp_path: Path) -> None:
    """The one of the settings is trusted in place of those of the system; an untrusted node is told with the setting."""
    foreign = str(Authority(tmp_path, "foreign").certificate)
    authority = secured.environment["SSL_CERT_FILE"]
    trusted = safe(await secured.run("sweep", "--json", CHAINTRUE_RPC__CA_FILE=authority, SSL_CERT_FILE=foreign))
    assert trusted.code in (0, 2), trusted.stderr
    ended = safe(await secured.run("sweep", "--json", CHAINTRUE_RPC__CA_FILE=foreign))
    assert ended.code == 3
    assert "CHAINTRUE_RPC__CA_FILE" in ended.stdout
    refused = safe(await secured.run("stream", SSL_CERT_FILE=foreign))
    assert refused.code == 1
    assert "CHAINTRUE_RPC__CA_FILE" in refused.stderr


def _wrong(world: World) -> list[tuple[str, str, dict[str, str | None]]]:
    """Command, setting that is to be named, and the change that makes it wrong."""
    own, app, node = (
        Path(world.environment[f"CHAINTRUE_{name}_FILE"]).read_text().strip()
        for name in ("DATABASE__URL", "APP_DATABASE__URL", "RPC__URLS")
    )
    user = urlsplit(own).username or ""

    def kafka(**changes: str | None) -> dict[str, str | None]:
        return {f"CHAINTRUE_KAFKA__{name}": value for name, value in changes.items()}

    def instead(variable: str, value: str) -> dict[str, str | None]:
        return {f"{variable}_FILE": None, variable: value}

    password = kafka(SASL_PASSWORD=WRONG, SASL_PASSWORD_FILE=None)
    foreign = kafka(CA_FILE=world.environment["SSL_CERT_FILE"])
    without_tls = kafka(SECURITY_PROTOCOL="SASL_PLAINTEXT", CA_FILE=None)
    gateway = f"http://me:{quote(WRONG, safe='')}@127.0.0.1:1"
    cases: list[tuple[str, str, dict[str, str | None]]] = [
        ("migrate", "KAFKA__SASL_PASSWORD", password),
        ("stream", "KAFKA__SASL_PASSWORD", password),
        ("stream --only worker", "KAFKA__SASL_PASSWORD", password),
        ("migrate", "KAFKA__CA_FILE", foreign),
        ("migrate", "KAFKA__SECURITY_PROTOCOL", without_tls),
        ("sweep", "METRICS__PUSHGATEWAY_URL", {"CHAINTRUE_METRICS__PUSHGATEWAY_URL": gateway}),
        ("status", "DATABASE__URL_FILE", {"CHAINTRUE_DATABASE__URL_FILE": "/nowhere/at/all"}),
        ("status", "DATABASE__URL_FILE", {"CHAINTRUE_DATABASE__URL": own}),
    ]
    values = [
        ("migrate", "DATABASE__URL", with_user(own, user, WRONG)),
        ("status", "DATABASE__URL", own.replace("verify-full", quote(WRONG))),
        ("sweep", "APP_DATABASE__URL", with_user(app, user, WRONG)),
        ("sweep", "APP_DATABASE__URL", f"postgresql://{user}:{WRONG}@127.0.0.1:1/x"),
        ("stream", "RPC__URLS", node.replace("/?", f"/{RPC_KEY}/?")),
        ("stream", "RPC__URLS", f"http://{RPC_KEY}@127.0.0.1:1/{RPC_KEY}"),
        ("stream", "RPC__URLS", f"ftp://127.0.0.1/{RPC_KEY}"),
    ]
    return cases + [(command, name, instead(f"CHAINTRUE_{name}", value)) for command, name, value in values]


@pytest.mark.parametrize("shown", [{}, DEBUG | JSON], ids=["plain", "debug"])
async def test_what_is_wrong_is_named_and_no_secret_shown(secured: World, shown: dict[str, str]) -> None:
    cases = _wrong(secured)
    few = asyncio.Semaphore(3)

    async def run(command: str, changes: dict[str, str | None]) -> Ended:
        async with few:
            return await secured.run(*command.split(), CHAINTRUE_RPC__MAX_ATTEMPTS="2", **changes, **shown)

    for case, ended in zip(cases, await asyncio.gather(*(run(case[0], case[2]) for case in cases)), strict=True):
        safe(ended)
        assert ended.code == 1, (case, ended.stderr)
        assert f"CHAINTRUE_{case[1]}" in ended.stderr, (case, ended.stderr)
        assert f"CHAINTRUE_{case[1]}: ***" not in ended.stderr, ended.stderr  # what it says is no secret
        assert "unexpected" not in ended.stderr, ended.stderr
        assert ("Traceback" in ended.stderr) == ("CHAINTRUE_DEBUG" in shown), (case, ended.stderr)


async def test_a_worker_that_is_let_in_no_more_ends(secured: World, secured_kafka: SecuredKafka) -> None:
    """Faust would try for ever, and its thread would keep the process."""
    server, security = secured_kafka.server, secured_kafka.server.security
    assert security is not None
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HASTY_WORKER, "stream", "--only", "worker"),
        env=await _environment(secured, CHAINTRUE_KAFKA__SASL_MECHANISM="PLAIN"),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await _until_said(process, "the worker is running")
        await server.stop()
        server.security = dataclasses.replace(security, users={USER: "exchanged"})
        await server.start()
        async with asyncio.timeout(40):
            _, stderr = await process.communicate()
        assert process.returncode == 1, stderr.decode()
        assert "CHAINTRUE_KAFKA__SASL_PASSWORD" in stderr.decode()
        assert "Traceback" not in stderr.decode()
        assert shows_no_secret(stderr.decode())
    finally:
        await server.stop()
        server.security = security
        await server.start()


async def test_a_worker_whose_broker_is_gone_ends_on_sigterm(secured: World, secured_kafka: SecuredKafka) -> None:
    process = await secured.start("stream", "--only", "worker")
    try:
        await _until_said(process, "the worker is running")
        await secured_kafka.server.kill()
        await asyncio.sleep(1)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(11):
            _, stderr = await process.communicate()
        assert process.returncode == 0, stderr.decode()
    finally:
        await secured_kafka.server.start()


async def _environment(world: World, **changes: str) -> dict[str, str]:
    import os

    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CHAINTRUE_")}
    return inherited | world.environment | changes


async def _until_said(process: asyncio.subprocess.Process, words: str) -> None:
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while line := await process.stderr.readline():
            if words in line.decode():
                return
    pytest.fail(f"it ended without saying: {words}")
