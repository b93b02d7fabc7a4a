"""Envelope, result and metadata of a transaction: as recorded, or built from the call where a recording has none.

What is built says which contract was called how, by whom, and with what outcome; fees, most footprints and signatures are not
modelled, and its hash is not the recorded one.
"""

import hashlib
from functools import lru_cache
from typing import NamedTuple

from stellar_sdk import Account, StrKey, TransactionBuilder, xdr

from deploy.localnet import history, toid, xdrtext

FEE = 100
_VALID_SECONDS = 300
_EXTEND = "op:ExtendFootprintTtl"
_NO_EXT = xdr.ExtensionPoint(0)
_EVENT_TYPES = {"contract": xdr.ContractEventType.CONTRACT, "system": xdr.ContractEventType.SYSTEM}


class Parts(NamedTuple):
    """Base64 XDR: TransactionEnvelope, TransactionResult, TransactionMeta."""

    envelope: str
    result: str
    meta: str


def parts(transaction: history.Transaction, passphrase: str) -> Parts:
    """What getTransaction shows of a transaction."""
    if "envelopeXdr" not in transaction:
        return Parts(_envelope(transaction, passphrase), _result(transaction), _meta(transaction))
    meta = transaction.get("resultMetaXdr") or _meta(transaction)
    return Parts(transaction["envelopeXdr"], transaction["resultXdr"], meta)


@lru_cache(maxsize=1024)
def meta_of(text: str) -> xdr.TransactionMetaV4:
    """The metadata, decoded. Raises ValueError for those of before Protocol 23."""
    meta = xdr.TransactionMeta.from_xdr(text)
    if meta.v4 is None:
        raise ValueError(f"transaction metadata of version {meta.v} are not served")
    return meta.v4


def _envelope(transaction: history.Transaction, passphrase: str) -> str:
    sequence = toid.pack(transaction["ledger"], transaction["txOrder"], 0)
    builder = TransactionBuilder(Account(transaction["source"], sequence), passphrase, base_fee=FEE)
    footprint = xdr.LedgerFootprint(read_only=[], read_write=[])
    function = transaction["function"]
    if function == _EXTEND:
        entries = transaction.get("entries", [])
        builder.append_extend_footprint_ttl_op(_extended_by(entries, transaction["ledger"]))
        footprint.read_only = [xdr.LedgerKey.from_xdr(entry["key"]) for entry in entries]
    else:
        builder.append_invoke_contract_function_op(
            contract_id=transaction["contractId"],
            function_name=function,
            parameters=[xdr.SCVal.from_xdr(argument) for argument in transaction["args_xdr"]],
        )
    builder.add_time_bounds(0, transaction["closedAt"] + _VALID_SECONDS)
    nothing = xdr.Uint32(0)
    resources = xdr.SorobanResources(
        footprint=footprint, instructions=nothing, disk_read_bytes=nothing, write_bytes=nothing
    )
    soroban = xdr.SorobanTransactionData(
        ext=xdr.SorobanTransactionDataExt(0), resources=resources, resource_fee=xdr.Int64(0)
    )
    return builder.set_soroban_data(soroban).build().to_xdr()


def _extended_by(entries: list[history.Entry], ledger: int) -> int:
    return max((entry.get("liveUntilLedgerSeq", ledger) - ledger for entry in entries), default=0)


def _result(transaction: history.Transaction) -> str:
    succeeded = transaction["status"] == "SUCCESS"
    code = xdr.TransactionResultCode.txSUCCESS if succeeded else xdr.TransactionResultCode.txFAILED
    operation = _extended(succeeded) if transaction["function"] == _EXTEND else _invoked(transaction, succeeded)
    result = xdr.TransactionResult(
        fee_charged=xdr.Int64(FEE),
        result=xdr.TransactionResultResult(
            code, results=[xdr.OperationResult(xdr.OperationResultCode.opINNER, tr=operation)]
        ),
        ext=xdr.TransactionResultExt(0),
    )
    return xdrtext.encode(result)


def _extended(succeeded: bool) -> xdr.OperationResultTr:
    codes = xdr.ExtendFootprintTTLResultCode
    code = codes.EXTEND_FOOTPRINT_TTL_SUCCESS if succeeded else codes.EXTEND_FOOTPRINT_TTL_RESOURCE_LIMIT_EXCEEDED
    result = xdr.ExtendFootprintTTLResult(code)
    return xdr.OperationResultTr(xdr.OperationType.EXTEND_FOOTPRINT_TTL, extend_footprint_ttl_result=result)


def _invoked(transaction: history.Transaction, succeeded: bool) -> xdr.OperationResultTr:
    codes = xdr.InvokeHostFunctionResultCode
    if succeeded:
        returned, events = _returned(transaction), _contract_events(transaction)
        preimage = xdr.InvokeHostFunctionSuccessPreImage(return_value=returned, events=events).to_xdr_bytes()
        digest = xdr.Hash(hashlib.sha256(preimage).digest())
        result = xdr.InvokeHostFunctionResult(codes.INVOKE_HOST_FUNCTION_SUCCESS, success=digest)
    else:
        result = xdr.InvokeHostFunctionResult(codes.INVOKE_HOST_FUNCTION_TRAPPED)
    return xdr.OperationResultTr(xdr.OperationType.INVOKE_HOST_FUNCTION, invoke_host_function_result=result)


def _meta(transaction: history.Transaction) -> str:
    succeeded = transaction["status"] == "SUCCESS"
    operation = xdr.OperationMetaV2(ext=_NO_EXT, changes=_no_changes(), events=_contract_events(transaction))
    soroban = None
    if transaction["kind"] == "tx":
        soroban = xdr.SorobanTransactionMetaV2(
            ext=xdr.SorobanTransactionMetaExt(0),
            return_value=_returned(transaction) if succeeded and transaction.get("contractId") else None,
        )
    meta = xdr.TransactionMetaV4(
        ext=_NO_EXT,
        tx_changes_before=_no_changes(),
        operations=[operation] if succeeded else [],
        tx_changes_after=_no_changes(),
        soroban_meta=soroban,
        events=[],
        diagnostic_events=[],
    )
    return xdrtext.encode(xdr.TransactionMeta(4, v4=meta))


def _no_changes() -> xdr.LedgerEntryChanges:
    return xdr.LedgerEntryChanges([])


def _returned(transaction: history.Transaction) -> xdr.SCVal:
    text = transaction.get("returnValue")
    return xdr.SCVal.from_xdr(text) if text else xdr.SCVal(xdr.SCValType.SCV_VOID)


def _contract_events(transaction: history.Transaction) -> list[xdr.ContractEvent]:
    return [
        xdr.ContractEvent(
            ext=_NO_EXT,
            contract_id=_contract_id(event["contractId"]),
            type=_EVENT_TYPES[event["type"]],
            body=xdr.ContractEventBody(
                0,
                v0=xdr.ContractEventV0(
                    topics=[xdr.SCVal.from_xdr(segment) for segment in event.get("topic", [])],
                    data=xdr.SCVal.from_xdr(event["value"]),
                ),
            ),
        )
        for event in transaction.get("events", [])
    ]


def _contract_id(address: str) -> xdr.ContractID | None:
    return xdr.ContractID(xdr.Hash(StrKey.decode_contract(address))) if address else None
