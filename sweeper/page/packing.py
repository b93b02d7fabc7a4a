"""Many small pieces of text, packed so that a browser can take them out: a JSON line each, gzip, base64."""

import zlib
from base64 import b64encode
from collections.abc import Iterable, Sequence

import orjson

_GZIP = 31
"""The size of the window, and 16 for the header of gzip, which browsers read."""


def pack(pieces: Iterable[Sequence[str]]) -> str:
    """All pieces; no more than one of them is in memory unpacked."""
    packer = zlib.compressobj(level=6, wbits=_GZIP)
    packed = [packer.compress(orjson.dumps(list(piece)) + b"\n") for piece in pieces]
    return b64encode(b"".join([*packed, packer.flush()])).decode()
