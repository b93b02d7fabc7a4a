"""What people never see: secrets in addresses and assignments by their form, and those of the settings by their value.

The form alone is not enough: a key in the path of an address looks like any word. So whoever has read the settings tells what is
secret in them (`conceal`), and from then on each line is searched for it.
"""

import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote

from shared.section import PREFIX

HIDDEN = "***"
SHORTEST_PASSWORD = 4
SHORTEST_KEY = 12
"""A part of a path or a query that is shorter is no key, but a word (`/soroban/rpc`)."""
_LONG = 8
PIECE = 6
"""Pieces of a secret from this length on are hidden as well: an error that quotes a part of an address quotes such a piece."""
_SPLITS = re.compile(r"[#?/\[\]@:&%=+;,]")
"""Characters at which some reader of addresses splits."""
_MOST_SPLITS = 8

_USERINFO = re.compile(r"(?<=://)(?!user:password@host)[^/\s\"']+(?=@)")
_USERINFO_OF_POSTGRES = re.compile(r"(?<=postgres://|stgresql://)(?!user:password@host)[^\s\"']+(?=@)")
"""Up to the last @: a password that was not URL-encoded may hold a slash."""
# Not `CHAINTRUE_KAFKA__SASL_PASSWORD: Kafka refuses …`: there the name of a setting begins the words of an error.
# Nor `a # in its user or password: write it as %23` and `sslpassword: is not set`, words of our own.
_OUR_WORDS = r"is not set\b|does not open\b|counts only\b"
_ASSIGNED = re.compile(
    rf"(?i)(?<![\w-])(?<!user or )(?!{PREFIX}\w+: )"
    r"([\w-]*(?:password|passwd|secret|token|api[_-]?key)[\"']?\s*[=:]\s*[\"']?)"
    rf"(?!\*\*\*|{_OUR_WORDS})[^\s\"'&;,)}}\]]+"
)
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:([^:/@]*)(?::([^@]*))?@)?(.*)", re.DOTALL)
_known: list[re.Pattern[str]] = []


def mask(text: str) -> str:
    """The text without user names and passwords of addresses, values assigned to secret names, and all that is concealed."""
    for pattern in _known:
        text = pattern.sub(HIDDEN, text)
    text = _USERINFO.sub(HIDDEN, _USERINFO_OF_POSTGRES.sub(HIDDEN, text))
    return _ASSIGNED.sub(rf"\g<1>{HIDDEN}", text)


def conceal(secrets: Iterable[str]) -> None:
    """From now on these, in each form that a line may show them in, are masked; in place of those of before."""
    forms = {form for secret in secrets for form in _forms(secret)}
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    _known[:] = [re.compile("|".join(map(_pattern, longest_first)))] if forms else []


def parts(value: str) -> set[str]:
    """What is secret in a secret setting: of an address the password and what may be a key, otherwise all of it."""
    address = _ADDRESS.fullmatch(value)
    if address is None:
        return {value}
    scheme, user, password, rest = (part or "" for part in address.groups())
    place, _, query = rest.partition("?")
    host, *path = place.split("/")
    options = dict(option.partition("=")[::2] for option in query.split("&"))
    shown = {host.partition(":")[0], user} if password else {host.partition(":")[0]}
    if scheme.startswith("postgres"):
        shown |= set(path)  # a database that is called as its password is has no secret left
        keys = {each for name, each in options.items() if "password" in unquote(name)}
    else:
        keys = {each for each in (*path, *options.values()) if len(each) >= SHORTEST_KEY}
        keys |= set() if password else {user}
    secrets = {each for each in {password, *keys} - shown if len(each) >= SHORTEST_PASSWORD}
    return secrets | {piece for each in secrets for piece in _pieces(each)} - shown


def _pieces(secret: str) -> set[str]:
    """Return what lies between any two characters at which some reader of addresses splits, decoded.

    Of a secret with very many of them only what lies between neighbours, and its beginnings and ends: each line is searched
    for all of these.
    """
    plain = unquote(secret)
    splits = [match.start() for match in _SPLITS.finditer(plain)]
    begins, ends = [0, *(at + 1 for at in splits)], [*splits, len(plain)]
    if len(splits) <= _MOST_SPLITS:
        pairs = [(begin, end) for begin in begins for end in ends]
    else:
        pairs = [
            *zip(begins, ends, strict=True),
            *((0, end) for end in ends),
            *((begin, len(plain)) for begin in begins),
        ]
    return {plain[begin:end] for begin, end in pairs if PIECE <= end - begin < len(plain)}


def _forms(secret: str) -> Iterator[str]:
    plain = unquote(secret)
    for each in {secret, plain, quote(plain), quote(plain, safe="")}:
        yield each
        yield json.dumps(each)[1:-1]
        yield json.dumps(each, ensure_ascii=False)[1:-1]
        yield repr(each)[1:-1]


def _pattern(form: str) -> str:
    """A short one only as a word of its own: the password `test` is not in `latest`."""
    escaped = re.escape(form)
    return escaped if len(form) >= _LONG else rf"(?<!\w){escaped}(?!\w)"
