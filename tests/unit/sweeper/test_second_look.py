"""What the second look makes of a row that is found to be another entity's: the same row, in motion, not one that agrees."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from shared.settings import Kafka
from sweeper import observe
from sweeper.comparison import Comparison
from sweeper.context import Context, Subject
from sweeper.model import Answer, Finding
from sweeper.questions import Held

CONTEXT = cast("Context", None)
HELD = Held(key="k", xdr="x", last_modified=1, live_until=None, ledger=2, node="one")


def finding(row_id: str | None, entity: str | None, drift_class: str = "ambiguous_link", **more: Any) -> Finding:
    return Finding(drift_class=drift_class, table="loans", row_id=row_id, entity=entity, words="", **more)


@dataclass
class Looking:
    """A subject whose rows are found to be this by now."""

    found: Sequence[Finding]
    table: str = "loans"
    confirmed: list[Finding] = field(default_factory=list)

    async def examine(self, _: Context, __: Sequence[Finding]) -> list[Finding]:
        return list(self.found)

    async def look_again(self, context: Context, findings: Sequence[Finding]) -> list[Finding]:
        return await Comparison.look_again(cast("Comparison[Any]", self), context, findings)

    async def confirm(self, _: Context, findings: Sequence[Finding]) -> list[Finding]:
        self.confirmed += findings
        return list(findings)


class TestLookAgain:
    async def test_a_row_is_the_same_whatever_entity_it_is_found_to_be(self) -> None:
        now = finding("row-1", "loan:1", "unresolved_provisional_id")
        assert await Looking([now]).look_again(CONTEXT, [finding("row-1", None)]) == [now]

    async def test_what_was_not_found_before_is_not_found_again(self) -> None:
        others = [finding("row-2", "loan:1"), finding(None, "loan:2", "missing_row"), finding("loan:1", None)]
        assert await Looking(others).look_again(CONTEXT, [finding(None, "loan:3"), finding("row-1", "loan:1")]) == []

    async def test_a_missing_row_is_known_by_its_entity(self) -> None:
        missing = finding(None, "loan:1", "missing_row")
        assert await Looking([missing]).look_again(CONTEXT, [missing]) == [missing]


class TestMend:
    @pytest.fixture(autouse=True)
    def _told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def tell(*_: Any, **__: Any) -> None:
            return None

        monkeypatch.setattr(observe, "tell", tell)

    async def mended(self, subject: Looking, *findings: Finding) -> list[Finding]:
        return await observe.mend(CONTEXT, [cast("Subject", subject)], findings, settings=Kafka())

    async def test_a_row_of_another_entity_by_now_stays_and_is_unknown(self) -> None:
        before = finding("row-1", "loan:1", contradicted_by=HELD).with_evidence(first_seen="then")
        subject = Looking([finding("row-1", "loan:2", "stale_value")])
        (one,) = await self.mended(subject, before)
        assert (one.identity, one.answer) == (before.identity, Answer.UNKNOWN)
        assert "of another entity" in one.evidence["not_observed"]
        assert subject.confirmed == []

    async def test_the_same_entity_is_confirmed_and_keeps_its_age(self) -> None:
        before = finding("row-1", "loan:1", contradicted_by=HELD).with_evidence(first_seen="then")
        now = finding("row-1", "loan:1", "stale_value")
        assert await self.mended(Looking([now]), before) == [now.with_evidence(first_seen="then")]
        still = replace(now, contradicted_by=HELD)
        (one,) = await self.mended(Looking([still]), before)
        assert (one.answer, one.evidence["first_seen"]) == (Answer.UNKNOWN, "then")
