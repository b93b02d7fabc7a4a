"""What looks like drift and is none: of every row here a sweep must say nothing.

They are planned last and go over all rows that are then there, but never into a value that an injection has changed.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from deploy.demo.app import drift_links
from deploy.demo.app.rows import Row, row_id
from deploy.demo.app.scene import LINK_WINDOW, Expected, NoTargetError, Scene

Findings = list[Expected]

_LATER = timedelta(seconds=47)
_ZEROS = Decimal("0E-18")


def under_review(scene: Scene) -> Findings:
    """No envelope was ever built for it: the chain has no say."""
    return _unlinked(scene, status="under_review", age=timedelta(hours=8))


def rejected(scene: Scene) -> Findings:
    """The same, and it never will."""
    return _unlinked(scene, status="rejected", age=timedelta(hours=9))


def fresh_provisional(scene: Scene) -> Findings:
    """Made minutes before the truth's ledger: its loan may yet come (until the link window is over)."""
    return _unlinked(scene, status="pending", age=LINK_WINDOW / 12)


def app_owned_columns(scene: Scene) -> Findings:
    """The application's own quote, due date and reservation, on every loan."""
    for loan, row in list(scene.rows["loans"].items()):
        scene.update(
            "loans",
            loan,
            interest_rate=Decimal("6.5"),
            total_repayment=scene.quote(row) + 7,
            next_payment_due=scene.truth.closed_at + timedelta(days=31),
            reservation_id=f"resv-{row['loan_id']}-0",
        )
    return []


def time_of_the_app(scene: Scene) -> Findings:
    """Completed and defaulted when the application noticed, some seconds after the chain."""
    for column in ("completed_at", "defaulted_at"):
        for loan, _, value in _agreed(scene, column):
            if isinstance(value, datetime):
                scene.update("loans", loan, **{column: value + _LATER})
    return []


def numeric_form(scene: Scene) -> Findings:
    """The same amounts with more zeros at the end."""
    for column in ("amount", "loan_amount", "guarantee", "remaining_balance"):
        for loan, _, value in _agreed(scene, column):
            if isinstance(value, Decimal):
                scene.update("loans", loan, **{column: value + _ZEROS})
    return []


def other_time_zone(scene: Scene) -> Findings:
    """The database speaks of the same instants in the time of another place."""
    scene.execute(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone TO %L', current_database(), 'Asia/Kolkata'); END $$"
    )
    return []


def old_user(scene: Scene) -> Findings:
    """A user from before the contracts."""
    row, user = scene.row("users")
    scene.update("users", user, username=f"first-{row['id']}", created_at=datetime(2019, 3, 1, tzinfo=UTC))
    return []


def misleading_index(scene: Scene) -> Findings:
    """An index table of the application that contradicts the chain: nobody reads it as truth."""
    rows = [row for row in scene.rows["loans"].values() if str(row["loan_id"]).isdecimal()]
    if not rows:
        raise NoTargetError("the history has no loan yet")
    row = scene.random.choice(rows)
    scene.insert(
        "loan_index",
        {
            "id": row_id("loan_index", str(row["loan_id"])),
            "loan_id": row["loan_id"],
            "user_wallet": row["user_wallet"],
            "status": "active" if row["status"] != "active" else "defaulted",
            "principal_amount": Decimal(1),
            "interest_amount": Decimal(0),
            "due_date": scene.truth.closed_at,
            "event_id": "0000000000000000000-0000000000",
        },
    )
    return []


def _agreed(scene: Scene, column: str) -> Iterator[tuple[str, Row, Decimal | datetime]]:
    """Loans whose `column` is still the true one: row id, row, value."""
    for loan, row in list(scene.rows["loans"].items()):
        value = row[column]
        if (
            isinstance(value, Decimal | datetime)
            and loan in scene.true["loans"]
            and value == scene.true["loans"][loan][column]
        ):
            yield loan, row, value


def _unlinked(scene: Scene, *, status: str, age: timedelta) -> Findings:
    created_at = scene.before(age)
    loan_id = scene.provisional_id(created_at)
    scene.insert("loans", drift_links.unlinked(scene, loan_id=loan_id, status=status, created_at=created_at))
    return []
