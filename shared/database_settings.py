"""The settings of a PostgreSQL database: an address, whose options are libpq's. What is wrong with it is told when it is read."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from shared import errors, tls
from shared.section import SECRET, Section

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_VERIFYING = (
    "verify-full",
    "verify-ca",
    "require",
)  # with `require` the driver looks at the authority, if one is named
_OPTIONS = {
    "ca_file": "sslrootcert",
    "certificate_file": "sslcert",
    "key_file": "sslkey",
    "key_password": "sslpassword",
}
"""The parameters of `tls.client_context` under their names in the address."""


class Database(Section):
    """A PostgreSQL database, as `postgresql://user:password@host:port/name?sslmode=verify-full&sslrootcert=/a/file`."""

    url: Annotated[SecretStr | None, SECRET] = None
    connect_timeout_seconds: float = Field(default=10.0, gt=0)

    @field_validator("url")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            url = make_url(value.get_secret_value())
        except (ArgumentError, ValueError):  # its own message quotes the address
            raise ValueError("is not an address of the form postgresql://user:password@host:port/name") from None
        if url.drivername not in {"postgresql", "postgres"}:
            raise ValueError("does not begin with postgresql://")
        if "@" in (url.host or ""):
            raise ValueError("has an @ in its user or password: write it as %40")
        if not url.database:
            raise ValueError("names no database: postgresql://user:password@host:port/name")
        _check_tls(url)
        return value

    @property
    def address(self) -> URL:
        """The address for SQLAlchemy's asyncpg dialect, without its options (`?sslmode=…`): those are asyncpg's, see `dsn`."""
        return make_url(self.dsn).set(drivername="postgresql+asyncpg", query={})

    @property
    def dsn(self) -> str:
        """The address as it was given, options included. A secret."""
        if self.url is None:
            raise errors.SettingError("a database address is used before it was required")
        return self.url.get_secret_value()


def _check_tls(url: URL) -> None:
    """Raise ValueError for options that the driver would refuse without saying which, or not before it connects."""
    for name in ("sslmode", "sslnegotiation", *_OPTIONS.values()):
        if len(url.normalized_query.get(name, ())) > 1:
            raise ValueError(f"has the option {name} more than once")
    given = {name: values[0] for name, values in url.normalized_query.items()}
    mode = given.get("sslmode")
    if mode is not None and mode not in SSL_MODES:
        raise ValueError(f"has an sslmode that is none of {', '.join(SSL_MODES)}")
    files = {
        part: Path(given[option]) for part, option in _OPTIONS.items() if part != "key_password" and given.get(option)
    }
    if "ca_file" in files and mode not in _VERIFYING:
        raise ValueError(f"has sslrootcert, which counts only with sslmode={' or '.join(_VERIFYING)}")
    try:
        tls.client_context(**{"ca_file": None, **files}, key_password=given.get("sslpassword"))
    except tls.Unusable as error:
        raise ValueError(f"{_OPTIONS[error.part]}: {error.words}") from None
