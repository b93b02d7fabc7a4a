"""Drift of loans whose row has no id of the chain yet, and of rows that claim a loan which is not there."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from deploy.demo.app import chain, envelopes
from deploy.demo.app.rows import Row, row_id
from deploy.demo.app.scene import LINK_WINDOW, Expected, NoTargetError, Scene

Findings = list[Expected]


def provisional_by_hash(scene: Scene) -> Findings:
    """A `loan_create` transaction of the loan's own hash carries an envelope that names the provisional id."""
    return _named_by_transaction(scene, age=timedelta(minutes=3))


def provisional_by_hash_alone(scene: Scene) -> Findings:
    """The same, and the row is too old to be recognised by its terms: only the hash speaks."""
    return _named_by_transaction(scene, age=3 * LINK_WINDOW)


def provisional_by_terms(scene: Scene) -> Findings:
    """No hash, but wallet, vendor, total, guarantee and time fit this loan and no other, and no other row."""
    loan, row = scene.loan(_linkable(scene, timedelta(minutes=3)))
    _unlink(scene, loan, row, created_at=loan.creation.closed_at - timedelta(minutes=2), status="pending")
    return [scene.finding("unresolved_provisional_id", "loans", row, f"loan:{loan.loan_id}")]


def provisional_referenced(scene: Scene) -> Findings:
    """A row of default_detection_results refers to the provisional id, which therefore cannot be changed."""
    loan, row = scene.loan(_linkable(scene, timedelta(minutes=3)))
    provisional = _unlink(
        scene, loan, row, created_at=loan.creation.closed_at - timedelta(minutes=3), status="defaulted"
    )
    reference: Row = {
        "id": row_id("default_detection_results", provisional),
        "loan_id": provisional,
        "loan_db_id": row,
        "status": "skipped",
        "created_at": scene.truth.closed_at,
    }
    scene.insert("default_detection_results", reference)
    return [scene.finding("unresolved_provisional_id", "loans", row, f"loan:{loan.loan_id}", outcome="failed")]


def provisional_of_linked_loan(scene: Scene) -> Findings:
    """The user asked twice: a second row fits a loan that has its row already."""
    loan, linked = scene.loan(_linkable(scene, timedelta(minutes=3)))
    second = _second_row(scene, loan, linked, before=timedelta(minutes=3))
    return [scene.finding("duplicate_row", "loans", second, f"loan:{loan.loan_id}")]


def ambiguous_two_rows(scene: Scene) -> Findings:
    """Two rows fit one loan: the user asked twice, and one of the two came through."""
    loan, row = scene.loan(_linkable(scene, timedelta(minutes=3)))
    _unlink(scene, loan, row, created_at=loan.creation.closed_at - timedelta(minutes=2), status="pending")
    second = _second_row(scene, loan, row, before=timedelta(minutes=3))
    return [scene.finding("ambiguous_link", "loans", found, None, compare=False) for found in sorted((row, second))]


def ambiguous_two_loans(scene: Scene) -> Findings:
    """One row fits two loans of the same terms, made one shortly after the other."""
    for first in scene.truth.loans.values():
        twins = sorted(scene.twins(first), key=lambda loan: loan.loan_id)
        apart = twins[-1].creation.closed_at - twins[0].creation.closed_at
        rows = [row_id("loans", str(loan.loan_id)) for loan in twins]
        if len(twins) == 2 and apart < LINK_WINDOW / 2 and all(row in scene.rows["loans"] for row in rows):
            break
    else:
        raise NoTargetError("the history has no two loans of the same terms within the link window")
    _, row = scene.take("loans", [(twins[0], rows[0])])
    scene.delete("loans", rows[1])
    created_at = twins[0].creation.closed_at - timedelta(minutes=2)
    _unlink(scene, twins[0], row, created_at=created_at, status="pending")
    return [scene.finding("ambiguous_link", "loans", row, None, compare=False)]


def id_beyond_the_counter(scene: Scene) -> Findings:
    """The row's id is one that the contract never gave out."""
    absent = str(scene.truth.loan_counter + 1_000)
    scene.insert("loans", unlinked(scene, loan_id=absent, status="active", created_at=scene.before(timedelta(hours=6))))
    return [scene.finding("absent_on_chain", "loans", row_id("loans", absent), f"loan:{absent}", compare=False)]


def active_without_loan(scene: Scene) -> Findings:
    """Set active by the outcome of a transaction that made no loan."""
    created_at = scene.before(timedelta(hours=7))
    row = unlinked(scene, loan_id=scene.provisional_id(created_at), status="active", created_at=created_at)
    scene.insert("loans", row)
    return [scene.finding("absent_on_chain", "loans", str(row["id"]), None, compare=False)]


