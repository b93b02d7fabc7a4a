"""Wrong settings: each is named as the environment names it, and what it held is shown nowhere."""

import traceback

import pytest

from shared import errors
from shared.settings import Database
from shared.stepfi.settings import Settings

SECRET = "hunter2"
ACCOUNT = "GAIJE2TRV22BB6KEP3KR4EZTFLNUZGFLMFALPS5A6IX5V5WLYDMRHRON"

WRONG = [
    ("RPC__URLS", f"https://a.example,ftp://b.example/{SECRET}", "address 2 of 2"),
    ("RPC__URLS", SECRET, "http"),
    ("RPC__PAGE_LIMIT", "10001", "10000"),
    ("RPC__PAGE_LIMIT", SECRET, "integer"),
    ("KAFKA__TOPIC", f"{SECRET} facts", "pattern"),
    ("DATABASE__URL", SECRET, "postgresql://"),
    ("DATABASE__URL", f"mysql://someone:{SECRET}@db/x", "postgresql://"),
    ("DATABASE__URL", f"postgresql://someone:{SECRET}@db", "names no database"),
    ("APP_DATABASE__URL", f"postgresql://someone:{SECRET}@db:port/x", "a port that is not a number"),
    ("APP_DATABASE__URL", f"postgresql://someone:pass@{SECRET}@db:5432/x", "%40"),
    ("DATABASE__CONNECT_TIMEOUT_SECONDS", "0", "greater than 0"),
    ("STEPFI__CREDITLINE", ACCOUNT, "no contract id"),
    ("STEPFI__POOL", SECRET, "not a setting that chaintrue knows"),
    ("STEPFI__VOUCHING", SECRET, "no contract id"),
    ("STEPFI__AMOUNT_DECIMALS", "-1", "greater than or equal to 0"),
    ("STEPFI__AMOUNT_TOLERANCE", SECRET, "decimal"),
    ("STEPFI__AMOUNT_TOLERANCE", "NaN", "finite"),
    ("STREAM__START_LEDGER", "0", "greater than or equal to 1"),
    ("SWEEP__POLICY__MISSING_ROW", "delete", "repair"),
    ("SWEEP__TABLE_POLICY__LOANS", SECRET, "report"),
    ("SWEEP__MAX_DRIFT_RATIO", "1.5", "less than or equal to 1"),
    ("SWEEP__SETTLE_SECONDS", "-1", "greater than or equal to 0"),
    ("METRICS__PORT", "65536", "65535"),
    ("WEBHOOK__URL", SECRET, "http"),
    ("WEBHOOK__URL", f"ftp://hooks.example/{SECRET}", "http"),
    ("WEBHOOK__URL", f"https:///{SECRET}", "host"),
    ("WEBHOOK__URL", f"https://hooks.example:{SECRET}/", "a port that is not a number"),
    ("WEBHOOK__DRIFT_THRESHOLD", "0", "greater than or equal to 1"),
    ("LOG__FORMAT", "xml", "json"),
    ("RPC__URLZ", SECRET, "not a setting that chaintrue knows"),
    ("RCP__URLS", SECRET, "not a setting that chaintrue knows"),
    ("DATABASE_URL", SECRET, "not a setting that chaintrue knows"),
    ("DATABASE", SECRET, "not a setting that chaintrue knows"),
]


@pytest.mark.parametrize(("name", "text", "words"), WRONG)
def test_a_wrong_setting_is_named_and_not_shown(monkeypatch, name, text, words):
    monkeypatch.setenv(f"CHAINTRUE_{name}", text)
    with pytest.raises(errors.SettingError) as caught:
        Settings.load()
    assert f"CHAINTRUE_{name}:" in str(caught.value)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_all_that_is_wrong_is_told_at_once(monkeypatch):
    monkeypatch.setenv("CHAINTRUE_METRICS__PORT", "many")
    monkeypatch.setenv("CHAINTRUE_LOG__FORMAT", "xml")
    with pytest.raises(errors.SettingError, match=r"(?s)CHAINTRUE_METRICS__PORT: .*CHAINTRUE_LOG__FORMAT: "):
        Settings.load()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[kafka]\ntopik = "x"', "CHAINTRUE_KAFKA__TOPIK: is not a setting"),
        ("[kafak]\ntopic = 1", "CHAINTRUE_KAFAK: is not a setting"),
        ("kafka = 5", "CHAINTRUE_KAFKA: "),
        ("[rpc]\nurls = [1, 2]", "CHAINTRUE_RPC__URLS"),
        ("[kafka\n", "the settings cannot be read"),
        ("[log]\nformat = \"xml\"", "CHAINTRUE_LOG__FORMAT: "),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_in_words(tmp_path, text, words):
    file = tmp_path / "chaintrue.toml"
    file.write_text(text)
    with pytest.raises(errors.SettingError) as caught:
        Settings.load(file)
    assert words in str(caught.value)


def test_a_file_that_is_not_text_is_told_in_words(tmp_path):
    file = tmp_path / "chaintrue.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(errors.SettingError, match="cannot be read"):
        Settings.load(file)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(errors.SettingError, match=r"no file .*absent\.toml"):
        Settings.load(tmp_path / "absent.toml")
    with pytest.raises(errors.SettingError, match="no file"):
        Settings.load(tmp_path)


def test_secrets_are_shown_in_no_form(monkeypatch):
    monkeypatch.setenv("CHAINTRUE_DATABASE__URL", f"postgresql://someone:{SECRET}@db/x")
    monkeypatch.setenv("CHAINTRUE_RPC__URLS", f"https://rpc.example/{SECRET}")
    monkeypatch.setenv("CHAINTRUE_METRICS__PUSHGATEWAY_URL", f"https://me:{SECRET}@push.example")
    settings = Settings.load()
    assert settings.database.address.password == SECRET
    for shown in (repr(settings), str(settings), repr(settings.database), str(settings.rpc), repr(settings.metrics)):
        assert SECRET not in shown
    assert SECRET not in repr(settings.database.address)


def test_an_address_that_was_not_required_is_an_error_in_words():
    with pytest.raises(errors.SettingError, match="before it was required"):
        _ = Database().address


def test_one_contract_has_one_role(monkeypatch):
    contract = "CDFACCFOC7NVBRN5S476473YZXYC6MTECISBM6J2YIM74IOZ4K74TYJP"
    monkeypatch.setenv("CHAINTRUE_STEPFI__CREDITLINE", contract)
    monkeypatch.setenv("CHAINTRUE_STEPFI__REPUTATION", contract)
    with pytest.raises(errors.SettingError, match="CHAINTRUE_STEPFI: creditline and reputation"):
        Settings.load()
