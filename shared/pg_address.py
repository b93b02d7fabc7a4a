"""The one reading of a PostgreSQL address: `postgresql://user:password@host:port/name?option=value`, into parts for the driver.

No other parser sees the text: SQLAlchemy's and asyncpg's split an unencoded password at different characters, and then one of
them connects without the TLS that the other has read (asyncpg #485). What could be read in two ways is refused.
"""

import os
from dataclasses import dataclass, field

from shared import address_text, pg_options
from shared.pg_options import Options

SCHEMES = ("postgresql://", "postgres://")
PORT = 5432
_FORM = "postgresql://user:password@host:port/name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a database is and who asks. A host that begins with / is the directory of a Unix socket."""

    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str | None = field(repr=False)
    database: str
    options: Options

    @property
    def place(self) -> str:
        """The place for people, without the user."""
        listed = ", ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{listed}, database {self.database}"

    @property
    def secrets(self) -> set[str]:
        """What nobody may see."""
        return {each for each in (self.password, self.options.tls.key_password) if each}

    @property
    def over_sockets(self) -> bool:
        """Whether every host is a Unix socket of this machine."""
        return all(host.startswith("/") for host, _ in self.hosts)


def parse(text: str) -> Address:
    """Return the parts of the address; raises ValueError, whose message has a hint and shows nothing of the password."""
    scheme = next((scheme for scheme in SCHEMES if text.startswith(scheme)), None)
    if scheme is None:
        raise ValueError(f"does not begin with postgresql://: write {_FORM}")
    user_info, listed, tail = address_text.split(text.removeprefix(scheme))
    path, _, query = tail.partition("?")
    user, password = address_text.user_and_password(user_info)
    hosts = _hosts(listed) if listed else []
    given = pg_options.split(query)
    hosts, user, password, database = _merged(given, hosts, user, password, _database(path))
    if not user:
        raise ValueError(f"names no user: write {_FORM}")
    if not database:
        raise ValueError(f"names no database: write {_FORM}")
    sockets = {host.startswith("/") for host, _ in hosts}
    if len(sockets) > 1:
        raise ValueError("has a Unix socket and another host: keep hosts of one kind")
    options = pg_options.read(given, os.environ, over_sockets=True in sockets)
    return Address(hosts=tuple(hosts), user=user, password=password or None, database=database, options=options)


def _database(path: str) -> str:
    name = path.removeprefix("/")
    if "/" in name:
        raise ValueError("has a / in its database name: write it as %2F")
    return address_text.decoded(name, "database name")


def _hosts(listed: str) -> list[tuple[str, int]]:
    return [_host(each) for each in listed.split(",")]


def _host(text: str) -> tuple[str, int]:
    if text[:3].lower() == "%2f":
        directory, colon, port = text.partition(":")
        return address_text.decoded(directory, "host"), address_text.port(port) if colon else PORT
    host, given = address_text.host_and_port(text)
    return host, PORT if given is None else given


def _merged(
    given: dict[str, str], hosts: list[tuple[str, int]], user: str, password: str | None, database: str
) -> tuple[list[tuple[str, int]], str, str | None, str]:
    """Return the parts with those that stand among the options; raises ValueError for one that stands in both places."""
    before = {"host": hosts, "user": user, "password": password, "dbname": database}
    for name, value in before.items():
        if value and name in given:
            raise ValueError(f"has its {name} twice: remove it from the options behind the ?")
    if hosts and "port" in given:
        raise ValueError("has its port twice: remove it from the options behind the ?")
    if not hosts:
        hosts = _named_hosts(given.get("host", ""), given.get("port", ""))
    return hosts, user or given.get("user", ""), password or given.get("password"), database or given.get("dbname", "")


def _named_hosts(listed: str, ports: str) -> list[tuple[str, int]]:
    """Return the hosts of `host=a,b&port=1,2`; one port counts for all."""
    if not listed:
        raise ValueError(f"names no host: write {_FORM}, or ?host=/run/postgresql for a Unix socket")
    hosts = [_named_host(each) for each in listed.split(",")]
    numbers = [address_text.port(each) for each in ports.split(",")] if ports else [PORT]
    if len(numbers) not in {1, len(hosts)}:
        raise ValueError("has another number of ports than of hosts: write one port, or one for each host")
    return list(zip(hosts, numbers * len(hosts) if len(numbers) == 1 else numbers, strict=True))


def _named_host(text: str) -> str:
    if text.startswith("/"):
        return text
    if ":" in text:
        return address_text.host_and_port(f"[{text}]")[0]
    return address_text.host(text)
