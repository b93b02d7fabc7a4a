"""Settings of the engine: environment `CHAINTRUE_…` with `__` between levels, or a TOML file, the environment first.

An application adds its own section (see `shared/stepfi/settings.py`). A wrong value ends in a `SettingError` that names the
setting as it is written in the environment, and never shows what it held: it may be a secret.
"""

import os
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from shared import errors

PREFIX = "CHAINTRUE_"
TESTS_PREFIX = "CHAINTRUE_TEST_"


class Policy(StrEnum):
    """What may be done about a class of drift: `repair` by --repair, `propose` only by a reviewed plan, `report` never."""

    REPAIR = "repair"
    PROPOSE = "propose"
    REPORT = "report"


class LogFormat(StrEnum):
    CONSOLE = "console"
    JSON = "json"


class Section(BaseModel):
    """One level of the settings; a name that nobody knows is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Network(Section):
    passphrase: str | None = None


class Rpc(Section):
    urls: Annotated[tuple[str, ...], NoDecode] = Field(default=(), repr=False)  # an address may hold an access key
    timeout_seconds: float = Field(default=15.0, gt=0, le=120)
    max_attempts: int = Field(default=6, ge=1, le=50)
    requests_per_second: float = Field(default=20.0, gt=0)
    poll_seconds: float = Field(default=1.0, gt=0)
    page_limit: int = Field(default=1000, ge=1, le=10_000)

    @field_validator("urls", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("urls")
    @classmethod
    def _http(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for number, url in enumerate(value, start=1):
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"address {number} of {len(value)} does not begin with http:// or https://")
        return value


class Kafka(Section):
    bootstrap_servers: str | None = None
    topic: str = Field(default="chaintrue.facts", pattern=r"^[A-Za-z0-9._-]{1,200}$")
    group: str = Field(default="chaintrue", pattern=r"^[A-Za-z0-9._-]{1,200}$")
    timeout_seconds: float = Field(default=15.0, gt=0)
    session_timeout_seconds: float = Field(default=6.0, ge=6)


class Database(Section):
    """A PostgreSQL database, as `postgresql://user:password@host:port/name`."""

    url: SecretStr | None = None
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


class Stream(Section):
    start_ledger: int | None = Field(default=None, ge=1)


class Sweep(Section):
    settle_seconds: float = Field(default=120.0, ge=0)
    policy: dict[str, Policy] = {}
    table_policy: dict[str, Policy] = {}
    max_repairs: int = Field(default=10_000, ge=0)
    max_drift_ratio: Decimal = Field(default=Decimal(1), ge=0, le=1)

    @field_validator("policy", "table_policy", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return {str(key).lower(): word for key, word in value.items()} if isinstance(value, dict) else value


class Metrics(Section):
    port: int | None = Field(default=None, ge=0, le=65535)
    textfile: Path | None = None
    pushgateway_url: str | None = Field(default=None, repr=False)  # may hold a password


class Log(Section):
    format: LogFormat = LogFormat.CONSOLE


class EngineSettings(BaseSettings):
    """Everything that does not depend on the application."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )
    config_file: ClassVar[Path | None] = None

    network: Network = Network()
    rpc: Rpc = Rpc()
    kafka: Kafka = Kafka()
    database: Database = Database()
    app_database: Database = Database()
    stream: Stream = Stream()
    sweep: Sweep = Sweep()
    metrics: Metrics = Metrics()
    log: Log = Log()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library passes it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library passes it by name
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources = (init_settings, env_settings)
        return (*sources, TomlConfigSettingsSource(settings_cls, cls.config_file)) if cls.config_file else sources

    @classmethod
    def load(cls, config_file: Path | None = None) -> Self:
        """Read the environment and the TOML file at `config_file`; raises SettingError."""
        if config_file is not None and not config_file.is_file():
            raise errors.SettingError(f"--config: there is no file {config_file}", cure="name an existing TOML file")
        _refuse_unknown(cls)
        configured: type[Self] = type(cls.__name__, (cls,), {"config_file": config_file, "__module__": cls.__module__})
        try:
            return configured()
        except ValidationError as error:
            raise errors.SettingError(_explain(error)) from None
        except ValueError as error:  # the TOML file, or a nested environment value that is not what its level needs
            raise errors.SettingError(f"the settings cannot be read: {error}") from None

    def require(self, *names: str) -> None:
        """Raise SettingError for the first of these (dotted, as `app_database.url`) that has no value."""
        for name in names:
            value: Any = self
            for part in name.split("."):
                value = getattr(value, part)
            if value in (None, (), ""):
                variable = environment_name(*name.split("."))
                raise errors.SettingError(
                    f"{variable} is not set", cure=f"set {variable}, or {name} in the file that --config names"
                )


def environment_name(*path: str) -> str:
    """The environment variable of a setting: `("rpc", "urls")` is `CHAINTRUE_RPC__URLS`."""
    return PREFIX + "__".join(path).upper()


def _refuse_unknown(settings: type[EngineSettings]) -> None:
    """The library looks up the sections that it knows; a section misspelt in the environment would be passed over in silence."""
    for name in sorted(os.environ):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper.startswith(TESTS_PREFIX):
            continue
        section, _, setting = upper.removeprefix(PREFIX).partition("__")
        if section.lower() not in settings.model_fields or not setting:
            known = ", ".join(f"{environment_name(section)}__…" for section in settings.model_fields)
            raise errors.SettingError(
                f"{name}: is not a setting that chaintrue knows", cure=f"unset it, or correct its name: {known}"
            )


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        name = environment_name(*(str(part) for part in problem["loc"]))
        words = problem["msg"].removeprefix("Value error, ")
        words = "is not a setting that chaintrue knows" if problem["type"] == "extra_forbidden" else words
        lines.append(f"{name}: {words}")
    return "\n".join(lines)
