"""What the options behind the ? of an address ask for, or a refusal that names the option. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared import pg_option_names as names
from shared.address_text import decoded
from shared.pg_tls import ENCRYPTED, SYSTEM, Tls

_PART = "options"
_MOST_SECONDS = 3600
_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`keepalive` has libpq's names and numbers; `server_settings` are sent to PostgreSQL when a session begins."""

    tls: Tls
    connect_seconds: float | None = None
    target_session_attrs: str = "any"
    server_settings: Mapping[str, str] = field(default_factory=dict)
    keepalive: Mapping[str, int] = field(default_factory=dict)


def split(query: str) -> dict[str, str]:
    """Return the options by name, decoded; raises ValueError for a query that two readers could read differently."""
    given: dict[str, str] = {}
    if "?" in query:
        raise ValueError("has a second ?: write & between two options, and a ? in a value as %3F")
    if "+" in query:
        raise ValueError("has a + in its options: write it as %2B, and a blank as %20")
    for item in query.split("&") if query else ():
        name, equals, value = item.partition("=")
        if not (equals and name):
            raise ValueError("has an option without a =: write name=value, and one & between two of them")
        name, value = decoded(name, _PART), decoded(value, _PART)
        if name in given:
            raise ValueError(f"has {_shown(name)} more than once: keep one of them")
        given[name] = value
    return given


def _shown(name: str) -> str:
    return f"the option {name}" if name in names.DONE else "an option"


def read(given: Mapping[str, str], environment: Mapping[str, str], *, over_sockets: bool) -> Options:
    """Return what these options ask for; raises ValueError, which names the option.

    What the address does not say about security counts as `environment` has it (`PGSSLMODE`), as with libpq.
    """
    _refuse(given)
    outer = {name: environment[key] for name, key in names.ENVIRONMENT.items() if environment.get(key)}
    everything = _without_useless({**outer, **given}, explicit=given, over_sockets=over_sockets)
    for name, value in everything.items():
        if name not in given and (why := names.refusal(name, value, place=0, may_show=True)) is not None:
            raise ValueError(f"{names.ENVIRONMENT[name]} in the environment is as if the address had it: it {why}")
    for name, allowed in names.CHOICES.items():
        if everything.get(name, allowed[0]) not in allowed:
            article = "an" if name == "sslmode" else "the option"
            raise ValueError(f"has {article} {name} that is none of {', '.join(allowed)}")
    return Options(
        tls=_tls(everything),
        connect_seconds=_seconds(given),
        target_session_attrs=everything.get("target_session_attrs", "any"),
        server_settings={name: given[name] for name in ("application_name", "options") if name in given},
        keepalive={name: _number(name, given[name]) for name in names.KEEPALIVES if name in given},
    )


def _refuse(given: Mapping[str, str]) -> None:
    if (several := names.foreign(given)) is not None:
        raise ValueError(several)
    may_show = (
        not {"password", "sslpassword"} & given.keys()
    )  # a raw & in one of these begins what looks like an option
    for place, (name, value) in enumerate(given.items(), start=1):
        if (why := names.refusal(name, value, place=place, may_show=may_show)) is not None:
            raise ValueError(why)
        if not value:
            raise ValueError(f"has the option {name} without a value: remove it")


def _without_useless(options: dict[str, str], *, explicit: Mapping[str, str], over_sockets: bool) -> dict[str, str]:
    """Return the options without those of the environment that do not concern this connection; raise for the address's own."""
    required = options.get("sslmode") in ENCRYPTED
    if over_sockets and required:
        if "sslmode" in explicit:
            raise ValueError("has a Unix socket, which has no TLS, and an sslmode that needs it: remove one of the two")
        required = False
        options["sslmode"] = "prefer"
    if not required:
        for name in (*names.FILES, *names.VERSIONS):
            if name in explicit:
                modes = f"sslmode={' or '.join(ENCRYPTED)}"
                only = "sslmode=verify-full" if explicit[name] == SYSTEM else modes
                raise ValueError(f"has {name}{_system(explicit[name])}, which counts only with {only}: add it")
            options.pop(name, None)
    if options.get("sslrootcert") == SYSTEM and options["sslmode"] != "verify-full":
        raise ValueError(
            "has sslrootcert=system, which counts only with sslmode=verify-full: anybody gets a certificate there"
        )
    if options.get("sslnegotiation") == "direct" and not required:
        if "sslnegotiation" in explicit:
            raise ValueError(f"has sslnegotiation=direct, which needs sslmode={' or '.join(ENCRYPTED)}: add it")
        options.pop("sslnegotiation")
    return options


def _system(value: str) -> str:
    return f"={SYSTEM}" if value == SYSTEM else ""


def _tls(options: Mapping[str, str]) -> Tls:
    lowest, highest = options.get("ssl_min_protocol_version"), options.get("ssl_max_protocol_version")
    order = names.CHOICES["ssl_min_protocol_version"]
    if lowest and highest and order.index(lowest) > order.index(highest):
        raise ValueError("has an ssl_min_protocol_version above its ssl_max_protocol_version: exchange them")
    authority = options.get("sslrootcert")
    return Tls(
        mode=options.get("sslmode", "prefer"),
        ca_file=authority if authority in (None, SYSTEM) else Path(authority),
        certificate_file=_path(options.get("sslcert")),
        key_file=_path(options.get("sslkey")),
        key_password=options.get("sslpassword"),
        crl_file=_path(options.get("sslcrl")),
        lowest=lowest,
        highest=highest,
        direct=options.get("sslnegotiation") == "direct",
        shows_certificate=options.get("sslcertmode") != "disable",
    )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _seconds(options: Mapping[str, str]) -> float | None:
    if "connect_timeout" not in options:
        return None
    seconds = _number("connect_timeout", options["connect_timeout"])
    if not 1 <= seconds <= _MOST_SECONDS:
        raise ValueError(
            f"has a connect_timeout that is not from 1 to {_MOST_SECONDS} seconds: no wait is without an end here"
        )
    return float(seconds)


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _MOST):
        raise ValueError(f"has the option {name} with a value that is no whole number: correct it")
    return int(text)
