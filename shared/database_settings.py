"""The settings of a PostgreSQL database: an address, whose options are libpq's. What is wrong with it is refused at load."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from shared import errors, pg_address, pg_tls, tls
from shared.section import SECRET, Section

_OPTIONS = {
    "ca_file": "sslrootcert",
    "certificate_file": "sslcert",
    "key_file": "sslkey",
    "key_password": "sslpassword",
    "crl_file": "sslcrl",
}
"""The parts that `tls.Unusable` names, as the options of the address."""


class Database(Section):
    """A PostgreSQL database, as `postgresql://user:password@host:port/name?sslmode=verify-full&sslrootcert=/a/file`."""

    url: Annotated[SecretStr | None, SECRET] = None
    connect_timeout_seconds: float = Field(default=10.0, gt=0)

    @field_validator("url")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        """Refuse an address that cannot be read in one way, and files that the driver would refuse only when it connects."""
        if value is None:
            return None
        wanted = pg_address.parse(value.get_secret_value()).options.tls
        if wanted.is_required:
            try:
                pg_tls.context(wanted)
            except tls.Unusable as error:
                raise ValueError(f"{_OPTIONS[error.part]}: {error.words}") from None
        return value

    @property
    def address(self) -> pg_address.Address:
        """The parts of the address; raises SettingError where there is none. The text itself is given to no other parser."""
        if self.url is None:
            raise errors.SettingError("a database address is used before it was required")
        return pg_address.parse(self.url.get_secret_value())

    @property
    def connect_seconds(self) -> float:
        """How long a connection may take: `connect_timeout` of the address, else the setting."""
        return self.address.options.connect_seconds or self.connect_timeout_seconds
