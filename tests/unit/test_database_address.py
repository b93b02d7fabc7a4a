"""The one reading of a database address: its parts, and each refusal with a hint that shows nothing of the password."""

import re
import ssl
import traceback

import pytest

from shared import database, errors, pg_address, pg_tls
from shared.stepfi.settings import Settings
from tests.certificates import Authority

PIECES = ("ssw0rdLong", "er5ecretXYZ")
URL = "CHAINTRUE_APP_DATABASE__URL"


def refusal(monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """The words of the refusal when the settings are loaded; neither they nor the traceback show a piece of the password."""
    monkeypatch.setenv(URL, url)
    with pytest.raises(errors.SettingError) as caught:
        Settings.load()
    everything = "".join(traceback.format_exception(caught.value))
    assert not [piece for piece in PIECES if piece in everything], everything
    assert str(caught.value).startswith(f"{URL}: ")
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://one:p#ssw0rdLong@db:1/app?sslmode=verify-full&sslrootcert=/etc/ssl/x", "a # in .*%23"),
        ("postgresql://one:p#ssw0rdLong@db:1/app", "a # in its user or password: write it as %23"),
        ("postgresql://one:p/ssw0rdLong@db:1/app", "a / in its user or password: write it as %2F"),
        ("postgresql://one:p?ssw0rdLong@db:1/app", r"a \? in its user or password: write it as %3F"),
        ("postgresql://one:p?ssw0rdLong@db:1/app?sslmode=require", r"a \? in its user or password: write it as %3F"),
        ("postgresql://one:Zu]p[er5ecretXYZ@db:1/app", r"a ] in its user or password: write it as %5D"),
        ("postgresql://one:p[ssw0rdLong@db:1/app", r"a \[ in its user or password: write it as %5B"),
        ("postgresql://one:p@ssw0rdLong@db:1/app", "an @ in its user or password: write it as %40"),
        ("postgresql://one:p%ssw0rdLong@db:1/app", "a % in its user or password .*write it as %25"),
        ("postgresql://one:p%ffssw0rdLong@db:1/app", "UTF-8"),
        ("postgresql://one:p%00ssw0rdLong@db:1/app", "%00"),
        ("postgresql://one:p ssw0rdLong@db:1/app", "a blank.*%20"),
        ("postgresql://one:p\tssw0rdLong@db:1/app", "a control character"),
        ("postgresql://one:ssw0rdLong@db:99999/app", "a port that is not a number from 1 to 65535"),
        ("postgresql://one:ssw0rdLong@db:0/app", "a port that is not a number from 1 to 65535"),
        ("postgresql://one:ssw0rdLong@db:/app", "a port that is not a number from 1 to 65535"),
        ("postgresql://one:ssw0rdLong@db:+5/app", "a port that is not a number from 1 to 65535"),
        ("postgresql://one:ssw0rdLong@/app", "names no host"),
        ("postgresql://one:ssw0rdLong@a,,b/app", "an empty host"),
        ("postgresql://one:ssw0rdLong@::1/app", "IPv6 .*square brackets"),
        ("postgresql://one:ssw0rdLong@[::g]:1/app", "IPv6"),
        ("postgresql://one:ssw0rdLong", "a port that is not"),
        ("postgresql://db/app", "names no user"),
        ("postgresql://:ssw0rdLong@db/app", "names no user"),
        ("postgresql://one:ssw0rdLong@db", "names no database"),
        ("postgresql://one:ssw0rdLong@db/", "names no database"),
        ("postgresql://one:ssw0rdLong@db/app#x", "a # .*behind its host"),
        ("postgresql+asyncpg://one:ssw0rdLong@db/app", "does not begin with postgresql://"),
    ],
)  # fmt: skip
def test_what_two_readers_would_read_differently_is_refused(monkeypatch, url, words):
    assert re.search(words, refusal(monkeypatch, url))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("pgbouncer=true&connection_limit=1", "the options pgbouncer, connection_limit.*remove them"),
        ("schema=public", "the option schema.*remove it"),
        ("supa=base-pooler.x", "the option supa.*remove it"),
        ("sslmode=prefer&channel_binding=require", "channel_binding=require.*sslmode=verify-full"),
        ("gssencmode=require", "gssencmode=require"),
        ("require_auth=scram-sha-256", "require_auth"),
        ("sslmode=require&sslrootcert=/no/such/file", "sslrootcert: there is no file"),
        ("sslmode=require&sslcrldir=/etc", "sslcrldir"),
        ("ssl_min_protocol_version=TLSv1.3", "ssl_min_protocol_version.*counts only with sslmode"),
        ("sslmode=require&ssl_min_protocol_version=TLSv9", "ssl_min_protocol_version.*TLSv1.3"),
        ("sslrootcert=system", "sslrootcert=system.*sslmode=verify-full"),
        ("sslmode=require&sslrootcert=system", "sslrootcert=system.*sslmode=verify-full"),
        ("sslmode=require&sslnegotiation=odd", "sslnegotiation"),
        ("sslnegotiation=direct", "sslnegotiation.*sslmode"),
        ("connect_timeout=soon", "connect_timeout"),
        ("connect_timeout=0", "connect_timeout"),
        ("target_session_attrs=best", "target_session_attrs"),
        ("keepalives_idle=x", "keepalives_idle"),
        ("service=mine", "the option service"),
        ("sslMode=require", "the option sslMode"),
        ("sslmode=require&sslmode=require", "sslmode more than once"),
        ("sslmode=", "sslmode without a value"),
        ("sslmode", "an option without a ="),
        ("sslmode=require&", "an option without a ="),
        ("application_name=a+b", "a \\+ .*%2B"),
        ("ssl=true", "ssl.*sslmode"),
        ("password=x1y2z3a4", "password twice"),
        ("host=/run/postgresql", "host twice"),
        ("sslpassword=a&ssw0rdLong=b", "option 2 "),
        ("%0Aforged%20line=b", "option 1 "),
        ("sslmode=require&sslkey=/etc/key", "sslkey: counts only with a certificate"),
        ("sslmode=require&sslpassword=x1y2z3a4", "sslpassword: counts only with a certificate"),
    ],
)  # fmt: skip
def test_options_that_are_not_done_are_refused_by_name(monkeypatch, options, words):
    said = refusal(monkeypatch, f"postgresql://one:ssw0rdLong@db:1/app?{options}")
    assert re.search(words, said), said


