"""The one reading of a database address: its parts, and each refusal with a hint that shows nothing of the password."""

import traceback

import pytest

from shared import errors
from shared.stepfi.settings import Settings

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
        ("postgresql://one:ssw0rdLong@db/app#x", "a # behind its host"),
        ("postgresql+asyncpg://one:ssw0rdLong@db/app", "does not begin with postgresql://"),
    ],
)  # fmt: skip
def test_what_two_readers_would_read_differently_is_refused(monkeypatch, url, words):
    import re

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
    ],
)  # fmt: skip
def test_options_that_are_not_done_are_refused_by_name(monkeypatch, options, words):
    import re

    said = refusal(monkeypatch, f"postgresql://one:ssw0rdLong@db:1/app?{options}")
    assert re.search(words, said), said
