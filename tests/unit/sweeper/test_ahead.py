"""Which findings rest on something newer than the watermark, and which only seem to."""

import pytest

from shared import position
from sweeper import ahead
from sweeper.ahead import Beyond
from sweeper.model import Finding


def finding(**evidence: object) -> Finding:
    return Finding(drift_class="stale_status", table="t", row_id="1", entity="e:1", words="", evidence=evidence)


@pytest.mark.parametrize(
    ("evidence", "watermark", "beyond"),
    [
        ({"known_at": position.end_of(100)}, 99, True),
        ({"known_at": position.end_of(100)}, 100, False),
        ({"known_at": position.end_of(100)}, 101, False),
        ({"known_at": position.before_observations(100)}, 100, False),
        ({}, 0, False),
        ({"known_at": None}, 0, False),
        ({"known_at": "somewhere"}, 0, True),
    ],
)
def test_a_finding_rests_beyond_the_watermark(evidence: dict[str, object], watermark: int, beyond: bool) -> None:
    assert ahead.rests_beyond(finding(**evidence), watermark) is beyond


SEEN = position.end_of(105)


@pytest.mark.parametrize(
    ("facts", "vouched"),
    [
        ([], False),
        ([Beyond(SEEN, True, 100)], True),
        ([Beyond(SEEN, True, 101)], False),
        ([Beyond(SEEN, True, None)], False),
        ([Beyond(SEEN, True, None), Beyond(SEEN, True, 90)], True),  # a score, and the map that holds it
        ([Beyond(SEEN, True, None), Beyond(position.end_of(106), True, 90)], False),
        ([Beyond(SEEN, True, 90), Beyond(position.end_of(106), True, 106)], False),
        ([Beyond(SEEN, True, 90), Beyond(position.end_of(103), False, None)], False),
    ],
)
def test_old_entries_observed_late_are_not_ahead(facts: list[Beyond], vouched: bool) -> None:
    assert ahead.is_vouched_for(facts, watermark=100) is vouched
