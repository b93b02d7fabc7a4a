"""What every level of the settings is made of: its base class, its names in the environment, and the mark of a secret."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

PREFIX = "CHAINTRUE_"
FILE = "_file"
"""Behind the name of a secret setting: the file that holds it."""


class Section(BaseModel):
    """One level of the settings; a name that nobody knows is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


class Secret:
    """In the annotation of a field: it is never shown, and may stand in a file of its own (`…_FILE`)."""


SECRET = Secret()


def environment_name(*path: str) -> str:
    """The environment variable of a setting: `("rpc", "urls")` is `CHAINTRUE_RPC__URLS`."""
    return PREFIX + "__".join(path).upper()


def is_secret(field: FieldInfo) -> bool:
    return SECRET in field.metadata


def secret_settings(settings: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """The (section, setting) of all secrets, in order."""
    for section, field in settings.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from ((section, name) for name, each in kind.model_fields.items() if is_secret(each))
