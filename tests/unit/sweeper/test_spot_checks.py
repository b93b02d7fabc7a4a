"""The rounds of the spot checks: in the order of the keys, each key once a round, none passed by unanswered."""

import zlib
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sweeper import spot_checks
from sweeper.spot_checks import Round

NOW = datetime(2026, 9, 1, tzinfo=UTC)
FIRST = "loan:C:"


def run(
    held: Round | None, keys: list[str], *, limit: int, silent: frozenset[str] = frozenset(), now: datetime = NOW
) -> tuple[Round, list[str]]:
    """One run, as `check` puts it together: the round behind it, and the keys that were answered for."""

    def after(key: str) -> list[str]:
        return sorted(one for one in keys if one > key)[:limit]

    due = after(FIRST if held is None else held.after_key)
    before = spot_checks.begun(held, first=FIRST, is_over=limit > 0 and not due, now=now)
    due = due or after(before.after_key)
    return (
        spot_checks.advanced(before, due, silent=silent, limit=limit, now=now),
        [one for one in due if one not in silent],
    )


KEYS = [f"{FIRST}{number}" for number in range(1, 8)]


def test_a_round_goes_on_where_the_last_run_stopped_and_ends_with_the_last_key() -> None:
    held, asked = run(None, KEYS, limit=3)
    assert (asked, held.number, held.checked, held.last_ended_at) == (KEYS[:3], 1, 3, None)
    held, asked = run(held, KEYS, limit=3)
    assert (asked, held.checked, held.last_ended_at) == (KEYS[3:6], 6, None)
    held, asked = run(held, KEYS, limit=3, now=NOW + timedelta(hours=1))
    assert (asked, held.number, held.checked, held.last_ended_at) == (KEYS[6:], 1, 7, NOW + timedelta(hours=1))
    held, asked = run(held, KEYS, limit=3, now=NOW + timedelta(hours=2))
    assert (asked, held.number, held.checked, held.started_at) == (KEYS[:3], 2, 3, NOW + timedelta(hours=2))
    assert held.last_ended_at == NOW + timedelta(hours=1)


def test_keys_that_came_behind_the_cursor_are_of_the_same_round() -> None:
    held, _ = run(None, KEYS, limit=10)
    held, asked = run(held, [*KEYS, f"{FIRST}9"], limit=10)
    assert (asked, held.number, held.checked) == ([f"{FIRST}9"], 1, 8)


def test_what_nobody_answered_is_due_again_and_ends_no_round() -> None:
    held, _ = run(None, KEYS, limit=10, silent=frozenset(KEYS[2:]))
    assert (held.after_key, held.checked, held.last_ended_at) == (KEYS[1], 2, None)
    held, _ = run(held, KEYS, limit=10, silent=frozenset(KEYS))
    assert (held.after_key, held.checked, held.last_ended_at) == (KEYS[1], 2, None)
    held, asked = run(held, KEYS, limit=10)
    assert (asked, held.checked, held.last_ended_at) == (KEYS[2:], 7, NOW)


def test_a_round_whose_last_key_was_the_last_of_a_run_has_ended_once_the_next_begins() -> None:
    held, _ = run(None, KEYS, limit=7)
    assert (held.checked, held.last_ended_at) == (7, None)
    held, asked = run(held, KEYS, limit=7, now=NOW + timedelta(hours=1))
    assert (asked, held.number, held.last_ended_at) == (KEYS, 2, NOW + timedelta(hours=1))


def test_an_empty_table_has_no_end() -> None:
    held, asked = run(None, [], limit=5)
    held, asked = run(held, [], limit=5)
    assert (asked, held.number, held.checked, held.last_ended_at) == ([], 1, 0, None)


def test_no_checks_begin_no_round() -> None:
    held, _ = run(None, KEYS, limit=10)
    assert run(held, KEYS, limit=0) == (held, [])


@given(st.sets(st.integers(0, 999), min_size=1, max_size=60), st.integers(1, 70), st.integers(0, 2**32))
def test_every_key_is_asked_for_once_a_round_whatever_the_limit(numbers: set[int], limit: int, silence: int) -> None:
    keys = sorted(f"{FIRST}{number}" for number in numbers)
    held: Round | None = None
    asked: list[str] = []
    for turn in range(200):
        silent = frozenset(key for key in keys if turn < 3 and zlib.crc32(f"{key} {silence} {turn}".encode()) % 5 == 0)
        before = held
        held, _ = run(before, keys, limit=limit, silent=silent)
        if held.number > 1:
            break
        start = FIRST if before is None else before.after_key
        asked += [key for key in keys if start < key <= held.after_key]
    assert held is not None
    assert held.number == 2
    assert held.last_ended_at == NOW
    assert asked == keys
