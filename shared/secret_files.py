"""Secrets in files of their own: `CHAINTRUE_DATABASE__URL_FILE=/run/secrets/db`, as container platforms hand them over.

Each secret setting may be given so, in the environment (`…_FILE`) and in the TOML file (`…_file`) alike. The file holds the
value alone; one newline at its end is not part of it.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, TomlConfigSettingsSource

from shared import errors
from shared.section import FILE, environment_name, secret_settings

MAX_BYTES = 64 * 1024


class Environment(EnvSettingsSource):
    """The environment, its secret files read; their (section, setting) are added to `read_from`."""

    def __init__(
        self, settings: type[BaseSettings], *, read_from: set[tuple[str, str]], left_out: Collection[str] = ()
    ) -> None:
        super().__init__(settings)
        self._read_from = read_from
        self._left_out = left_out

    def __call__(self) -> dict[str, Any]:
        given = _without(super().__call__(), self._left_out)
        return resolve(given, self.settings_cls, precedent=self.current_state, read_from=self._read_from)


class TomlFile(TomlConfigSettingsSource):
    """The TOML file, its secret files read; their (section, setting) are added to `read_from`."""

    def __init__(
        self,
        settings: type[BaseSettings],
        file: Path,
        *,
        read_from: set[tuple[str, str]],
        left_out: Collection[str] = (),
    ) -> None:
        super().__init__(settings, file)
        self._read_from = read_from
        self._left_out = left_out

    def __call__(self) -> dict[str, Any]:
        given = _without(super().__call__(), self._left_out)
        return resolve(given, self.settings_cls, precedent=self.current_state, read_from=self._read_from)


def _without(found: dict[str, Any], left_out: Collection[str]) -> dict[str, Any]:
    return {section: value for section, value in found.items() if section not in left_out}


def resolve(
    found: dict[str, Any],
    settings: type[BaseSettings],
    *,
    precedent: dict[str, Any],
    read_from: set[tuple[str, str]],
) -> dict[str, Any]:
    """What one source gave, with each `…_file` of a secret replaced by the secret.

    A secret that `precedent`, the sources before, has given already is not read: it would not be used. Raises SettingError.
    """
    resolved = dict(found)
    for section, name in secret_settings(settings):
        given = resolved.get(section)
        if not isinstance(given, dict) or given.get(name + FILE) is None:
            continue
        rest = {key: value for key, value in given.items() if key != name + FILE}
        variable = environment_name(section, name + FILE)
        if rest.get(name) is not None:
            other = environment_name(section, name)
            raise errors.SettingError(f"{variable}: is set, and so is {other}", cure="unset one of the two")
        before = precedent.get(section)
        if not (isinstance(before, dict) and before.get(name) is not None):
            rest[name] = read(variable, given[name + FILE])
            read_from.add((section, name))
        resolved[section] = rest
    return resolved


def read(variable: str, place: Any) -> str:
    """The secret in the file at `place`; raises SettingError, which names the `variable` and no content."""
    cure = f"let {variable} name a file that holds the secret, and that chaintrue may read"
    if not isinstance(place, str):
        raise errors.SettingError(f"{variable}: is not the path of a file", cure=cure)
    try:
        with Path(place).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode()
    except FileNotFoundError:
        raise errors.SettingError(f"{variable}: there is no file {place}", cure=cure) from None
    except OSError as error:
        words = error.strerror or type(error).__name__
        raise errors.SettingError(f"{variable}: {place} cannot be read ({words})", cure=cure) from None
    except ValueError:  # not UTF-8; or a path with a null character
        raise errors.SettingError(f"{variable}: {place!r} is not a file of text", cure=cure) from None
    if len(content) > MAX_BYTES:
        raise errors.SettingError(f"{variable}: {place} is too large for a secret", cure=cure)
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret.strip():
        raise errors.SettingError(f"{variable}: {place} is empty", cure=cure)
    return secret
