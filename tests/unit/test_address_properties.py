"""For every password, option, port and host: the parts are as asked, or the address is refused and nothing of it is shown."""

import inspect
import os
import string
from collections.abc import Callable
from urllib.parse import quote, unquote, urlsplit

from asyncpg.connect_utils import _parse_connect_dsn_and_args
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url
from yarl import URL

from shared import database, errors, http_address, masking, pg_address
from shared.settings import Database, EngineSettings

PRINTABLE = "".join(character for character in string.printable if character.isprintable())
passwords = st.text(st.sampled_from(PRINTABLE), min_size=1, max_size=24)
hosts = st.sampled_from(["db", "db.example", "10.0.0.7", "[::1]", "my_db", "a,b"])
ports = st.sampled_from(["", ":1", ":5433", ":65535", ":0", ":65536", ":x", ":"])
options = st.sampled_from(
    ["", "?sslmode=require", "?sslmode=disable", "?application_name=x&sslmode=prefer", "?pgbouncer=true"]
)
WILD = set("#?/[]@% ")
OTHER = "\x7fnot printable\x7f"


def load(url: str) -> Database | str:
    """The settings, or the words of the refusal."""
    os.environ["CHAINTRUE_DATABASE__URL"] = url
    try:
        return EngineSettings.load().database
    except errors.SettingError as error:
        return str(error)
    finally:
        del os.environ["CHAINTRUE_DATABASE__URL"]


def pieces(password: str, length: int = 6) -> set[str]:
    return {password[at : at + length] for at in range(len(password) - length + 1)}


def shows(password: str, said: str, otherwise: str) -> set[str]:
    """Pieces of the password in what was said that are not said with another password as well."""
    return {piece for piece in pieces(password) if piece in said and piece not in otherwise}


@given(passwords, hosts, ports, options)
@example("p#ssw0rdLong", "db", ":1", "?sslmode=verify-full&sslrootcert=system")
@example("p?ssw0rdLong", "db", ":1", "?sslmode=require")
@example("p/ssw0rdLong&sslmode=disable", "db", "", "")
@example("x@evil.example:5432/app?sslmode=disable&a=", "db", "", "?sslmode=require")
def test_a_raw_password_is_read_as_it_stands_or_refused(password: str, host: str, port: str, option: str) -> None:
    loaded = load(f"postgresql://one:{password}@{host}{port}/app{option}")
    if isinstance(loaded, str):
        plain = (
            load(f"postgresql://one:{OTHER}@{host}{port}/app{option}"),
            load(f"postgresql://one:p@{host}{port}/app{option}"),
        )
        assert not shows(password, loaded, " ".join(each for each in plain if isinstance(each, str)))
        assert (
            set(password) & WILD
            or port not in {"", ":1", ":5433", ":65535"}
            or "pgbouncer" in option
            or "system" in option
        )
        return
    check_parts(loaded, unquote(password), host, port, option)
    assert_read_alike(f"postgresql://one:{password}@{host}{port}/app{option}", loaded.address)


def assert_read_alike(url: str, address: pg_address.Address) -> None:
    """What is taken is read so by the parsers of SQLAlchemy and of the driver, too."""
    if len(address.hosts) == 1:  # several are asyncpg's alone
        other = make_url(url)
        assert (other.host, other.port or 5432) == address.hosts[0]
        assert (other.username, other.password or None, other.database) == (
            address.user,
            address.password,
            address.database,
        )
        assert other.query.get("sslmode", "prefer") == address.options.tls.mode
    nothing = dict.fromkeys(inspect.signature(_parse_connect_dsn_and_args).parameters)
    places, driver = _parse_connect_dsn_and_args(**{**nothing, "dsn": url})
    assert tuple(places) == address.hosts
    assert (driver.user, driver.password, driver.database) == (address.user, address.password, address.database)
    assert driver.sslmode.name == address.options.tls.mode


@given(passwords, hosts, ports, options)
@example("p#ss/w?rd[x]@%41 +&=;", "db", ":1", "?sslmode=require")
def test_an_encoded_password_is_given_to_the_driver_as_it_is(password: str, host: str, port: str, option: str) -> None:
    loaded = load(f"postgresql://one:{quote(password, safe='')}@{host}{port}/app{option}")
    if isinstance(loaded, str):
        assert port not in {"", ":1", ":5433", ":65535"} or "pgbouncer" in option
        assert not shows(password, loaded, str(load(f"postgresql://one:x@{host}{port}/app{option}")))
        return
    check_parts(loaded, password, host, port, option)


def check_parts(loaded: Database, password: str, host: str, port: str, option: str) -> None:
    given_to_driver = database._connect_arguments(loaded)
    number = int(port[1:]) if port else 5432
    assert given_to_driver["host"] == host.strip("[]").split(",")
    assert given_to_driver["port"][-1] == number
    assert given_to_driver["password"] == password
    assert (given_to_driver["user"], given_to_driver["database"]) == ("one", "app")
    wanted = "disable" if "disable" in option else "require" if "require" in option else "prefer"
    assert loaded.address.options.tls.mode == wanted
    assert bool(given_to_driver["ssl"]) is (wanted != "disable")


@given(st.text(st.sampled_from(PRINTABLE), max_size=60))
def test_any_text_is_read_or_refused_with_a_hint(text: str) -> None:
    """Never another exception, and the refusal quotes nothing of it but the name of an option."""
    said = refused(pg_address.parse, f"postgresql://{text}")
    assert said is None or ": " in said
    name = text.partition("?")[2].partition("=")[0]
    assert not shows(text, said or "", f"{name} {ALWAYS}")


ALWAYS = "postgresql://user:password@host:port/name"


def refused(check: Callable[[str], object], url: str) -> str | None:
    """The words of the refusal; None where there is none."""
    try:
        check(url)
    except ValueError as error:
        return str(error)
    return None


@given(passwords, st.sampled_from(["rpc.example", "[::1]", "127.0.0.1"]), ports)
def test_an_http_address_is_read_as_the_client_reads_it_or_refused(password: str, host: str, port: str) -> None:
    for written in (password, quote(password, safe="")):
        url = f"https://one:{written}@{host}{port}/v1"
        said = refused(http_address.check, url)
        if said is not None:
            raw = written == password and set(password) & (WILD | {"\\"})
            assert raw or port not in {"", ":1", ":5433", ":65535"}
            assert not shows(password, said, "a number from 1 to 65535: write host:port")
            continue
        read = URL(url)
        assert (read.host, read.password, read.path) == (host.strip("[]"), unquote(written), "/v1")
        assert read.port == (int(port[1:]) if port else 443)
        assert urlsplit(url).hostname == read.host


@given(passwords, st.data())
def test_what_a_driver_could_quote_is_masked(password: str, data: st.DataObject) -> None:
    """What lies between two characters at which a reader splits, of an address that was read."""
    assume(len(masking._SPLITS.findall(password)) <= masking._MOST_SPLITS)
    url = f"postgresql://user_one:{quote(password, safe='')}@db.example/app"
    masking.conceal(masking.parts(url))
    try:
        for wild in data.draw(st.sets(st.sampled_from("#?/[]@:"), min_size=1)):
            for piece in password.split(wild):
                said = masking.mask(f"=> '{piece}'")
                assert len(piece) < masking.PIECE or said == "=> '***'"
    finally:
        masking.conceal([])
