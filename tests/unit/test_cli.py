"""The command's surface: what it offers, how quickly it answers, and how a wrong call ends."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from deploy import cli
from deploy.demo import processes

COMMANDS = {
    *("apply", "backfill", "demo", "doctor", "migrate", "replay", "report", "schedule", "stream", "sweep", "status"),
    "undo",
}


def test_it_offers_what_it_can_do() -> None:
    assert set(cli.cli.commands) == COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_takes_json_and_all_but_the_demo_a_file(name: str) -> None:
    options = {option for parameter in cli.cli.commands[name].params for option in parameter.opts}
    assert "--json" in options
    assert ("--config" in options) == (name != "demo")
    shown = CliRunner().invoke(cli.cli, [name, "--help"])
    assert shown.exit_code == 0


@pytest.mark.parametrize(
    "call",
    [
        ["nonsense"],
        ["sweep", "--nonsense"],
        ["sweep", "--table"],
        ["sweep", "--plan"],
        ["apply"],
        ["undo"],
        ["sweep", "--changed", "--table", "loans"],
        ["report", "--format", "pdf"],
        ["stream", "--only", "half"],
        ["status", "--timeout"],
        ["backfill"],
        ["backfill", "--from", "5"],
        ["backfill", "--withdraw-gap", "--from", "5", "--to", "9"],
    ],
)
def test_a_wrong_call_ends_with_one_for_two_means_drift(
    call: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["chaintrue", *call])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert "Error: " in said.err
    assert "python" not in said.err
    assert said.out == ""


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from deploy import cli\n"
        "try: cli.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print({'sqlalchemy', 'faust', 'aiokafka', 'stellar_sdk', 'rich'} & set(sys.modules), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own code
    assert ended.stderr.strip() == "set()"
    assert "sweep" in ended.stdout


def test_the_installed_command_says_its_version() -> None:
    ended = subprocess.run([processes.command(), "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - our own command
    assert ended.stdout.startswith("chaintrue ")
