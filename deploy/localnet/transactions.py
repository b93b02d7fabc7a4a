"""getTransaction and getTransactions."""

from typing import TypedDict, cast

from stellar_sdk import xdr

from deploy.localnet import chain, history, rpcerrors, synthetic, toid, xdrtext
from deploy.localnet.shapes import Record, Text, Unsigned, decode

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
_HASH_BYTES = 32


class HashRequest(TypedDict, total=False):
    hash: str
    xdrFormat: str


class Pagination(TypedDict, total=False):
    cursor: str
    limit: int


class PageRequest(TypedDict, total=False):
    startLedger: int
    pagination: Pagination
    xdrFormat: str


PAGINATION = Record("protocol.LedgerPaginationOptions", {"cursor": Text(), "limit": Unsigned(64, "uint")})
HASH_SHAPE = Record("protocol.GetTransactionRequest", {"hash": Text(), "xdrFormat": Text()})
PAGE_SHAPE = Record(
    "protocol.GetTransactionsRequest",
    {"startLedger": Unsigned(32, "uint32"), "pagination": PAGINATION, "xdrFormat": Text()},
)


def get_transaction(params: object, view: chain.View) -> dict[str, object]:
    """The outcome of a transaction, or NOT_FOUND. The inner hash of a fee bump finds it as well; the hash is echoed as sent."""
    request = cast(HashRequest, decode(params, HASH_SHAPE))
    form = xdrtext.checked_form(request.get("xdrFormat", ""))
    text = request.get("hash", "")
    tx_hash = _hash(text)
    held = view.range(failing=f"unable to get ledger range: {rpcerrors.EMPTY_STORE}")
    times: dict[str, object] = {
        "latestLedger": held.latest,
        "latestLedgerCloseTime": str(held.latest_closed_at),
        "oldestLedger": held.oldest,
        "oldestLedgerCloseTime": str(held.oldest_closed_at),
    }
    number = view.history.number_of(tx_hash)
    if number is None or view.history.ledger_of(number) not in held:
        missing = {
            "status": "NOT_FOUND",
            "txHash": text,
            "applicationOrder": 0,
            "feeBump": False,
            "events": {},
            "ledger": 0,
        }
        return {**times, **missing, "createdAt": "0"}
    found = view.history.transaction(number)
    return {**times, **_rendered(found, form, view), "txHash": text, "createdAt": str(found["closedAt"])}


def get_transactions(params: object, view: chain.View) -> dict[str, object]:
    """A page of transactions, with the cursors of a v28 server: who is caught up is sent back to the start of the tip ledger."""
    request = cast(PageRequest, decode(_named(params), PAGE_SHAPE))
    held = view.range()
    form = checked_page(request, held)
    pagination = request.get("pagination", {})
    limit = pagination.get("limit", 0) or DEFAULT_LIMIT
    ledger, order = request.get("startLedger", 0), 1
    if pagination.get("cursor"):
        ledger, order = _after(pagination["cursor"])
        if ledger < held.oldest:
            raise rpcerrors.invalid_params(f"database does not contain metadata for ledger: {ledger}")
    page: list[dict[str, object]] = []
    cursor = toid.pack(held.latest, 0, 1) if ledger <= held.latest else 0
    for number in view.history.numbers_from(ledger, order, held.latest):
        found = view.history.transaction(number)
        page.append({**_rendered(found, form, view), "createdAt": found["closedAt"]})
        if len(page) == limit or found["ledger"] == held.latest:
            cursor = toid.pack(found["ledger"], found["txOrder"], 1)
        if len(page) == limit:
            break
    return {
        "transactions": page,
        "latestLedger": held.latest,
        "latestLedgerCloseTimestamp": held.latest_closed_at,
        "oldestLedger": held.oldest,
        "oldestLedgerCloseTimestamp": held.oldest_closed_at,
        "cursor": str(cursor),
    }


def checked_page(request: PageRequest, held: chain.Range) -> xdrtext.Form:
    """Start, cursor, limit and format of a page of ledgers or transactions. Raises MethodError -32600."""
    faults = [_page_fault(request, held), xdrtext.form_fault(request.get("xdrFormat", ""))]
    told = [fault for fault in faults if fault]
    if told:
        raise rpcerrors.invalid_request("\n".join(told))
    return xdrtext.checked_form(request.get("xdrFormat", ""))


