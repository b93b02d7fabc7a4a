"""Strkeys: the text form of addresses (SEP-23), for accounts (`G…`) and contracts (`C…`).

    base32( version byte | 32 bytes | CRC16-XMODEM of both, little-endian )

35 bytes are exactly 56 letters, so there is one text for each address: no padding, no stray bits. Other strkeys (muxed
accounts, pools, claimable balances, muxed contracts, seeds) are refused by their version byte or their length.
"""

import base64
import binascii

_ACCOUNT = bytes([6 << 3])
_CONTRACT = bytes([2 << 3])
_LENGTH = 56


class Invalid(ValueError):
    """A text that is not the strkey asked for."""


def encode_account(key: bytes) -> str:
    """`G…` of an ed25519 public key (32 bytes)."""
    return _encode(_ACCOUNT, key)


def encode_contract(contract: bytes) -> str:
    """`C…` of a contract id (32 bytes)."""
    return _encode(_CONTRACT, contract)


def decode_account(text: str) -> bytes:
    """The 32 bytes of `G…`; raises Invalid."""
    return _decode(_ACCOUNT, text, "an account address (G…)")


def decode_contract(text: str) -> bytes:
    """The 32 bytes of `C…`; raises Invalid."""
    return _decode(_CONTRACT, text, "a contract address (C…)")


def _encode(version: bytes, payload: bytes) -> str:
    if len(payload) != 32:
        raise Invalid(f"an address has 32 bytes, not {len(payload)}")
    body = version + payload
    return base64.b32encode(body + _checksum(body)).decode()


def _decode(version: bytes, text: str, wanted: str) -> bytes:
    if len(text) != _LENGTH:
        raise Invalid(f"{text!r} is not {wanted}: it has {len(text)} characters instead of {_LENGTH}")
    try:
        data = base64.b32decode(text)
    except ValueError:
        raise Invalid(f"{text!r} is not {wanted}: only A to Z and 2 to 7 may stand there") from None
    body, checksum = data[:-2], data[-2:]
    if len(data) != 35 or _checksum(body) != checksum:
        raise Invalid(f"{text!r} is not {wanted}: its checksum is wrong, so a character is mistyped")
    if body[:1] != version:
        raise Invalid(f"{text!r} is not {wanted}: it is an address of another kind")
    return body[1:]


def _checksum(body: bytes) -> bytes:
    return binascii.crc_hqx(body, 0).to_bytes(2, "little")
