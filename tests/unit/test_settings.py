"""Settings: names, sources and precedence, and words that name the setting and never show what it held."""

from decimal import Decimal
from pathlib import Path

import pytest

from shared import errors
from shared.settings import LogFormat, Policy, environment_name
from shared.stepfi.settings import REQUIRED_CONTRACTS, Settings
from tests import recordings

CONTRACT = "CDFACCFOC7NVBRN5S476473YZXYC6MTECISBM6J2YIM74IOZ4K74TYJP"
OTHER = "CD6ZBJLU2REDN5VS6LJHY2TGZHTJHD7KSQEGSAOPYHW6UKHLM4BQZHIJ"
URL = "postgresql://someone:hunter2@db.example:5433/chaintrue"

# Environment name, text, dotted path, value: the fixed names of the contract with users, and our own.
NAMED = [
    ("NETWORK__PASSPHRASE", "Test SDF Network ; September 2015", "network.passphrase", "Test SDF Network ; September 2015"),
    ("RPC__URLS", "https://a.example/k , http://b:8000,", "rpc.urls", ("https://a.example/k", "http://b:8000")),
    ("RPC__PAGE_LIMIT", "77", "rpc.page_limit", 77),
    ("KAFKA__BOOTSTRAP_SERVERS", "one:9092,two:9092", "kafka.bootstrap_servers", "one:9092,two:9092"),
    ("KAFKA__TOPIC", "other.facts", "kafka.topic", "other.facts"),
    ("KAFKA__GROUP", "others", "kafka.group", "others"),
    ("STEPFI__AMOUNT_DECIMALS", "2", "stepfi.amount_decimals", 2),
    ("STEPFI__AMOUNT_TOLERANCE", "0.01", "stepfi.amount_tolerance", Decimal("0.01")),
    ("STEPFI__LINK_WINDOW_SECONDS", "60", "stepfi.link_window_seconds", 60),
    ("STEPFI__INSERT_GRACE_SECONDS", "0", "stepfi.insert_grace_seconds", 0),
    ("STEPFI__CLOCK_SKEW_SECONDS", "0", "stepfi.clock_skew_seconds", 0),
    ("STEPFI__LOW_TIER", "starter", "stepfi.low_tier", "starter"),
    ("STEPFI__CANCELLED_STATUS", "rejected", "stepfi.cancelled_status", "rejected"),
    *((f"STEPFI__{name.upper()}", CONTRACT, f"stepfi.{name}", CONTRACT) for name in (*REQUIRED_CONTRACTS, "vouching")),
    ("STREAM__START_LEDGER", "3400000", "stream.start_ledger", 3_400_000),
    ("SWEEP__SETTLE_SECONDS", "0", "sweep.settle_seconds", 0),
    ("SWEEP__MAX_REPAIRS", "5", "sweep.max_repairs", 5),
    ("SWEEP__MAX_DRIFT_RATIO", "0.25", "sweep.max_drift_ratio", Decimal("0.25")),
    ("SWEEP__POLICY__MISSING_ROW", "repair", "sweep.policy", {"missing_row": Policy.REPAIR}),
    ("SWEEP__TABLE_POLICY__LOANS", "report", "sweep.table_policy", {"loans": Policy.REPORT}),
    (
        "SWEEP__INSERT_WITHOUT_UNIQUE_KEY", "liquidity_positions, LOANS",
        "sweep.insert_without_unique_key", ("liquidity_positions", "loans"),
    ),
    ("METRICS__PORT", "9464", "metrics.port", 9464),
    ("METRICS__TEXTFILE", "/var/lib/x.prom", "metrics.textfile", Path("/var/lib/x.prom")),
    ("METRICS__PUSHGATEWAY_URL", "http://push:9091", "metrics.pushgateway_url", "http://push:9091"),
    ("LOG__FORMAT", "json", "log.format", LogFormat.JSON),
]  # fmt: skip


def at(settings, path):
    for part in path.split("."):
        settings = getattr(settings, part)
    return settings


