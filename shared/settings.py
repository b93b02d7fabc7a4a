"""Settings of the engine: environment `CHAINTRUE_…` with `__` between levels, or a TOML file, the environment first.

A secret may stand in a file of its own (`…_FILE`, see `shared/secret_files.py`).

An application adds its own section (see `shared/stepfi/settings.py`). A wrong value ends in a `SettingError` that names the
setting as it is written in the environment, and never shows what it held: it may be a secret.
"""

import os
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from shared import errors, http_address, masking, secret_files, tls
from shared.database_settings import Database
from shared.kafka_settings import Kafka, SaslMechanism, SecurityProtocol
from shared.section import FILE, PREFIX, SECRET, Section, environment_name, secret_settings

__all__ = [
    "PREFIX",
    "Database",
    "EngineSettings",
    "Kafka",
    "Log",
    "LogFormat",
    "Metrics",
    "Network",
    "Policy",
    "RowSecurity",
    "Rpc",
    "SaslMechanism",
    "Schedule",
    "Section",
    "SecurityProtocol",
    "Stream",
    "Sweep",
    "Webhook",
    "environment_name",
]

TESTS_PREFIX = "CHAINTRUE_TEST_"


class Policy(StrEnum):
    """What may be done about a class of drift: `repair` by --repair, `propose` only by a reviewed plan, `report` never."""

    REPAIR = "repair"
    PROPOSE = "propose"
    REPORT = "report"


class RowSecurity(StrEnum):
    """How the role reads the application's tables: past their row-level security, or by `policies` of its own."""

    BYPASS = "bypass"
    POLICIES = "policies"


class LogFormat(StrEnum):
    CONSOLE = "console"
    JSON = "json"


class Network(Section):
    passphrase: str | None = None


