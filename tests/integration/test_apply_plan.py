"""A plan on a real PostgreSQL whose rows have gone on since: what is left, what is done already, and that the rest is written."""

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import pytest

from deploy import stack
from shared.settings import Policy
from sweeper import apply, plan_file
from sweeper.context import Context, Subject
from sweeper.model import Both, Finding, Outcome
from sweeper.plan_file import Change
from sweeper.report import Extent, Mode
from sweeper.session import Run, Session
from sweeper.storage import Storage
from tests.integration import repair_parts
from tests.integration.repair_parts import EARLIER, NOW, App


@dataclass
class Loans:
    """The subject, as far as a plan asks it: `now` is what it finds of the rows."""

    now: list[Finding] = field(default_factory=list)
    table: str = "loans"
    row_key: str = "loan_id"
    storage: Storage = field(default_factory=Storage)

    async def examine(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:  # noqa: ARG002 - the protocol's
        """What is to be written gets the time of this look, as the rules do it."""
        return [
            replace(one, update={**one.update, "updated_at": context.now}) if one.update else one for one in self.now
        ]

    async def confirm(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:  # noqa: ARG002 - the protocol's
        return list(findings)


@pytest.fixture
async def app(postgres: stack.Databases) -> AsyncIterator[App]:
    async with repair_parts.opened(postgres) as app:
        yield app


def changes(*findings: Finding) -> list[Change]:
    made = [plan_file.change_of(one, NOW) for one in findings]
    return [one for one in made if one is not None]


async def applied(app: App, planned: Sequence[Change], now: Sequence[Finding]) -> tuple[dict[str, str], list[str]]:
    """The outcomes by row, and the notes, of the plan where that is found by now."""
    run = Run(mode=Mode.APPLY, extent=Extent.PLAN, run_id=await app.begin("apply"))
    chosen = [cast("Subject", Loans(list(now)))]
    session = Session(run=run, context=app.context, chosen=chosen, settings=None)  # type: ignore[arg-type]  # not looked at
    findings = await apply._apply(session, planned)
    assert run.reasons == []
    return {one.row_id or "": one.outcome.value for one in findings}, run.notes


def found_as(finding: Finding, drift_class: str, **changed: Any) -> Finding:
    """The row, found under a class that is only reported."""
    nothing: dict[str, Any] = {"update": {}, "action": Policy.REPORT, "outcome": Outcome.REPORTED}
    return replace(finding, drift_class=drift_class, **{**nothing, **changed})


@pytest.mark.parametrize(
    ("planned_class", "by_now"),
    [
        ("stale_status", "forged_owner"),
        ("unresolved_provisional_id", "ambiguous_link"),
        ("unresolved_provisional_id", "duplicate_row"),
        ("stale_status", "absent_on_chain"),
    ],
)
async def test_a_row_that_nothing_can_be_written_for_any_more_is_left_and_the_others_are_written(
    app: App, planned_class: str, by_now: str
) -> None:
    gone_on = await app.finding(await app.loan(), drift_class=planned_class, status="completed")
    still = await app.finding(await app.loan(), status="completed")
    outcomes, notes = await applied(
        app, changes(gone_on, still), [found_as(gone_on, by_now, guard={}, columns={}), still]
    )
    assert outcomes == {gone_on.row_id: "skipped_changed", still.row_id: "repaired"}
    assert notes == []
    assert (await app.row(gone_on.row_id or ""))["status"] == "active"


async def test_what_is_written_has_the_time_of_the_look_that_found_it_anew(app: App) -> None:
    """A plan, and the run that applies it, may be older than what the row holds by now."""
    finding = await app.finding(await app.loan(), status="completed")
    planned, before = changes(finding), datetime.now(UTC)
    assert finding.row_id is not None
    assert (await applied(app, planned, [finding]))[0] == {finding.row_id: "repaired"}
    assert before <= (await app.row(finding.row_id))["updated_at"] <= datetime.now(UTC)


async def test_a_second_time_there_is_nothing_to_do_about_a_row_of_another_scale(app: App) -> None:
    """Its status was written, its amounts must not be: it is found again, as what no repair mends."""
    row_id = await app.loan()
    finding = await app.finding(row_id, status="completed", completed_at=EARLIER)
    planned = changes(finding)
    assert (await applied(app, planned, [finding]))[0] == {row_id: "repaired"}
    again = await app.finding(row_id)
    mismatch = found_as(again, "terms_mismatch", columns={"amount": Both(Decimal(100), Decimal(1))})
    outcomes, notes = await applied(app, planned, [mismatch])
    assert outcomes == {}
    assert notes == ["1 changes of loans are done already: the rows hold what the plan sets"]


async def test_a_row_that_holds_a_part_of_what_the_plan_sets_is_not_done(app: App) -> None:
    row_id = await app.loan()
    planned = changes(await app.finding(row_id, status="completed", completed_at=EARLIER))
    await app.connection.execute("UPDATE loans SET status = 'completed' WHERE id = $1", uuid.UUID(row_id))
    outcomes, notes = await applied(app, planned, [found_as(await app.finding(row_id), "terms_mismatch")])
    assert (outcomes, notes) == ({row_id: "skipped_changed"}, [])


async def test_what_is_done_is_compared_by_value_and_an_edited_or_rounded_value_is_in_no_row(app: App) -> None:
    await app.connection.execute("ALTER TABLE loans ALTER remaining_balance TYPE numeric(12,2)")
    await app.read_schema()
    rows = [await app.loan() for _ in range(4)]
    findings = [await app.finding(row_id, remaining_balance=Decimal("1.2300000")) for row_id in rows[:3]]
    findings.append(await app.finding(rows[3], remaining_balance=Decimal("1.2345678")))
    first, second, third, rounded = changes(*findings)
    edited = second.model_copy(update={"set": {"remaining_balance": "much"}})
    strange = third.model_copy(update={"set": {"no_such_column": "x"}})
    await app.connection.execute("UPDATE loans SET remaining_balance = 1.23")
    mismatches = [found_as(one, "terms_mismatch") for one in findings]
    outcomes, _ = await applied(app, [first, edited, strange, rounded], mismatches)
    assert outcomes == dict.fromkeys(rows[1:], "skipped_changed")
