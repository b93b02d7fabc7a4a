"""Drift of loans that have their id: rows that are missing, behind the chain, ahead of it, or not its own."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from deploy.demo.app import chain
from deploy.demo.app.rows import row_id
from deploy.demo.app.scene import Expected, NoTargetError, Scene

Findings = list[Expected]


def missing_loan(scene: Scene) -> Findings:
    """The loan came to the chain by another client: the application never heard of it."""
    loan, row = scene.loan()
    scene.delete("loans", row)
    return [scene.finding("missing_row", "loans", None, _entity(loan))]


def status_active_though_paid(scene: Scene) -> Findings:
    """The repayment went by unseen: status, balance and completion are those of the day the loan was made."""
    loan, row = scene.loan(_with_status("Paid"))
    balance = scene.quote(scene.true["loans"][row])
    scene.update("loans", row, status="active", remaining_balance=balance, completed_at=None)
    return [scene.finding("stale_status", "loans", row, _entity(loan))]


def status_paid_word(scene: Scene) -> Findings:
    """A job wrote the chain's word where the application's is `completed`: the loan vanishes from the user's list."""
    loan, row = scene.loan(_with_status("Paid"))
    scene.update("loans", row, status="paid")
    return [scene.finding("stale_status", "loans", row, _entity(loan))]


def status_pending_with_chain_id(scene: Scene) -> Findings:
    """The id was resolved, the activation never ran."""
    loan, row = scene.loan(_with_status("Active"))
    scene.update("loans", row, status="pending")
    return [scene.finding("stale_status", "loans", row, _entity(loan))]


def status_pending_though_cancelled(scene: Scene) -> Findings:
    """Nobody in the application handles a cancellation."""
    loan, row = scene.loan(_with_status("Cancelled"))
    scene.update("loans", row, status="pending")
    return [scene.finding("stale_status", "loans", row, _entity(loan))]


def balance_of_the_app(scene: Scene) -> Findings:
    """The balance is the API's quote, whose formula is not the contract's."""
    loan, row = scene.loan(_with_status("Active", "Defaulted"))
    scene.update("loans", row, remaining_balance=scene.quote(scene.true["loans"][row]))
    return [scene.finding("stale_value", "loans", row, _entity(loan))]


def vendor_missing(scene: Scene) -> Findings:
    """The row names no vendor, though the chain's vendor has its row."""
    loan, row = scene.loan(
        lambda loan: scene.true["loans"][row_id("loans", str(loan.loan_id))]["vendor_id"] is not None
    )
    scene.update("loans", row, vendor_id=None)
    return [scene.finding("stale_value", "loans", row, _entity(loan))]


def completion_missing(scene: Scene) -> Findings:
    """Completed, but not when."""
    loan, row = scene.loan(_with_status("Paid"))
    scene.update("loans", row, completed_at=None)
    return [scene.finding("stale_value", "loans", row, _entity(loan))]


def default_missing(scene: Scene) -> Findings:
    """Defaulted, but not when."""
    loan, row = scene.loan(_with_status("Defaulted"))
    scene.update("loans", row, defaulted_at=None)
    return [scene.finding("stale_value", "loans", row, _entity(loan))]


def app_completed_though_active(scene: Scene) -> Findings:
    """The application's own arithmetic reached zero before the chain's did."""
    loan, row = scene.loan(_with_status("Active"))
    completed_at = loan.last_written_at + timedelta(minutes=2)
    scene.update("loans", row, status="completed", remaining_balance=Decimal(0), completed_at=completed_at)
    return [scene.finding("app_ahead_of_chain", "loans", row, _entity(loan))]


def app_defaulted_though_active(scene: Scene) -> Findings:
    """The detection of defaults goes by the first due date, the contract by the last, and its call may have failed."""
    loan, row = scene.loan(_with_status("Active"))
    scene.update("loans", row, status="defaulted", defaulted_at=scene.truth.closed_at - timedelta(minutes=30))
    return [scene.finding("app_ahead_of_chain", "loans", row, _entity(loan))]


def forged_wallet(scene: Scene) -> Findings:
    """The row gives the loan to another wallet."""
    loan, row = scene.loan()
    others = sorted(
        str(user["wallet_address"]) for user in scene.true["users"].values() if user["wallet_address"] != loan.borrower
    )
    if not others:
        raise NoTargetError("the history has only one wallet")
    scene.update("loans", row, user_wallet=scene.random.choice(others))
    return [scene.finding("forged_owner", "loans", row, _entity(loan))]


def terms_of_another_scale(scene: Scene) -> Findings:
    """The row was written when amounts were sent with two decimals: it is larger than the chain's by 10^5."""
    loan, row = scene.loan()
    scale = 10**5
    scene.update(
        "loans",
        row,
        amount=scene.amount(loan.total_amount * scale),
        loan_amount=scene.amount((loan.total_amount - loan.guarantee_amount) * scale),
        guarantee=scene.amount(loan.guarantee_amount * scale),
    )
    return [scene.finding("terms_mismatch", "loans", row, _entity(loan))]


def _entity(loan: chain.Loan) -> str:
    return f"loan:{loan.loan_id}"


def _with_status(*statuses: str) -> Callable[[chain.Loan], bool]:
    return lambda loan: loan.status in statuses