class Rpc(Section):
    urls: Annotated[tuple[str, ...], NoDecode, SECRET] = Field(default=(), repr=False)  # may hold access keys
    ca_file: Path | None = None
    timeout_seconds: float = Field(default=15.0, gt=0, le=120)
    max_attempts: int = Field(default=6, ge=1, le=50)
    requests_per_second: float = Field(default=20.0, gt=0)
    poll_seconds: float = Field(default=0.5, gt=0)
    page_limit: int = Field(default=1000, ge=1, le=10_000)

    @field_validator("urls", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        parts = value.replace("\n", ",").split(",")  # a file of addresses may have one in each line
        return tuple(part.strip() for part in parts if part.strip())

    @field_validator("urls")
    @classmethod
    def _http(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for number, url in enumerate(value, start=1):
            try:
                http_address.check(url)
            except ValueError as error:
                comma = "" if url.startswith(http_address.SCHEMES) else ", and a comma within an address as %2C"
                raise ValueError(f"address {number} of {len(value)} {error}{comma}") from None
        return value

    @field_validator("ca_file")
    @classmethod
    def _authorities(cls, value: Path | None) -> Path | None:
        try:
            tls.client_context(ca_file=value)
        except tls.Unusable as error:
            raise ValueError(error.words) from None
        return value


class Stream(Section):
    start_ledger: int | None = Field(default=None, ge=1)


class Sweep(Section):
    settle_seconds: float = Field(default=120.0, ge=0)
    policy: dict[str, Policy] = Field(default_factory=dict)
    table_policy: dict[str, Policy] = Field(default_factory=dict)
    max_repairs: int = Field(default=10_000, ge=0)
    max_drift_ratio: Decimal = Field(default=Decimal(1), ge=0, le=1)
    max_findings: int = Field(default=50_000, ge=1)
    database_share: float = Field(default=0.5, gt=0, le=1)
    scan_directory: Path | None = None
    scan_max_age_seconds: float = Field(default=3600.0, ge=0)
    spot_checks: int = Field(default=200, ge=0)
    observe_seconds: float = Field(default=30.0, ge=0)
    max_lag_ledgers: int = Field(default=60, ge=0)
    max_lag_seconds: int = Field(default=300, ge=0)
    max_tip_age_seconds: int = Field(default=900, ge=0)
    flap_limit: int = Field(default=3, ge=1)
    flap_window_seconds: float = Field(default=604_800.0, gt=0)
    plan_max_age_seconds: float = Field(default=604_800.0, gt=0)
    insert_without_unique_key: Annotated[tuple[str, ...], NoDecode] = ()
    row_security: RowSecurity = RowSecurity.BYPASS

    @field_validator("policy", "table_policy", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return {str(key).lower(): word for key, word in value.items()} if isinstance(value, dict) else value

    @field_validator("insert_without_unique_key", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(part.strip().lower() for part in value.split(",") if part.strip())


class Schedule(Section):
    """Cron expressions, in UTC; `off` switches that kind of sweep off."""

    full: str = "0 3 * * *"
    changed: str = "*/10 * * * *"
    repair: bool = False


class Webhook(Section):
    url: Annotated[str | None, SECRET] = Field(default=None, repr=False)  # may hold a token
    secret: Annotated[SecretStr | None, SECRET] = None
    drift_threshold: int = Field(default=1, ge=1)
    timeout_seconds: float = Field(default=10.0, gt=0, le=120)

    @field_validator("url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        """Refuse an address that two readers could read differently; the words never quote it."""
        if value is not None:
            http_address.check(value)
        return value


class Metrics(Section):
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int | None = Field(default=None, ge=0, le=65535)
    textfile: Path | None = None
    pushgateway_url: Annotated[str | None, SECRET] = Field(default=None, repr=False)  # may hold a password

    @field_validator("pushgateway_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        """Refuse an address that two readers could read differently; http:// may be left out, as with other clients of it."""
        if value is not None:
            http_address.check(value if "://" in value else f"http://{value}")
        return value


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
    read_from_files: ClassVar[set[tuple[str, str]]] = set()
    left_out: ClassVar[frozenset[str]] = frozenset()

    network: Network = Network()
    rpc: Rpc = Rpc()
    kafka: Kafka = Kafka()
    database: Database = Database()
    app_database: Database = Database()
    stream: Stream = Stream()
    sweep: Sweep = Sweep()
    schedule: Schedule = Schedule()
    webhook: Webhook = Webhook()
    metrics: Metrics = Metrics()
    log: Log = Log()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - ours reads files of secrets, too
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library passes it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library passes it by name
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        noted = cls.read_from_files
        left_out = cls.left_out
        sources = (init_settings, secret_files.Environment(settings_cls, read_from=noted, left_out=left_out))
        if cls.config_file is None:
            return sources
        return (*sources, secret_files.TomlFile(settings_cls, cls.config_file, read_from=noted, left_out=left_out))

    @classmethod
    def load(cls, config_file: Path | None = None, *, left_out: frozenset[str] = frozenset()) -> Self:
        """Read the environment and the TOML file at `config_file`, but for the sections `left_out`; raises SettingError."""
        if config_file is not None and not config_file.is_file():
            raise errors.SettingError(f"--config: there is no file {config_file}", cure="name an existing TOML file")
        _refuse_unknown(cls)
        own: dict[str, Any] = {"config_file": config_file, "read_from_files": set(), "left_out": left_out}
        own["__module__"] = cls.__module__
        configured: type[Self] = type(cls.__name__, (cls,), own)
        try:
            return configured()
        except ValidationError as error:
            wrong = errors.SettingError(_explain(error, configured.read_from_files))
            wrong.sections = frozenset(str(each["loc"][0]) for each in error.errors(include_input=False) if each["loc"])
            raise wrong from None
        except ValueError as error:  # the TOML file, or a nested environment value that is not what its level needs
            raise errors.SettingError(f"the settings cannot be read: {error}") from None

    def secrets(self) -> set[str]:
        """All that is secret in these settings, for `masking.conceal`."""
        found: set[str] = {os.environ.get("PGPASSWORD", "")} - {""}  # the driver's, where an address has no password
        for section, name in secret_settings(type(self)):
            value = getattr(getattr(self, section), name)
            for each in value if isinstance(value, tuple) else (value,):
                if each is not None:
                    found |= masking.parts(each.get_secret_value() if isinstance(each, SecretStr) else each)
        return found

    def require(self, *names: str) -> None:
        """Raise SettingError for the first of these (dotted, as `app_database.url`) that has no value."""
        for name in names:
            value: Any = self
            for part in name.split("."):
                value = getattr(value, part)
            if value in (None, (), ""):
                path = tuple(name.split("."))
                variable = environment_name(*path)
                or_file = f" (or {variable}{FILE.upper()})" if path in set(secret_settings(type(self))) else ""
                raise errors.SettingError(
                    f"{variable} is not set", cure=f"set {variable}{or_file}, or {name} in the file that --config names"
                )


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


def _explain(error: ValidationError, read_from_files: set[tuple[str, str]]) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        path = tuple(str(part) for part in problem["loc"])
        name = environment_name(*path) + (FILE.upper() if path[:2] in read_from_files else "")
        words = problem["msg"].removeprefix("Value error, ")
        words = "is not a setting that chaintrue knows" if problem["type"] == "extra_forbidden" else words
        lines.append(f"{name}: {words}")
    return "\n".join(lines)