def abandoned_provisional(scene: Scene) -> Findings:
    """The user never signed."""
    created_at = scene.before(timedelta(hours=5))
    row = unlinked(scene, loan_id=scene.provisional_id(created_at), status="pending", created_at=created_at)
    scene.insert("loans", row)
    return [scene.finding("abandoned_provisional", "loans", str(row["id"]), None, compare=False)]


def unlinked(scene: Scene, *, loan_id: str, status: str, created_at: datetime) -> Row:
    """A row of `loans` that fits no loan of the chain: its amounts are nobody's."""
    users = sorted(str(user["wallet_address"]) for user in scene.true["users"].values())
    vendors = sorted(scene.true["vendors"])
    if not users or not vendors:
        raise NoTargetError("the history has no user or no vendor yet")
    total = (
        1 + max((loan.total_amount for loan in scene.truth.loans.values()), default=0) + scene.random.randrange(1_000)
    )
    guarantee = total // 5
    remaining = scene.amount(total - guarantee)
    return {
        "id": row_id("loans", loan_id),
        "loan_id": loan_id,
        "user_wallet": scene.random.choice(users),
        "vendor_id": scene.random.choice(vendors),
        "amount": scene.amount(total),
        "loan_amount": remaining,
        "guarantee": scene.amount(guarantee),
        "interest_rate": Decimal(8),
        "total_repayment": remaining,
        "remaining_balance": remaining,
        "term": 3,
        "status": status,
        "next_payment_due": created_at + timedelta(days=30),
        "created_at": created_at,
        "updated_at": created_at,
        "completed_at": None,
        "defaulted_at": None,
    }


def _named_by_transaction(scene: Scene, *, age: timedelta) -> Findings:
    """The row is `age` older than its loan."""
    linkable = _linkable(scene, age)

    def wanted(loan: chain.Loan) -> bool:
        transaction = row_id("transactions", loan.creation.transaction_hash)
        known = transaction in scene.true["transactions"] and scene.is_free("transactions", transaction)
        return known and linkable(loan)

    loan, row = scene.loan(wanted)
    _, transaction = scene.take("transactions", [(loan, row_id("transactions", loan.creation.transaction_hash))])
    created_at = loan.creation.closed_at - age
    provisional = _unlink(scene, loan, row, created_at=created_at, status="active")
    envelope = envelopes.create_loan(
        scene.truth,
        loan,
        provisional_id=provisional,
        vendor_row=str(scene.true["loans"][row]["vendor_id"]),
        built_at=created_at,
    )
    scene.update("transactions", transaction, xdr=envelope.to_xdr())
    return [scene.finding("unresolved_provisional_id", "loans", row, f"loan:{loan.loan_id}")]


def _unlink(scene: Scene, loan: chain.Loan, row: str, *, created_at: datetime, status: str) -> str:
    """Turn the loan's row back into what the API made of the request; returns its provisional id."""
    provisional = scene.provisional_id(created_at)
    defaulted_at = loan.defaulted_at or scene.truth.closed_at if status == "defaulted" else None
    scene.update(
        "loans",
        row,
        loan_id=provisional,
        status=status,
        remaining_balance=scene.quote(scene.true["loans"][row]),
        completed_at=None,
        defaulted_at=defaulted_at,
        created_at=created_at,
        updated_at=created_at,
    )
    return provisional


def _linkable(scene: Scene, age: timedelta) -> Callable[[chain.Loan], bool]:
    """Loans whose vendor has a row, and before which, by `age`, the history had begun."""

    def wanted(loan: chain.Loan) -> bool:
        row = scene.true["loans"][row_id("loans", str(loan.loan_id))]
        return row["vendor_id"] is not None and loan.creation.closed_at - age >= scene.truth.started_at

    return wanted


def _second_row(scene: Scene, loan: chain.Loan, row: str, *, before: timedelta) -> str:
    """Add a provisional row of the same terms, made `before` the loan; returns its id."""
    true = scene.true["loans"][row]
    created_at = loan.creation.closed_at - before
    provisional = scene.provisional_id(created_at)
    second: Row = {
        **true,
        "id": row_id("loans", provisional),
        "loan_id": provisional,
        "status": "pending",
        "remaining_balance": scene.quote(true),
        "completed_at": None,
        "defaulted_at": None,
        "created_at": created_at,
        "updated_at": created_at,
    }
    scene.insert("loans", second)
    return str(second["id"])
