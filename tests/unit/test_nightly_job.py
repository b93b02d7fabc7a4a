"""The examples of a nightly job call the command as it is, with settings that it knows."""

import configparser
import shlex
from pathlib import Path
from typing import Any

import pytest
from stellar_sdk import StrKey

from deploy import application, cli
from deploy.commands import sweep

yaml: Any = pytest.importorskip("yaml")

DEPLOY = Path(cli.__file__).parent
SERVICES = sorted((DEPLOY / "systemd").glob("*.service"))


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The subcommand and its parameters; fails where the command would refuse them."""
    program, name, *rest = words
    assert Path(program).name == "chaintrue"
    return name, cli.cli.commands[name].make_context(name, rest).params


@pytest.fixture
def manifest() -> dict[str, Any]:
    (found,) = yaml.safe_load_all((DEPLOY / "kubernetes" / "sweep-cronjob.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def pod(manifest: dict[str, Any]) -> Any:
    return manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def test_the_cron_job_sweeps_and_repairs_one_at_a_time(manifest: dict[str, Any]) -> None:
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "CronJob")
    assert manifest["spec"]["concurrencyPolicy"] == "Forbid"
    assert manifest["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert pod(manifest)["restartPolicy"] == "Never"
    (container,) = pod(manifest)["containers"]
    name, parameters = parsed(container["command"])
    assert (name, parameters["repair"], parameters["as_json"]) == ("sweep", True, True)


def test_its_settings_are_known_and_with_the_contracts_enough(
    manifest: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (container,) = pod(manifest)["containers"]
    (secrets,) = [one for one in container["volumeMounts"] if one["name"] == "secrets"]
    held = {"rpc-urls": "https://rpc.example", "database-url": "postgresql://a@b/own"}
    held["app-database-url"] = "postgresql://a@b/app"
    for name, value in held.items():
        (tmp_path / name).write_text(value)
    for one in container["env"]:
        monkeypatch.setenv(one["name"], one["value"].replace(secrets["mountPath"], str(tmp_path)))
    for number, name in enumerate(application.CONTRACT_SETTINGS):
        contract = StrKey.encode_contract(bytes([number] * 32))
        monkeypatch.setenv(f"CHAINTRUE_{name.replace('.', '__').upper()}", contract)
    settings = application.load(None, *sweep.REQUIRED)
    address = settings.app_database.address
    assert (address.user, address.hosts, address.database) == ("a", (("b", 5432),), "app")


def test_no_secret_stands_in_it(manifest: dict[str, Any]) -> None:
    (container,) = pod(manifest)["containers"]
    assert not [one["name"] for one in container["env"] if "://" in one["value"]]


@pytest.mark.parametrize("file", SERVICES, ids=lambda file: file.stem)
def test_the_units_call_what_there_is(file: Path) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(file, encoding="utf-8")
    name, parameters = parsed(shlex.split(unit["Service"]["ExecStart"]))
    assert name == file.stem.removeprefix("chaintrue-")
    assert parameters["config"] == Path("/etc/chaintrue/chaintrue.toml")


def test_there_is_a_timer_for_the_sweep_and_a_service_for_the_schedule() -> None:
    assert [file.stem for file in SERVICES] == ["chaintrue-schedule", "chaintrue-sweep"]
    timer = configparser.ConfigParser(interpolation=None)
    timer.read(DEPLOY / "systemd" / "chaintrue-sweep.timer", encoding="utf-8")
    assert timer["Timer"]["OnCalendar"].endswith("UTC")
    assert timer["Timer"].getboolean("Persistent")
