"""Secrets in files: which settings take one, how it is read, and what is said when it cannot be."""

import os
import traceback

import pytest

from shared import errors
from shared.section import secret_settings
from shared.stepfi.settings import Settings

URL = "postgresql://someone:hunter2@db.example/chaintrue"
SECRETS = {
    ("rpc", "urls"): ("https://a.example/key", ("https://a.example/key",)),
    ("kafka", "key_password"): (" spaces count ", " spaces count "),
    ("kafka", "sasl_password"): ("hunter2", "hunter2"),
    ("database", "url"): (URL, URL),
    ("app_database", "url"): (URL, URL),
    ("metrics", "pushgateway_url"): ("https://me:hunter2@push.example", "https://me:hunter2@push.example"),
    ("webhook", "url"): ("https://hooks.example/T0/hunter2", "https://hooks.example/T0/hunter2"),
    ("webhook", "secret"): ("hunter2", "hunter2"),
}


def value_of(settings, section, name):
    value = getattr(getattr(settings, section), name)
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


@pytest.fixture
def kafka_of_secrets(monkeypatch, tmp_path):
    """What the secrets of Kafka need beside them."""
    from tests.certificates import Authority

    issued = Authority(tmp_path, "authority").issue("client", password=" spaces count ")
    for name, value in {
        "SECURITY_PROTOCOL": "SASL_SSL",
        "SASL_MECHANISM": "PLAIN",
        "SASL_USERNAME": "alice",
        "CERTIFICATE_FILE": str(issued.certificate),
        "KEY_FILE": str(issued.key),
        "SASL_PASSWORD": "hunter2",
        "KEY_PASSWORD": " spaces count ",
    }.items():
        monkeypatch.setenv(f"CHAINTRUE_KAFKA__{name}", value)


def test_the_secrets_are_all_of_them():
    assert set(secret_settings(Settings)) == SECRETS.keys()


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize(("section", "name"), SECRETS)
def test_each_secret_may_stand_in_a_file(monkeypatch, tmp_path, kafka_of_secrets, section, name, end):
    text, value = SECRETS[section, name]
    (tmp_path / "secret").write_bytes((text + end).encode())
    variable = f"CHAINTRUE_{section.upper()}__{name.upper()}"
    monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(f"{variable}_FILE", str(tmp_path / "secret"))
    assert value_of(Settings.load(), section, name) == value


def test_the_toml_file_may_name_such_files(tmp_path):
    (tmp_path / "secret").write_text(URL + "\n")
    (tmp_path / "urls").write_text("https://a\nhttps://b\n")
    config = tmp_path / "chaintrue.toml"
    config.write_text(f"database.url_file = '{tmp_path / 'secret'}'\n[rpc]\nurls_file = '{tmp_path / 'urls'}'\n")
    settings = Settings.load(config)
    assert value_of(settings, "database", "url") == URL
    assert settings.rpc.urls == ("https://a", "https://b")


def test_the_environment_comes_before_the_toml_file_in_either_form(monkeypatch, tmp_path):
    (tmp_path / "secret").write_text(URL)
    config = tmp_path / "chaintrue.toml"
    monkeypatch.setenv("CHAINTRUE_DATABASE__URL_FILE", str(tmp_path / "secret"))
    config.write_text("database.url = 'postgresql://other@db/x'")
    assert value_of(Settings.load(config), "database", "url") == URL
    monkeypatch.delenv("CHAINTRUE_DATABASE__URL_FILE")
    monkeypatch.setenv("CHAINTRUE_DATABASE__URL", URL)
    config.write_text("database.url_file = '/nowhere'")  # not used, so not read
    assert value_of(Settings.load(config), "database", "url") == URL


def test_only_the_last_newline_goes(monkeypatch, tmp_path, kafka_of_secrets):
    (tmp_path / "secret").write_text("two\nlines\n\n")
    monkeypatch.delenv("CHAINTRUE_KAFKA__SASL_PASSWORD")
    monkeypatch.setenv("CHAINTRUE_KAFKA__SASL_PASSWORD_FILE", str(tmp_path / "secret"))
    assert value_of(Settings.load(), "kafka", "sasl_password") == "two\nlines\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no file"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "not a file of text"),
        (b"x" * 70_000, "too large"),
    ],
)
def test_a_file_that_will_not_do_is_named(monkeypatch, tmp_path, content, words):
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    monkeypatch.setenv("CHAINTRUE_DATABASE__URL_FILE", str(tmp_path / "secret"))
    with pytest.raises(errors.SettingError, match=f"CHAINTRUE_DATABASE__URL_FILE: .*{words}") as caught:
        Settings.load()
    assert caught.value.cure


def test_a_directory_and_a_file_of_others_are_told_in_words(monkeypatch, tmp_path):
    monkeypatch.setenv("CHAINTRUE_DATABASE__URL_FILE", str(tmp_path))
    with pytest.raises(errors.SettingError, match=r"CHAINTRUE_DATABASE__URL_FILE: .*cannot be read"):
        Settings.load()
    if os.geteuid() != 0:  # root reads everything
        (tmp_path / "secret").touch(mode=0)
        monkeypatch.setenv("CHAINTRUE_DATABASE__URL_FILE", str(tmp_path / "secret"))
        with pytest.raises(errors.SettingError, match=r"CHAINTRUE_DATABASE__URL_FILE: .*Permission denied"):
            Settings.load()


def test_a_secret_and_its_file_are_one_too_many(monkeypatch, tmp_path):
    (tmp_path / "secret").write_text(URL)
    monkeypatch.setenv("CHAINTRUE_DATABASE__URL", URL)
    monkeypatch.setenv("CHAINTRUE_DATABASE__URL_FILE", str(tmp_path / "secret"))
    with pytest.raises(errors.SettingError, match=r"URL_FILE: is set, and so is CHAINTRUE_DATABASE__URL\n"):
        Settings.load()


def test_what_a_file_holds_is_checked_under_the_name_of_the_file(monkeypatch, tmp_path):
    (tmp_path / "secret").write_text("mysql://someone:hunter2@db/x")
    monkeypatch.setenv("CHAINTRUE_APP_DATABASE__URL_FILE", str(tmp_path / "secret"))
    with pytest.raises(errors.SettingError) as caught:
        Settings.load()
    assert "CHAINTRUE_APP_DATABASE__URL_FILE: does not begin" in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_variable_without_a_value_is_none(monkeypatch):
    monkeypatch.setenv("CHAINTRUE_DATABASE__URL_FILE", "")
    assert Settings.load().database.url is None


def test_only_secrets_have_files(monkeypatch):
    monkeypatch.setenv("CHAINTRUE_KAFKA__TOPIC_FILE", "/x")
    with pytest.raises(errors.SettingError, match="CHAINTRUE_KAFKA__TOPIC_FILE: is not a setting that chaintrue knows"):
        Settings.load()


def test_a_missing_secret_may_be_given_by_its_file_too():
    with pytest.raises(errors.SettingError) as caught:
        Settings.load().require("database.url")
    assert "CHAINTRUE_DATABASE__URL_FILE" in str(caught.value.cure)


def test_the_settings_tell_what_is_secret_in_them(monkeypatch, kafka_of_secrets):
    monkeypatch.setenv("CHAINTRUE_DATABASE__URL", URL)
    monkeypatch.setenv("CHAINTRUE_RPC__URLS", "https://a.example/0123456789abcdef, https://b.example/rpc")
    assert Settings.load().secrets() == {"hunter2", " spaces count ", "0123456789abcdef"}
    assert Settings().secrets() == {"hunter2", " spaces count ", "0123456789abcdef"}
