"""The texts that a transaction's contract call names among its arguments: the app puts its provisional loan id there."""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from stellar_sdk import xdr
from stellar_sdk.exceptions import SdkError
from xdrlib3 import Error as XdrError

from sweeper.stepfi.envelopes import MAX_TEXT


def named_strings(text: str | None) -> frozenset[str]:
    """The String and Symbol arguments of every contract call in the base64 envelope; none for what is no envelope."""
    if not text or len(text) > MAX_TEXT:
        return frozenset()
    try:
        raw = base64.b64decode("".join(text.split()), validate=True)
        return frozenset(_strings(xdr.TransactionEnvelope.from_xdr_bytes(raw)))
    except (ValueError, TypeError, EOFError, RecursionError, XdrError, SdkError, binascii.Error):
        return frozenset()


def _strings(envelope: Any) -> Iterator[str]:
    match envelope.type:
        case xdr.EnvelopeType.ENVELOPE_TYPE_TX_V0:
            operations = envelope.v0.tx.operations
        case xdr.EnvelopeType.ENVELOPE_TYPE_TX:
            operations = envelope.v1.tx.operations
        case _:
            operations = envelope.fee_bump.tx.inner_tx.v1.tx.operations
    for operation in operations:
        call = operation.body.invoke_host_function_op
        if call is None or call.host_function.invoke_contract is None:
            continue
        for argument in call.host_function.invoke_contract.args:
            if argument.str is not None:
                yield argument.str.sc_string.decode("utf-8", "replace")
            elif argument.sym is not None:
                yield argument.sym.sc_symbol.decode("utf-8", "replace")
