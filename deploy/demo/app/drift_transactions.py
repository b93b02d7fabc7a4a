"""Drift of transactions: rows that are still pending, with and without a proof of what became of them."""

from datetime import timedelta
from hashlib import sha256

from stellar_sdk import FeeBumpTransactionEnvelope, TransactionEnvelope

from deploy.demo.app import envelopes
from deploy.demo.app.rows import row_id
from deploy.demo.app.scene import Expected, NoTargetError, Scene

Findings = list[Expected]


def pending_though_succeeded(scene: Scene) -> Findings:
    """The checker never came back to it."""
    return _pending_again(scene, outcome="success", legacy_column=False)


def pending_though_failed(scene: Scene) -> Findings:
    """Included in a ledger, and failed there."""
    return _pending_again(scene, outcome="failed", legacy_column=False)


def pending_in_the_old_column(scene: Scene) -> Findings:
    """Succeeded, and its hash is in `hash`, where the checker does not look."""
    return _pending_again(scene, outcome="success", legacy_column=True)


def pending_expired(scene: Scene) -> Findings:
    """Never included: the stored hash is its envelope's, and the envelope's time is over."""
    envelope = _deposit(scene)
    return _insert(scene, hash_=envelope.hash_hex(), xdr=envelope.to_xdr(), outcome="repaired")


def pending_without_envelope(scene: Scene) -> Findings:
    """Its hash is nowhere on chain, and what is stored as its envelope is none."""
    hash_ = sha256(f"without envelope {scene.random.random()}".encode()).hexdigest()
    return _insert(scene, hash_=hash_, xdr="AAAAAgAAAA-not-an-envelope", outcome="unknown")


def pending_of_another_envelope(scene: Scene) -> Findings:
    """The client rebuilt the transaction: the stored envelope is over, but the stored hash is not its."""
    rebuilt = _deposit(scene)
    return _insert(scene, hash_=rebuilt.hash_hex(), xdr=_deposit(scene).to_xdr(), outcome="unknown")


def pending_fee_bump(scene: Scene) -> Findings:
    """The stored hash is the fee bump's, the stored envelope the inner one: its time bounds prove nothing of that hash."""
    envelope = _deposit(scene)
    outer: FeeBumpTransactionEnvelope = envelopes.fee_bump(envelope, sponsor=_wallet(scene))
    return _insert(scene, hash_=outer.hash_hex(), xdr=envelope.to_xdr(), outcome="unknown")


def pending_without_expiry(scene: Scene) -> Findings:
    """The envelope has no max time: it may still be submitted."""
    envelope = _deposit(scene, lifetime=None)
    return _insert(scene, hash_=envelope.hash_hex(), xdr=envelope.to_xdr(), outcome="unknown")


def _pending_again(scene: Scene, *, outcome: str, legacy_column: bool) -> Findings:
    row, transaction = scene.row("transactions", lambda row: row["status"] == outcome)
    hash_ = str(row["transaction_hash"])
    scene.update("transactions", transaction, status="pending", result=None, error=None, completed_at=None)
    if legacy_column:
        scene.update("transactions", transaction, hash=hash_, transaction_hash=None)
    return [_finding(scene, transaction, hash_, "repaired")]


def _insert(scene: Scene, *, hash_: str, xdr: str, outcome: str) -> Findings:
    submitted_at = scene.before(_AGE)
    transaction = row_id("transactions", hash_)
    scene.insert(
        "transactions",
        {
            "id": transaction,
            "user_wallet": _wallet(scene),
            "hash": None,
            "transaction_hash": hash_,
            "type": "deposit",
            "status": "pending",
            "xdr": xdr,
            "result": None,
            "error": None,
            "submitted_at": submitted_at,
            "completed_at": None,
            "updated_at": submitted_at,
        },
    )
    return [_finding(scene, transaction, hash_, outcome)]


def _finding(scene: Scene, transaction: str, hash_: str, outcome: str) -> Expected:
    return scene.finding(
        "orphaned_pending_transaction",
        "transactions",
        transaction,
        f"transaction:{hash_}",
        columns=frozenset({"status"}) if outcome == "repaired" else None,
        outcome=outcome,
        compare=False,
    )


_AGE = timedelta(hours=3)
"""Before the truth's ledger, the pending rows that no chain knows of were submitted: all their envelopes are over by then."""


def _deposit(scene: Scene, *, lifetime: timedelta | None = envelopes.LIFETIME) -> TransactionEnvelope:
    """A deposit of an amount that no other has, so that its hash is its own."""
    return envelopes.deposit(
        scene.truth,
        wallet=_wallet(scene),
        amount=1 + scene.random.randrange(10**9),
        built_at=scene.before(_AGE),
        lifetime=lifetime,
    )


def _wallet(scene: Scene) -> str:
    wallets = sorted(str(user["wallet_address"]) for user in scene.true["users"].values())
    if not wallets:
        raise NoTargetError("the history has no user yet")
    return scene.random.choice(wallets)
