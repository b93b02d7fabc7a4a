"""What XDR of transactions says: the hash of an envelope and until when it may be included, and why a transaction failed.

Pure. Whatever stands in the application's column is read, and what is no envelope is None, never an error.
"""

import base64
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from stellar_sdk import xdr
from stellar_sdk.exceptions import SdkError
from xdrlib3 import Error as XdrError

MAX_TEXT = 256 * 1024
"""Characters of base64 that are read: half as much again as the network takes for one transaction (132,096 bytes)."""

_ED25519 = bytes(4)  # what the source account of a V0 transaction lacks before it is one of a V1 transaction
_UNREADABLE = (ValueError, TypeError, EOFError, RecursionError, XdrError, SdkError)
"""All that the decoder raises for bytes that are not what they claim to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A transaction as it was signed.

    hash        of the envelope itself, 64 hex digits: of a fee bump the outer one
    inner_hash  of what a fee bump wraps; None of anything else
    max_time    the last close time (unix seconds) at which it may be included; 0 is never over
    """

    hash: str
    inner_hash: str | None = None
    max_time: int

    @property
    def hashes(self) -> frozenset[str]:
        """All hashes that the transaction goes by."""
        return frozenset(one for one in (self.hash, self.inner_hash) if one is not None)


def read(text: str | None, *, passphrase: str) -> Envelope | None:
    """The base64 TransactionEnvelope (V0, V1 or fee bump) on the network; None for anything else."""
    if not text or len(text) > MAX_TEXT:
        return None
    try:
        raw = base64.b64decode("".join(text.split()), validate=True)
        return _envelope(xdr.TransactionEnvelope.from_xdr_bytes(raw), sha256(passphrase.encode()).digest())
    except _UNREADABLE:
        return None


def _envelope(envelope: Any, network: bytes) -> Envelope:
    """The hash is of the transaction as it came, not of one that was built anew from what was understood of it."""
    kind, wrapped = xdr.EnvelopeType.ENVELOPE_TYPE_TX, None
    match envelope.type:
        case xdr.EnvelopeType.ENVELOPE_TYPE_TX_V0:
            bounds = envelope.v0.tx.time_bounds
            body = _ED25519 + envelope.v0.tx.to_xdr_bytes()  # the network hashes it as the V1 that it is equal to
        case xdr.EnvelopeType.ENVELOPE_TYPE_TX:
            bounds = _time_bounds(envelope.v1.tx.cond)
            body = envelope.v1.tx.to_xdr_bytes()
        case _:
            inner = envelope.fee_bump.tx.inner_tx.v1.tx
            wrapped = _hash(network, kind, inner.to_xdr_bytes())
            kind = xdr.EnvelopeType.ENVELOPE_TYPE_TX_FEE_BUMP
            bounds = _time_bounds(inner.cond)  # it is as valid as what it pays for
            body = envelope.fee_bump.tx.to_xdr_bytes()
    return Envelope(
        hash=_hash(network, kind, body),
        inner_hash=wrapped,
        max_time=bounds.max_time.time_point.uint64 if bounds is not None else 0,
    )


def _hash(network: bytes, kind: Any, body: bytes) -> str:
    return sha256(network + kind.to_xdr_bytes() + body).hexdigest()


def _time_bounds(conditions: Any) -> Any:
    return conditions.v2.time_bounds if conditions.v2 is not None else conditions.time_bounds


def failure(result_xdr: str | None) -> str | None:
    """The codes of a failed transaction's base64 result, as `txFAILED, INVOKE_HOST_FUNCTION_TRAPPED`; None if unreadable."""
    if not result_xdr or len(result_xdr) > MAX_TEXT:
        return None
    try:
        result: Any = xdr.TransactionResult.from_xdr(result_xdr).result
    except _UNREADABLE:
        return None
    if result.inner_result_pair is not None:
        result = result.inner_result_pair.result.result
    codes = [code for operation in result.results or () if (code := _operation_code(operation)) is not None]
    return ", ".join([result.code.name, *codes[:1]])


def _operation_code(operation: Any) -> str | None:
    """Why an operation failed; None for one that did not."""
    if operation.tr is None:
        return str(operation.code.name)
    arms = (arm for name, arm in vars(operation.tr).items() if name != "type" and arm is not None)
    code = getattr(next(arms, None), "code", None)
    return str(code.name) if code is not None and code.value < 0 else None
