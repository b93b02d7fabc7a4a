"""The parts of an address as text: user info, hosts, ports, %-sequences. Pure; shared by PostgreSQL, HTTP and Kafka.

Every refusal is a ValueError whose message quotes nothing of the address except single characters: what is read as a host or
an option may be the rest of a password that was not URL-encoded.
"""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

USER_INFO = "user or password"
HIGHEST_PORT = 65535
_WILD = frozenset("#?/[]@")
"""Characters that end or split the user info for some readers of addresses and not for others."""
_END_OF_HOSTS = re.compile(r"[/?]")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABELS = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?")
"""Longer and empty labels make Python's resolver raise UnicodeError instead of OSError."""
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


class Split(NamedTuple):
    """An address behind its `scheme://`, not decoded. `user_info` is None without an @; `tail` begins with / or ? or is empty."""

    user_info: str | None
    hosts: str
    tail: str


def split(rest: str) -> Split:
    """Split at the last @ and the first / or ? behind it; raises ValueError where another reader could split elsewhere."""
    if " " in rest:
        raise ValueError("has a blank: write it as %20")
    if not rest.isprintable():
        raise ValueError("has a control character or one that cannot be printed: remove it, or URL-encode it")
    user_info, at, behind = rest.rpartition("@")
    wild = next((character for character in user_info if character in _WILD), None)
    if wild is not None:
        article = "an" if wild == "@" else "a"
        further = "; write an @ behind the host as %40" if _END_OF_HOSTS.search(user_info) else ""
        raise ValueError(f"has {article} {wild} in its {USER_INFO}: write it as {quote(wild, safe='')}{further}")
    if "#" in behind:
        raise ValueError("has a # in a password or behind its host: write it as %23")
    end = _END_OF_HOSTS.search(behind)
    cut = len(behind) if end is None else end.start()
    return Split(user_info if at else None, behind[:cut], behind[cut:])


def decoded(text: str, part: str) -> str:
    """Return the text with its %-sequences decoded; `part` names it in the ValueError."""
    if _LONE_PERCENT.search(text):
        raise ValueError(f"has a % in its {part} without two hexadecimal digits behind it: write it as %25")
    try:
        plain = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ValueError(f"has a %-sequence in its {part} that is not UTF-8: URL-encode it as UTF-8") from None
    if "\0" in plain:
        raise ValueError(f"has %00 in its {part}, which no server takes: remove it")
    return plain


def user_and_password(user_info: str | None) -> tuple[str, str | None]:
    """Return both decoded; the user is "" where there is none, the password None where there is no colon."""
    user, colon, password = (user_info or "").partition(":")
    return decoded(user, USER_INFO), decoded(password, USER_INFO) if colon else None


def port(text: str) -> int:
    """Return the port; raises ValueError unless it is a number from 1 to 65535 in plain digits."""
    if _PORT.fullmatch(text) and 1 <= int(text) <= HIGHEST_PORT:
        return int(text)
    raise ValueError(f"has a port that is not a number from 1 to {HIGHEST_PORT}: write host:port")


def host_and_port(text: str) -> tuple[str, int | None]:
    """Return host and port (None: not given) of `host`, `host:port` or `[IPv6]:port`, the IPv6 address without brackets."""
    if not text:
        raise ValueError("has an empty host: write host:port, and one comma between two of them")
    if text.startswith("["):
        inner, bracket, behind = text[1:].partition("]")
        if not bracket or (behind and not behind.startswith(":")):
            raise ValueError("has an IPv6 address without its closing bracket: write [::1]:port")
        return _ipv6(inner), port(behind[1:]) if behind else None
    if text.count(":") > 1:
        raise ValueError("has an IPv6 address without square brackets: write [::1]:port")
    name, colon, number = text.partition(":")
    given = port(number) if colon else None  # first: what is no port is most often a password
    return host(name), given


def host(name: str) -> str:
    """Return the host name or IPv4 address; raises ValueError for anything that a resolver would not take."""
    if not name:
        raise ValueError("has an empty host: write host:port, and one comma between two of them")
    if len(name) > 253 or not _LABELS.fullmatch(name):
        raise ValueError("has a host that is no host name: write letters, digits, dots and hyphens (IDN as xn--…)")
    return name


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(decoded(text, "host")))
    except ValueError:
        raise ValueError("has an IPv6 address that is none: write [::1]:port") from None
