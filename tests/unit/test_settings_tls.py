"""Settings of TLS and users: what fits together, and which setting is named when it does not."""

import traceback

import pytest

from shared import errors
from shared.settings import SaslMechanism, SecurityProtocol
from shared.stepfi.settings import Settings
from tests.certificates import Authority

SECRET = "hunter2"
DATABASE = f"postgresql://someone:{SECRET}@db.example/chaintrue"


@pytest.fixture
def files(tmp_path):
    """Paths by name; `sealed` is encrypted with SECRET."""
    authority = Authority(tmp_path, "authority")
    issued, sealed = authority.issue("client"), authority.issue("sealed", password=SECRET)
    (tmp_path / "text").write_text("no PEM")
    return {
        "ca": authority.certificate,
        "certificate": issued.certificate,
        "key": issued.key,
        "both": issued.both,
        "sealed": sealed.certificate,
        "sealed_key": sealed.key,
        "text": tmp_path / "text",
        "absent": tmp_path / "absent",
        "directory": tmp_path,
    }


def set_kafka(monkeypatch, files, settings):
    """Set `CHAINTRUE_KAFKA__…`; a value with @ before it is the path of that file."""
    for name, value in settings.items():
        text = str(files[value[1:]]) if value.startswith("@") else value
        monkeypatch.setenv(f"CHAINTRUE_KAFKA__{name}", text)


SASL = {"SASL_MECHANISM": "SCRAM-SHA-512", "SASL_USERNAME": "alice", "SASL_PASSWORD": SECRET}


def without(name):
    return {key: value for key, value in SASL.items() if key != name}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"SECURITY_PROTOCOL": "PLAINTEXT"},
        {"SECURITY_PROTOCOL": "SSL"},
        {"SECURITY_PROTOCOL": "SSL", "CA_FILE": "@ca"},
        {"SECURITY_PROTOCOL": "SSL", "CERTIFICATE_FILE": "@certificate", "KEY_FILE": "@key"},
        {"SECURITY_PROTOCOL": "SSL", "CERTIFICATE_FILE": "@both"},
        {"SECURITY_PROTOCOL": "SSL", "CERTIFICATE_FILE": "@sealed", "KEY_FILE": "@sealed_key", "KEY_PASSWORD": SECRET},
        {"SECURITY_PROTOCOL": "SASL_PLAINTEXT", **SASL},
        {"SECURITY_PROTOCOL": "SASL_SSL", "CA_FILE": "@ca", **SASL},
    ],
)
def test_what_fits_together_is_taken(monkeypatch, files, settings):
    set_kafka(monkeypatch, files, settings)
    kafka = Settings.load().kafka
    assert kafka.security_protocol == settings.get("SECURITY_PROTOCOL", "PLAINTEXT")
    context = kafka.ssl_context()
    assert (context is not None) == kafka.security_protocol.tls
    if context is not None:
        assert context.check_hostname
    assert SECRET not in repr(kafka)