def address(monkeypatch: pytest.MonkeyPatch, url: str) -> pg_address.Address:
    monkeypatch.setenv(URL, url)
    return Settings.load().app_database.address


@pytest.mark.parametrize(
    ("place", "hosts"),
    [
        ("db", (("db", 5432),)),
        ("db.example.:6543", (("db.example.", 6543),)),
        ("my_service:1", (("my_service", 1),)),
        ("10.0.0.7:65535", (("10.0.0.7", 65535),)),
        ("[::1]:5433", (("::1", 5433),)),
        ("[2001:db8::1]", (("2001:db8::1", 5432),)),
        ("a:1,b,[::1]:3", (("a", 1), ("b", 5432), ("::1", 3))),
        ("%2Frun%2Fpostgresql", (("/run/postgresql", 5432),)),
        ("%2frun:5433", (("/run", 5433),)),
    ],
)
def test_hosts(monkeypatch, place, hosts):
    assert address(monkeypatch, f"postgresql://one@{place}/app").hosts == hosts


@pytest.mark.parametrize(
    ("options", "hosts"),
    [
        ("host=/run/postgresql", (("/run/postgresql", 5432),)),
        ("host=/run/postgresql&port=5433", (("/run/postgresql", 5433),)),
        ("host=a,b&port=1,2", (("a", 1), ("b", 2))),
        ("host=a,::1&port=7", (("a", 7), ("::1", 7))),
    ],
)
def test_hosts_among_the_options(monkeypatch, options, hosts):
    parsed = address(monkeypatch, f"postgresql:///app?{options}&user=one&password=x%26y")
    assert (parsed.hosts, parsed.user, parsed.password, parsed.database) == (hosts, "one", "x&y", "app")


def test_what_libpq_does_is_done(monkeypatch):
    parsed = address(
        monkeypatch,
        "postgres://me%40corp:p%23ss:w%2Frd@db/my%2Fapp?application_name=a%20b&options=-c%20work_mem%3D1MB&connect_timeout=7"
        "&keepalives_idle=30&target_session_attrs=read-write&sslmode=require&ssl_min_protocol_version=TLSv1.3"
        "&channel_binding=prefer&gssencmode=disable&sslnegotiation=direct&client_encoding=utf8",
    )
    assert (parsed.user, parsed.password, parsed.database) == ("me@corp", "p#ss:w/rd", "my/app")
    options = parsed.options
    assert options.server_settings == {"application_name": "a b", "options": "-c work_mem=1MB"}
    assert (options.connect_seconds, options.target_session_attrs) == (7.0, "read-write")
    assert options.keepalive == {"keepalives_idle": 30}
    assert (options.tls.mode, options.tls.lowest, options.tls.direct) == ("require", "TLSv1.3", True)
    assert pg_tls.context(options.tls).minimum_version is ssl.TLSVersion.TLSv1_3
    assert Settings.load().app_database.connect_seconds == 7.0
    assert "p#ss" not in repr(parsed)


