"""The rule that the engine names no application is written down by module: no module may be left out of it."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("shared", "streams", "sweeper")


def test_every_module_of_the_engine_is_under_the_rule() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (rule,) = [one for one in contracts if one["name"] == "The engine names no application"]
    found = {
        f"{room}.{path.stem}"
        for room in ROOMS
        for path in (ROOT / room).iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    applications = {f"{room}.stepfi" for room in ROOMS}
    assert set(rule["source_modules"]) == found - applications - {f"{room}.__init__" for room in ROOMS}
    assert set(rule["forbidden_modules"]) == applications
