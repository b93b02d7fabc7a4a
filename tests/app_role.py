"""The role of `deploy/roles/stepfi.sql`, made in a database of a test as its owner would, and let in by password."""

import re
import secrets
from importlib import resources
from urllib.parse import quote, urlsplit

import asyncpg


async def create(app_url: str, *, name: str, by: str | None = None, adds_rows: bool = True) -> str:
    """The address of `app_url` for the role, called `name`: roles belong to a whole server, not to a database.

    `by` is the address with which the script is run, that of `app_url` otherwise.
    """
    script = resources.files("deploy.roles").joinpath("stepfi.sql").read_text(encoding="utf-8")
    script, named = re.subn(r"(the_role +CONSTANT name := )'chaintrue'", rf"\g<1>'{name}'", script)
    assert named == 1
    if not adds_rows:
        script, switched = re.subn(r"(adds_rows +CONSTANT boolean := )true", r"\g<1>false", script)
        assert switched == 1
    await run(by or app_url, script)
    password = secrets.token_urlsafe(12)
    await run(app_url, f"ALTER ROLE {name} LOGIN PASSWORD '{password}'")
    return address(app_url, name, password)


def address(app_url: str, name: str, password: str) -> str:
    parts = urlsplit(app_url)
    return parts._replace(netloc=f"{quote(name)}:{quote(password)}@{parts.netloc.rpartition('@')[2]}").geturl()


async def run(url: str, statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


async def drop(app_url: str, name: str) -> None:
    """The role, and all that it was given in this database."""
    await run(app_url, f"DROP OWNED BY {name}; DROP ROLE {name}")
