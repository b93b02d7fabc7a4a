"""getLatestLedger and getLedgers."""

from typing import cast

from stellar_sdk import xdr

from deploy.localnet import chain, headers, rpcerrors, toid, transactions, xdrtext
from deploy.localnet.shapes import Record, Text, Unsigned, decode

DEFAULT_LIMIT = 50
SHAPE = Record(
    "protocol.GetLedgersRequest",
    {"startLedger": Unsigned(32, "uint32"), "pagination": transactions.PAGINATION, "xdrFormat": Text()},
)


def get_latest_ledger(params: object, view: chain.View) -> dict[str, object]:
    """The newest ledger whole: a heavy answer, and on a long history a slow one the first time."""
    decode(params, Record("protocol.GetLatestLedgerRequest"))
    held = view.range(failing="could not get latest ledger sequence")
    newest = view.headers.ledger(held.latest)
    return {
        "id": newest.hash,
        "protocolVersion": view.protocol,
        "sequence": newest.sequence,
        "closeTime": str(held.latest_closed_at),
        "headerXdr": newest.header,
        "metadataXdr": newest.meta,
    }


def get_ledgers(params: object, view: chain.View) -> dict[str, object]:
    """A page of ledgers. A cursor at the tip is refused, not answered with an empty page."""
    request = cast(transactions.PageRequest, decode(params, SHAPE))
    held = view.range()
    form = transactions.checked_page(request, held)
    pagination = request.get("pagination", {})
    cursor = pagination.get("cursor", "")
    start = _after(cursor, held) if cursor else request["startLedger"]
    end = min(start + (pagination.get("limit", 0) or DEFAULT_LIMIT), held.latest + 1)
    return {
        "ledgers": [_rendered(view.headers.ledger(sequence), form, view) for sequence in range(start, end)],
        "latestLedger": held.latest,
        "latestLedgerCloseTime": held.latest_closed_at,
        "oldestLedger": held.oldest,
        "oldestLedgerCloseTime": held.oldest_closed_at,
        "cursor": str(end - 1),
    }


def _after(cursor: str, held: chain.Range) -> int:
    try:
        start = toid.parse_uint32(cursor) + 1
    except ValueError as error:
        raise rpcerrors.invalid_params(str(error)) from None
    if start not in held:
        raise rpcerrors.invalid_params(f"cursor ('{cursor}') must be {transactions.held_words(held)}")
    return start


def _rendered(ledger: headers.Ledger, form: xdrtext.Form, view: chain.View) -> dict[str, object]:
    known: dict[str, object] = {
        "hash": ledger.hash,
        "sequence": ledger.sequence,
        "ledgerCloseTime": str(view.history.closed_at(ledger.sequence)),
    }
    if form is xdrtext.Form.BASE64:
        return {**known, "headerXdr": ledger.history_entry, "metadataXdr": ledger.meta}
    return {
        **known,
        "headerXdr": "",
        "headerJson": xdrtext.as_json(ledger.history_entry, xdr.LedgerHeaderHistoryEntry),
        "metadataXdr": "",
        "metadataJson": xdrtext.as_json(ledger.meta, xdr.LedgerCloseMeta),
    }
