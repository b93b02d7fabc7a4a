"""Whatever one check of `chaintrue doctor` raises, it is a failed check with its words, and the others are made."""

import pytest

from deploy.commands import doctor as command
from deploy.doctor import app_side, chain_side, own_side, rounds
from deploy.doctor.checks import Check, Examination
from shared import errors
from shared.stepfi.settings import Settings

SECRET = "p#ssw0rdLong"
RAISED = [
    ValueError("bad query field"),
    OverflowError("port must be 0-65535"),
    KeyError("getpwuid(): uid not found: 45678"),
    ExceptionGroup("two", [OSError("no route"), ValueError("x")]),
    errors.SettingError("CHAINTRUE_RPC__URLS: an address is not of the form", cure="correct it"),
    RuntimeError(),
]


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("raised", RAISED, ids=repr)
def test_whatever_a_check_raises_is_its_own_failure(raised: Exception) -> None:
    found = Examination()
    with found.looking("one"):
        fail(raised)
    found.well("other", "is made")
    one, other = found.checks
    assert (one.check, one.ok, other.ok) == ("one", False, True)
    assert one.words
    assert one.cure


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Settings that are whole, of servers that are not there."""
    for name, value in {
        "NETWORK__PASSPHRASE": "Test SDF Network ; September 2015",
        "RPC__URLS": "http://127.0.0.1:1",
        "KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "KAFKA__TIMEOUT_SECONDS": "0.2",
        "DATABASE__URL": "postgresql://one:pw@127.0.0.1:1/own",
        "APP_DATABASE__URL": "postgresql://one:pw@127.0.0.1:1/app",
        "METRICS__TEXTFILE": "/no/such/place/x.prom",
    }.items():
        monkeypatch.setenv(f"CHAINTRUE_{name}", value)
    return monkeypatch


def failed(checks: list[Check]) -> dict[str, str]:
    return {one.check: one.words for one in checks if not one.ok}


@pytest.mark.parametrize("raised", RAISED, ids=repr)
async def test_each_part_may_raise_and_the_others_are_looked_at(environment, raised: Exception) -> None:
    async def fails(*_given: object, **_named: object) -> bool:
        raise raised

    for part in (own_side, app_side, chain_side):
        environment.setattr(part, "examine", fails)
    found = await rounds.examine(Settings.load(), found=Examination())
    assert {own_side.CHECK, app_side.CHECK, "kafka", "rpc", "files"} <= set(failed(found.checks))


@pytest.mark.parametrize(
    ("name", "value", "others"),
    [
        ("APP_DATABASE__URL", f"postgresql://one:{SECRET}@127.0.0.1:1/app", {"own database", "kafka", "rpc node 1"}),
        ("DATABASE__URL", f"postgresql://one:{SECRET}@127.0.0.1:1/own", {"app database", "kafka", "rpc node 1"}),
        ("RPC__URLS", f"https://u:{SECRET}@rpc.example", {"own database", "app database", "kafka"}),
        ("KAFKA__BOOTSTRAP_SERVERS", f"u:{SECRET}@x", {"own database", "app database", "rpc node 1"}),
        ("KAFKA__CA_FILE", "/no/such/file", {"own database", "app database", "rpc node 1"}),
    ],
)
async def test_a_refused_address_keeps_only_its_own_checks_from_being_made(environment, name, value, others) -> None:
    environment.setenv(f"CHAINTRUE_{name}", value)
    found = await command.run(None)
    told = failed(found.checks)
    assert others | {"files"} <= set(told)
    settings = [one.words for one in found.checks if one.check == "settings" and not one.ok]
    assert any(words.startswith(f"CHAINTRUE_{name}: ") for words in settings)
    assert not any(f"CHAINTRUE_{name} is not set" in words for words in settings)
    assert "ssw0rdLong" not in str(found.checks)