@pytest.mark.parametrize(
    ("settings", "named", "words"),
    [
        ({"SECURITY_PROTOCOL": SECRET}, "SECURITY_PROTOCOL", "SASL_SSL"),
        ({"SECURITY_PROTOCOL": "SASL_SSL", **SASL, "SASL_MECHANISM": SECRET}, "SASL_MECHANISM", "SCRAM-SHA-256"),
        ({"SECURITY_PROTOCOL": "SASL_SSL", **without("SASL_MECHANISM")}, "SASL_MECHANISM", "is not set"),
        ({"SECURITY_PROTOCOL": "SASL_SSL", **without("SASL_USERNAME")}, "SASL_USERNAME", "is not set"),
        ({"SECURITY_PROTOCOL": "SASL_PLAINTEXT", **without("SASL_PASSWORD")}, "SASL_PASSWORD", "is not set"),
        (SASL, "SASL_MECHANISM", "SECURITY_PROTOCOL is PLAINTEXT"),
        ({"SECURITY_PROTOCOL": "SSL", "SASL_USERNAME": "alice"}, "SASL_USERNAME", "SECURITY_PROTOCOL is SSL"),
        ({"CA_FILE": "@ca"}, "CA_FILE", "SECURITY_PROTOCOL is PLAINTEXT"),
        ({"SECURITY_PROTOCOL": "SASL_PLAINTEXT", **SASL, "KEY_FILE": "@key"}, "KEY_FILE", "does not use TLS"),
        ({"SECURITY_PROTOCOL": "SSL", "CA_FILE": "@absent"}, "CA_FILE", "there is no file"),
        ({"SECURITY_PROTOCOL": "SSL", "CA_FILE": "@text"}, "CA_FILE", "no certificate in PEM form"),
        ({"SECURITY_PROTOCOL": "SSL", "CA_FILE": "@key"}, "CA_FILE", "no certificate in PEM form"),
        ({"SECURITY_PROTOCOL": "SSL", "CA_FILE": "@directory"}, "CA_FILE", "cannot be read"),
        ({"SECURITY_PROTOCOL": "SSL", "CERTIFICATE_FILE": "@text"}, "CERTIFICATE_FILE", "no certificate"),
        ({"SECURITY_PROTOCOL": "SSL", "CERTIFICATE_FILE": "@certificate"}, "KEY_FILE", "no private key"),
        ({"SECURITY_PROTOCOL": "SSL", "KEY_FILE": "@key"}, "KEY_FILE", "CERTIFICATE_FILE is not"),
        ({"SECURITY_PROTOCOL": "SSL", "KEY_PASSWORD": SECRET}, "KEY_PASSWORD", "CERTIFICATE_FILE is not"),
        (
            {"SECURITY_PROTOCOL": "SSL", "CERTIFICATE_FILE": "@certificate", "KEY_FILE": "@text"},
            "KEY_FILE",
            "no private key",
        ),
        (
            {"SECURITY_PROTOCOL": "SSL", "CERTIFICATE_FILE": "@sealed", "KEY_FILE": "@key"},
            "KEY_FILE",
            "not that of the certificate",
        ),
        (
            {"SECURITY_PROTOCOL": "SSL", "CERTIFICATE_FILE": "@sealed", "KEY_FILE": "@sealed_key"},
            "KEY_PASSWORD",
            "is not set",
        ),
        (
            {
                "SECURITY_PROTOCOL": "SSL",
                "CERTIFICATE_FILE": "@sealed",
                "KEY_FILE": "@sealed_key",
                "KEY_PASSWORD": "n0t-it",
            },
            "KEY_PASSWORD",
            "does not open",
        ),
        ({"BOOTSTRAP_SERVERS": f"one:9092,{SECRET}:{SECRET}"}, "BOOTSTRAP_SERVERS", "host:port"),
    ],
)
def test_what_does_not_fit_is_named_and_not_shown(monkeypatch, files, settings, named, words):
    set_kafka(monkeypatch, files, settings)
    with pytest.raises(errors.SettingError) as caught:
        Settings.load()
    told = str(caught.value)
    assert told.startswith(f"CHAINTRUE_KAFKA__{named}")
    assert words in told
    for secret in (SECRET, "n0t-it"):
        assert secret not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "options",
    [
        "",
        "sslmode=require",
        "sslmode=verify-full&sslrootcert={ca}",
        "sslmode=require&sslcert={certificate}&sslkey={key}",
    ],
)
def test_options_of_an_address_that_work(monkeypatch, files, options):
    monkeypatch.setenv("CHAINTRUE_DATABASE__URL", f"{DATABASE}?{options.format(**files)}")
    wanted = Settings.load().database.address.options.tls
    modes = {"": "prefer", "sslmode=verify-full&sslrootcert={ca}": "verify-full"}
    assert wanted.mode == modes.get(options, "require")
    assert wanted.ca_file == (files["ca"] if "{ca}" in options else None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("sslmode=verify-full&sslrootcert={absent}", "sslrootcert: there is no file"),
        ("sslmode=verify-ca&sslrootcert={text}", "sslrootcert: "),
        ("sslmode=require&sslcert={absent}&sslkey={key}", "sslcert: there is no file"),
        ("sslmode=require&sslcert={sealed}&sslkey={key}", "sslkey: the key"),
        ("sslmode=require&sslcert={sealed}&sslkey={sealed_key}", "sslpassword: is not set"),
        ("sslmode=require&sslcert={sealed}&sslkey={sealed_key}&sslpassword=n0t-it", "sslpassword: does not open"),
        ("sslmode=always", "an sslmode that is none of disable"),
        ("sslrootcert={ca}", "counts only with sslmode=verify-full"),
        ("sslmode=disable&sslmode=require", "sslmode more than once"),
    ],
)
@pytest.mark.parametrize("section", ["DATABASE", "APP_DATABASE"])
def test_options_of_an_address_that_do_not(monkeypatch, files, section, options, words):
    monkeypatch.setenv(f"CHAINTRUE_{section}__URL", f"{DATABASE}?{options.format(**files)}")
    with pytest.raises(errors.SettingError, match=f"CHAINTRUE_{section}__URL: .*{words}") as caught:
        Settings.load()
    assert SECRET not in str(caught.value)
    assert "n0t-it" not in str(caught.value)


@pytest.mark.parametrize(("name", "words"), [("absent", "there is no file"), ("text", "no certificate in PEM form")])
def test_authorities_of_rpc_are_looked_at_when_they_are_read(monkeypatch, files, name, words):
    monkeypatch.setenv("CHAINTRUE_RPC__CA_FILE", str(files[name]))
    with pytest.raises(errors.SettingError, match=f"CHAINTRUE_RPC__CA_FILE: .*{words}"):
        Settings.load()


def test_the_names_are_those_of_kafka():
    assert list(SecurityProtocol) == ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
    assert list(SaslMechanism) == ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
