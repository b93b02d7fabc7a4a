"""Which address a text of the application names, however it is written. Pure."""

import re
from collections.abc import Callable

from stellar_sdk import MuxedAccount
from stellar_sdk.exceptions import SdkError

from shared import strkey

_UNSEEN = re.compile(r"[^!-~]")
"""Blanks, and what is no printable ASCII: no address has such a character."""
_ADDRESS = re.compile(r"(?<![A-Z0-9])(?:[GC][A-Z2-7]{55}|M[A-Z2-7]{68})(?![A-Z0-9])")


def named(value: object) -> str | None:
    """Return the address that the text names, of a muxed one its account; a text without an address as it is, in capitals.

    None for what is no text, or has nothing in it.
    """
    if not isinstance(value, str):
        return None
    letters = _UNSEEN.sub("", value).upper()
    found = {_account(one) for one in _ADDRESS.findall(letters)}
    return found.pop() if len(found) == 1 else letters or None


def is_address(value: str) -> bool:
    """Whether the text is the address of an account or a contract."""
    return _is(strkey.decode_account, value) or _is(strkey.decode_contract, value)


def _is(decode: Callable[[str], bytes], value: str) -> bool:
    try:
        decode(value)
    except strkey.Invalid:
        return False
    return True


def _account(address: str) -> str:
    if not address.startswith("M"):
        return address
    try:
        return MuxedAccount.from_account(address).account_id
    except (ValueError, SdkError):
        return address