def toml(tmp_path, text):
    file = tmp_path / "chaintrue.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("name", "text", "path", "value"), NAMED, ids=lambda part: part if isinstance(part, str) else ""
)
def test_each_setting_has_its_name(monkeypatch, name, text, path, value):
    assert at(Settings.load(), path) != value
    monkeypatch.setenv(f"CHAINTRUE_{name}", text)
    assert at(Settings.load(), path) == value


@pytest.mark.parametrize("section", ["database", "app_database"])
def test_an_address_becomes_that_of_the_driver(monkeypatch, section):
    monkeypatch.setenv(environment_name(section, "url"), f"{URL}?sslmode=require")
    settings = at(Settings.load(), section)
    address = settings.address
    assert (address.hosts, address.database) == ((("db.example", 5433),), "chaintrue")
    assert (address.user, address.password, address.options.tls.mode) == ("someone", "hunter2", "require")


def test_the_defaults_are_those_that_users_are_told():
    settings = Settings.load()
    assert (settings.kafka.topic, settings.kafka.group) == ("chaintrue.facts", "chaintrue")
    assert settings.stepfi.model_dump(exclude={*REQUIRED_CONTRACTS, "vouching"}) == {
        "amount_decimals": 7,
        "amount_tolerance": 0,
        "link_window_seconds": 3600,
        "clock_skew_seconds": 120,
        "insert_grace_seconds": 3600,
        "low_tier": "poor",
        "cancelled_status": "cancelled",
    }
    assert (settings.sweep.settle_seconds, settings.log.format) == (120, LogFormat.CONSOLE)


def test_the_environment_precedes_the_file_member_by_member(monkeypatch, tmp_path):
    file = toml(
        tmp_path,
        """
        [rpc]
        urls = ["https://from.file"]
        page_limit = 7
        [kafka]
        topic = "from.file"
        [sweep.policy]
        missing_row = "report"
        STALE_VALUE = "propose"
        """,
    )
    monkeypatch.setenv("CHAINTRUE_KAFKA__TOPIC", "from.environment")
    monkeypatch.setenv("CHAINTRUE_RPC__PAGE_LIMIT", "9")
    monkeypatch.setenv("CHAINTRUE_SWEEP__POLICY__MISSING_ROW", "repair")
    settings = Settings.load(file)
    assert (settings.rpc.urls, settings.rpc.page_limit) == (("https://from.file",), 9)
    assert settings.kafka.topic == "from.environment"
    assert settings.sweep.policy == {"missing_row": Policy.REPAIR, "stale_value": Policy.PROPOSE}


def test_a_file_may_list_addresses_as_the_environment_does(tmp_path):
    file = toml(tmp_path, 'rpc.urls = "https://a, https://b"')
    assert Settings.load(file).rpc.urls == ("https://a", "https://b")


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch):
    """Compose files pass on variables that nobody has set."""
    for name in ("RPC__URLS", "DATABASE__URL", "METRICS__PORT", "KAFKA__BOOTSTRAP_SERVERS", "STEPFI__VOUCHING"):
        monkeypatch.setenv(f"CHAINTRUE_{name}", "")
    assert Settings.load().model_dump() == Settings().model_dump()


def test_require_names_the_first_that_is_missing_and_how_to_set_it(monkeypatch, tmp_path):
    monkeypatch.setenv("CHAINTRUE_DATABASE__URL", URL)
    settings = Settings.load(toml(tmp_path, 'kafka.bootstrap_servers = ""'))
    settings.require("database.url", "kafka.topic")
    for name in ("rpc.urls", "app_database.url", "kafka.bootstrap_servers", "stepfi.creditline"):
        variable = environment_name(*name.split("."))
        with pytest.raises(errors.SettingError, match=f"{variable} is not set") as caught:
            settings.require("database.url", name, "network.passphrase")
        assert name in str(caught.value.cure)


def test_the_real_contract_ids_are_taken():
    header = next(recordings.lines("story-small.jsonl"))
    for contract in header["contracts"].values():
        assert Settings(stepfi={"creditline": contract}).stepfi.creditline == contract
