"""PostgreSQL that asks for TLS: the options of the address are the driver's, and each refusal names the one to correct."""

from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from migrations import runner as migrations
from shared import database as databases
from shared import errors
from shared.settings import Database
from tests import tls_front
from tests.certificates import Authority


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path, "one")


def settings(url: str, **options: object) -> Database:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return Database(url=SecretStr(f"{url}?{query}" if query else url), connect_timeout_seconds=5)


async def answers(wanted: Database) -> None:
    """Through the pool, and through an engine of one connection, as the lock of the indexer uses it."""
    async with databases.connect(wanted, section="database") as engine, engine.connect() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    engine = databases.single(wanted)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    await engine.dispose()


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_each_mode_works(database: str, authority: Authority, mode: str) -> None:
    async with tls_front.postgres(database, authority.issue("server")) as url:
        await answers(settings(url, sslmode=mode, sslrootcert=authority.certificate))


async def test_without_options_the_way_is_encrypted_and_not_verified(database: str, authority: Authority) -> None:
    """As with libpq: `prefer` is the default."""
    async with tls_front.postgres(database, authority.issue("server")) as url:
        await answers(settings(url))
        await answers(settings(url, sslmode="require"))


async def test_migrations_go_over_tls(database: str, authority: Authority) -> None:
    async with tls_front.postgres(database, authority.issue("server")) as url:
        wanted = settings(url, sslmode="verify-full", sslrootcert=authority.certificate)
        async with databases.connect(wanted, section="database") as engine:
            await migrations.upgrade(engine)
            await migrations.check(engine)


async def refusal(wanted: Database, *, section: str = "database") -> errors.DatabaseUnreachable:
    with pytest.raises(errors.DatabaseUnreachable) as caught:
        async with databases.connect(wanted, section=section):
            pass
    return caught.value


@pytest.mark.parametrize("section", ["database", "app_database"])
async def test_an_authority_that_is_not_trusted(database: str, authority: Authority, tmp_path, section: str) -> None:
    foreign = Authority(tmp_path, "foreign").certificate
    async with tls_front.postgres(database, authority.issue("server")) as url:
        error = await refusal(settings(url, sslmode="verify-full", sslrootcert=foreign), section=section)
    assert str(error).startswith(f"CHAINTRUE_{section.upper()}__URL: ")
    assert "its certificate is not trusted: unable to get local issuer certificate" in str(error)
    assert error.cure is not None
    assert f"sslrootcert in CHAINTRUE_{section.upper()}__URL" in error.cure


async def test_a_certificate_of_another_host_counts_with_verify_full_alone(database: str, authority: Authority) -> None:
    async with tls_front.postgres(database, authority.issue("server", names=("db.example",))) as url:
        await answers(settings(url, sslmode="verify-ca", sslrootcert=authority.certificate))
        error = await refusal(settings(url, sslmode="verify-full", sslrootcert=authority.certificate))
    assert "IP address mismatch" in str(error)
    assert "the host" in (error.cure or "")


async def test_a_certificate_that_has_expired(database: str, authority: Authority) -> None:
    async with tls_front.postgres(database, authority.issue("server", age=timedelta(days=30))) as url:
        error = await refusal(settings(url, sslmode="verify-ca", sslrootcert=authority.certificate))
    assert "expired" in str(error)
    assert "renew" in (error.cure or "")


async def test_a_server_that_wants_tls_and_gets_none(database: str, authority: Authority) -> None:
    async with tls_front.postgres(database, authority.issue("server")) as url:
        error = await refusal(settings(url, sslmode="disable"))
    assert "add ?sslmode=verify-full" in (error.cure or "")


async def test_a_server_that_has_no_tls(database: str) -> None:
    error = await refusal(settings(database, sslmode="require"))
    assert "take sslmode out of CHAINTRUE_DATABASE__URL" in (error.cure or "")