def _page_fault(request: PageRequest, held: chain.Range) -> str | None:
    start, pagination = request.get("startLedger", 0), request.get("pagination", {})
    cursor = pagination.get("cursor", "")
    if cursor and start:
        return f"startLedger ({start}) and cursor ({cursor}) cannot both be set"
    if not cursor and start not in held:
        return f"start ledger ({start}) must be {held_words(held)}"
    if pagination.get("limit", 0) > MAX_LIMIT:
        return f"limit must not exceed {MAX_LIMIT}"
    return None


def held_words(held: chain.Range) -> str:
    return f"between the oldest ledger: {held.oldest} and the latest ledger: {held.latest} for this rpc instance"


def _named(params: object) -> object:
    """This method alone takes its parameters by position too."""
    if not isinstance(params, list):
        return params
    names = list(PAGE_SHAPE.members)
    if len(params) != len(names):
        told = f"[-32602] got {len(params)} parameters, want {len(names)}"
        raise rpcerrors.MethodError(rpcerrors.INVALID_PARAMS, "invalid parameters", told)
    return dict(zip(names, params, strict=True))


def _after(cursor: str) -> tuple[int, int]:
    """The position behind a cursor: ledger and order. Its operation is ignored."""
    try:
        position = toid.parse_int64(cursor)
    except ValueError as error:
        raise rpcerrors.invalid_params(str(error)) from None
    if position < 0:
        raise rpcerrors.invalid_params("cursor ledger sequence cannot be negative")
    return toid.ledger_of(position), toid.order_of(position) + 1


def _hash(text: str) -> bytes:
    size = len(text.encode())
    if size // 2 != _HASH_BYTES:
        raise rpcerrors.invalid_params(f"unexpected hash length ({size})")
    for character in text:
        if character not in "0123456789abcdefABCDEF":
            told = f"U+{ord(character):04X}" + (f" '{character}'" if character.isprintable() else "")
            raise rpcerrors.invalid_params(f"incorrect hash: encoding/hex: invalid byte: {told}")
    if size % 2:
        raise rpcerrors.invalid_params("incorrect hash: encoding/hex: odd length hex string")
    return bytes.fromhex(text)


def _rendered(found: history.Transaction, form: xdrtext.Form, view: chain.View) -> dict[str, object]:
    parts = synthetic.parts(found, view.history.header["networkPassphrase"])
    suffix = "Json" if form is xdrtext.Form.JSON else "Xdr"

    return {
        "status": found["status"],
        "txHash": found["txHash"],
        "applicationOrder": found["txOrder"],
        "feeBump": found.get("feeBump", False),
        f"envelope{suffix}": xdrtext.shown(parts.envelope, xdr.TransactionEnvelope, form),
        f"result{suffix}": xdrtext.shown(parts.result, xdr.TransactionResult, form),
        f"resultMeta{suffix}": xdrtext.shown(parts.meta, xdr.TransactionMeta, form),
        **_diagnostics(parts.meta, suffix, form),
        "events": _events(parts.meta, suffix, form, succeeded=found["status"] == "SUCCESS"),
        "ledger": found["ledger"],
    }


def _diagnostics(meta: str, suffix: str, form: xdrtext.Form) -> dict[str, object]:
    events = synthetic.meta_of(meta).diagnostic_events
    return {f"diagnosticEvents{suffix}": [xdrtext.shown_value(event, form) for event in events]} if events else {}


def _events(meta: str, suffix: str, form: xdrtext.Form, *, succeeded: bool) -> dict[str, object]:
    """The events that the metadata carry, by stage and by operation; empty kinds are left out."""
    decoded = synthetic.meta_of(meta)
    events: dict[str, object] = {}
    if decoded.events:
        events[f"transactionEvents{suffix}"] = [xdrtext.shown_value(event, form) for event in decoded.events]
    if succeeded:
        events[f"contractEvents{suffix}"] = [
            [xdrtext.shown_value(event, form) for event in operation.events] for operation in decoded.operations
        ]
    return events
