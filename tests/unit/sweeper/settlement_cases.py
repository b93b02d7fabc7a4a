"""Envelopes, what nodes tell of them, and rows that wait for them; tests change what they are about."""

from stellar_sdk import (
    Account,
    Asset,
    Keypair,
    Network,
    TransactionBuilder,
    TransactionEnvelope,
)

from shared import rpc
from sweeper.stepfi import row_verdicts, settlement
from sweeper.stepfi.envelopes import Envelope
from sweeper.stepfi.settlement import Fate, Pending, StoredEvent, Told

PASSPHRASE = Network.TESTNET_NETWORK_PASSPHRASE
WALLET = Keypair.from_raw_ed25519_seed(bytes(31) + b"\x01").public_key
SPONSOR = Keypair.from_raw_ed25519_seed(bytes(31) + b"\x02")
MAX_TIME = 1_790_000_000


def built(*, max_time: int | None = MAX_TIME, v1: bool = True, ledger_bounds: bool = False) -> TransactionEnvelope:
    builder = TransactionBuilder(Account(WALLET, 7), PASSPHRASE, base_fee=100, v1=v1)
    builder.add_time_bounds(0, max_time or 0)
    if ledger_bounds:
        builder.set_ledger_bounds(1, 2)
    builder.append_payment_op(WALLET, Asset.native(), "1")
    envelope = builder.build()
    if max_time is None:
        envelope.transaction.preconditions = None
    return envelope


OWN, OTHER = "aa" * 32, "bb" * 32
SUBMITTED = MAX_TIME - 200
REACH = SUBMITTED - settlement.REACH_BACK_SECONDS
LATE = MAX_TIME + 1


def told_by(
    node: str = "one",
    *,
    status: str = "NOT_FOUND",
    ledger: int = 500,
    latest: int = LATE,
    oldest: int = REACH,
) -> rpc.Transaction:
    found = status != "NOT_FOUND"
    return rpc.Transaction(
        status=rpc.TransactionStatus(status),
        ledger=ledger if found else None,
        created_at=ledger * 10 if found else None,
        envelope_xdr="" if found else None,
        result_xdr="" if found else None,
        latest_ledger=1000,
        latest_close_time=latest,
        oldest_ledger=1,
        oldest_close_time=oldest,
        node=node,
    )


def pending(
    *hashes: str,
    unreadable: tuple[str, ...] = (),
    envelope_hash: str | None = OWN,
    max_time: int = MAX_TIME,
    submitted_at: int | None = SUBMITTED,
) -> Pending:
    envelope = None if envelope_hash is None else Envelope(hash=envelope_hash, max_time=max_time)
    return Pending(hashes=hashes or (OWN,), unreadable=unreadable, envelope=envelope, submitted_at=submitted_at)


def fate_of(row: Pending, *answers: rpc.Transaction, event: StoredEvent | None = None, chain_time: int = LATE) -> Fate:
    told = [Told(tx_hash=tx_hash, answers=answers, event=event) for tx_hash in row.hashes]
    return row_verdicts.decide(row, told, chain_time=chain_time)
