"""getLedgerEntries: the state of up to 200 keys, all at the newest ledger."""

from typing import TypedDict, cast

from stellar_sdk import xdr

from deploy.localnet import chain, history, rpcerrors, xdrtext
from deploy.localnet.shapes import Record, Sequence, Text, decode

MAX_KEYS = 200
MAX_KEY_BYTES = 16 * 1024
_TTL = b"\x00\x00\x00\x09"


class Request(TypedDict, total=False):
    keys: list[str]
    xdrFormat: str


SHAPE = Record("protocol.GetLedgerEntriesRequest", {"keys": Sequence(Text(), "[]string"), "xdrFormat": Text()})


def get_ledger_entries(params: object, view: chain.View) -> dict[str, object]:
    """The entries that exist, in the order of their keys; the others are left out without a marker."""
    request = cast(Request, decode(params, SHAPE))
    form = xdrtext.checked_form(request.get("xdrFormat", ""))
    texts = request.get("keys", [])
    if len(texts) > MAX_KEYS:
        raise rpcerrors.invalid_params(f"key count ({len(texts)}) exceeds maximum supported ({MAX_KEYS})")
    keys = [_key(text, index) for index, text in enumerate(texts)]
    held = view.range(failing=f"could not get latest ledger: {rpcerrors.EMPTY_STORE}")
    entries: list[dict[str, object]] = []
    for text, key in zip(texts, keys, strict=True):
        entry = view.entry(key, held.latest)
        if entry is None:
            continue
        if entry["key"] != text:
            raise rpcerrors.internal(f"mismatching key in result: {entry['key']}")
        entries.append(_rendered(entry, form))
    return {"entries": entries, "latestLedger": held.latest}


def _key(text: str, index: int) -> bytes:
    try:
        key = xdrtext.canonical_key(text)
    except ValueError:
        key = b""
    if not 0 < len(key) <= MAX_KEY_BYTES:
        raise rpcerrors.invalid_params(f"cannot unmarshal key value {text} at index {index}")
    if key.startswith(_TTL):
        raise rpcerrors.invalid_params("ledger ttl entries cannot be queried directly")
    return key


def _rendered(entry: history.Entry, form: xdrtext.Form) -> dict[str, object]:
    times: dict[str, object] = {"lastModifiedLedgerSeq": entry["lastModifiedLedgerSeq"]}
    if "liveUntilLedgerSeq" in entry:
        times["liveUntilLedgerSeq"] = entry["liveUntilLedgerSeq"]
    if form is xdrtext.Form.JSON:
        return {
            "keyJson": xdrtext.as_json(entry["key"], xdr.LedgerKey),
            "dataJson": xdrtext.as_json(entry["xdr"], xdr.LedgerEntryData),
            **times,
            "extJson": "v0",
        }
    return {"key": entry["key"], "xdr": entry["xdr"], **times, "extXdr": xdrtext.LEDGER_ENTRY_EXT_V0}
