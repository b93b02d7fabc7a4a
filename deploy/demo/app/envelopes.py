"""Transaction envelopes as the application's API and its clients build them, made with stellar-sdk. Nothing is signed."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from stellar_sdk import Account, FeeBumpTransactionEnvelope, TransactionBuilder, TransactionEnvelope, scval, xdr

from deploy.demo.app import chain

LIFETIME = timedelta(seconds=300)
"""For how long after its building the API lets an envelope be submitted."""


def build(
    *,
    passphrase: str,
    source: str,
    contract_id: str,
    function: str,
    arguments: Sequence[xdr.SCVal],
    not_before: datetime,
    not_after: datetime | None,
) -> TransactionEnvelope:
    """A call of `function`; `not_after` None is an envelope that never expires (max time 0)."""
    builder = TransactionBuilder(Account(source, _sequence(not_before)), passphrase, base_fee=100)
    builder.add_time_bounds(_seconds(not_before), 0 if not_after is None else _seconds(not_after))
    builder.append_invoke_contract_function_op(contract_id, function, arguments)
    return builder.build()


def deposit(
    truth: chain.ChainTruth,
    *,
    wallet: str,
    amount: int,
    built_at: datetime,
    lifetime: timedelta | None = LIFETIME,
) -> TransactionEnvelope:
    """The pool's `deposit` of `amount` smallest units by `wallet`; `lifetime` None never expires."""
    return build(
        passphrase=truth.passphrase,
        source=wallet,
        contract_id=truth.contracts["pool"],
        function="deposit",
        arguments=[scval.to_address(wallet), scval.to_int128(amount)],
        not_before=built_at,
        not_after=None if lifetime is None else built_at + lifetime,
    )


def create_loan(
    truth: chain.ChainTruth, loan: chain.Loan, *, provisional_id: str, vendor_row: str, built_at: datetime
) -> TransactionEnvelope:
    """What the API hands out for a new loan: it names the provisional id (and is not what the contract takes)."""
    return build(
        passphrase=truth.passphrase,
        source=loan.borrower,
        contract_id=truth.contracts["creditline"],
        function="create_loan",
        arguments=[
            scval.to_string(provisional_id),
            scval.to_string(vendor_row),
            scval.to_int128(loan.total_amount),
            scval.to_int128(loan.total_amount - loan.guarantee_amount),
            scval.to_int128(loan.guarantee_amount),
            scval.to_uint32(loan.interest_rate_bps),
            scval.to_uint32(max(1, len(loan.repayment_schedule))),
        ],
        not_before=built_at,
        not_after=built_at + timedelta(seconds=30),
    )


def fee_bump(envelope: TransactionEnvelope, *, sponsor: str) -> FeeBumpTransactionEnvelope:
    """The same transaction, paid for by `sponsor`: it has another hash."""
    return TransactionBuilder.build_fee_bump_transaction(sponsor, 1_000, envelope, envelope.network_passphrase)


def recorded(truth: chain.ChainTruth, transaction: chain.Transaction) -> str:
    """The envelope (base64) that the application keeps of a recorded transaction.

    Of a fee bump that is the inner one. Where the recording has none it is built anew from the call, and its hash is then not
    the recorded one: as in life, where the client rebuilds what the API gave it.
    """
    if transaction.envelope_xdr is None:
        envelope = build(
            passphrase=truth.passphrase,
            source=transaction.source,
            contract_id=transaction.contract_id,
            function=transaction.function,
            arguments=[xdr.SCVal.from_xdr(argument) for argument in transaction.args_xdr],
            not_before=transaction.closed_at - timedelta(seconds=10),
            not_after=transaction.closed_at + LIFETIME,
        )
        return str(envelope.to_xdr())
    if transaction.inner_hash is None:
        return transaction.envelope_xdr
    outer = FeeBumpTransactionEnvelope.from_xdr(transaction.envelope_xdr, truth.passphrase)
    return str(outer.transaction.inner_transaction_envelope.to_xdr())


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())


def _sequence(instant: datetime) -> int:
    """Sequence numbers only have to grow and to be the same in each run."""
    return _seconds(instant) << 20