@pytest.mark.parametrize(
    ("options", "verifies", "checks_host"),
    [
        ("sslmode=require", ssl.CERT_NONE, False),
        ("sslmode=require&sslrootcert={ca}", ssl.CERT_REQUIRED, False),
        ("sslmode=verify-ca&sslrootcert={ca}", ssl.CERT_REQUIRED, False),
        ("sslmode=verify-full&sslrootcert={ca}", ssl.CERT_REQUIRED, True),
        ("sslmode=verify-full&sslrootcert=system", ssl.CERT_REQUIRED, True),
    ],
)
def test_what_each_mode_verifies(monkeypatch, tmp_path, options, verifies, checks_host):
    monkeypatch.setenv("HOME", str(tmp_path))
    ca = Authority(tmp_path, "one").certificate
    made = pg_tls.context(address(monkeypatch, f"postgresql://one@db/app?{options.format(ca=ca)}").options.tls)
    assert (made.verify_mode, made.check_hostname) == (verifies, checks_host)


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
@pytest.mark.parametrize("home", ["/nowhere", None])
def test_a_verifying_mode_without_an_authority_is_refused(monkeypatch, mode, home):
    """Also without a HOME, and for a user whose number has no name."""
    if home is None:
        nameless: dict[str, str] = {}
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr("pwd.getpwuid", lambda _uid: nameless["of 45678"])
    else:
        monkeypatch.setenv("HOME", home)
    said = refusal(monkeypatch, f"postgresql://one:ssw0rdLong@db/app?sslmode={mode}")
    assert f"sslrootcert: is not set, and sslmode={mode} needs it" in said


def test_the_authority_in_the_home_counts_as_with_libpq(monkeypatch, tmp_path):
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").write_bytes(Authority(tmp_path, "one").certificate.read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    made = pg_tls.context(address(monkeypatch, "postgresql://one@db/app?sslmode=require").options.tls)
    assert made.verify_mode is ssl.CERT_REQUIRED


def test_the_environment_of_libpq_cannot_weaken_and_is_not_forgotten(monkeypatch):
    monkeypatch.setenv("PGSSLMODE", "require")
    assert address(monkeypatch, "postgresql://one@db/app").options.tls.mode == "require"
    assert address(monkeypatch, "postgresql://one@db/app?sslmode=disable").options.tls.mode == "disable"
    assert address(monkeypatch, "postgresql://one@%2Frun/app").options.tls.mode == "prefer"
    monkeypatch.setenv("PGSSLMODE", "disable")
    assert address(monkeypatch, "postgresql://one@db/app?sslmode=require").options.tls.mode == "require"
    monkeypatch.setenv("PGCHANNELBINDING", "require")
    assert "PGCHANNELBINDING" in refusal(monkeypatch, "postgresql://one:ssw0rdLong@db/app?sslmode=require")


def test_a_socket_has_no_tls(monkeypatch):
    said = refusal(monkeypatch, "postgresql://one:ssw0rdLong@/app?host=/run/postgresql&sslmode=require")
    assert "a Unix socket, which has no TLS" in said
    assert "hosts of one kind" in refusal(monkeypatch, "postgresql://one:ssw0rdLong@%2Frun,db/app")


def test_the_driver_is_given_parts_alone(monkeypatch):
    """Neither a text to parse, nor room for PGHOST, PGUSER, PGSSLMODE and PGSSLNEGOTIATION."""
    monkeypatch.setenv(URL, "postgresql://one:p%23ss@a:1,b:2/app?sslmode=disable")
    settings = Settings.load()
    given = database._connect_arguments(settings.app_database)
    assert (given["host"], given["port"]) == (["a", "b"], [1, 2])
    assert (given["user"], given["password"], given["database"]) == ("one", "p#ss", "app")
    assert (given["ssl"], given["direct_tls"], given["target_session_attrs"]) == (False, False, "any")
    assert "dsn" not in given
    engine = database.single(settings.app_database)
    assert engine.url.render_as_string(hide_password=False) == "postgresql+asyncpg://a,b:1/app"
