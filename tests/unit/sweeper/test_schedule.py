"""What is due, in which order, and what is made up for. No database: the work only notes that it was called."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from apscheduler.triggers.date import DateTrigger

from shared import errors
from shared.settings import Schedule
from shared.stepfi.settings import Settings
from sweeper import cron, schedule
from sweeper.records import Past
from sweeper.report import Extent

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
NIGHTLY = cron.trigger("0 3 * * *")
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
DUE = NOW - 9 * HOUR
"""3:00 of today."""


@pytest.mark.parametrize(
    ("past", "expected"),
    [
        (Past(), (NOW, NOW)),
        (Past(tried=NOW - 5 * HOUR), (NOW, NOW - 5 * HOUR)),
        (Past(tried=NOW - MINUTE), (NOW + 9 * MINUTE, NOW - MINUTE)),
        (Past(complete=NOW - 9 * HOUR, tried=NOW - 9 * HOUR), None),  # 3:00 of today
        (
            Past(complete=NOW - 10 * HOUR, tried=NOW - 10 * HOUR),
            (NOW, DUE),
        ),  # by hand at 2:00, and then nobody was there
        (Past(complete=NOW - 33 * HOUR, tried=NOW - 33 * HOUR), (NOW, DUE)),
        (Past(complete=NOW - 33 * HOUR, tried=NOW - 9 * HOUR), (NOW, DUE)),  # last night's was not complete
        (Past(complete=NOW - 33 * HOUR, tried=NOW - 2 * MINUTE), (NOW + 8 * MINUTE, DUE)),
        (
            Past(complete=NOW - 90 * HOUR, tried=NOW - 90 * HOUR),
            (NOW, DUE - 72 * HOUR),
        ),  # nobody was there for three nights
        (Past(complete=NOW, tried=NOW), None),
    ],
)
def test_a_full_sweep_that_was_missed_is_made_up_for(past: Past, expected: tuple[datetime, datetime] | None) -> None:
    found = schedule.missed(NIGHTLY, past, now=NOW)
    assert (None if found is None else (found.at, found.since)) == expected


def test_one_that_another_process_makes_as_this_one_starts_counts_from_its_time_on() -> None:
    """It began at 3:00, this process at 3:02: tried is again at 3:10, and by then what began at 3:00 is the one of this night."""
    last_night, began = DUE - 24 * HOUR, DUE + timedelta(milliseconds=40)
    found = schedule.missed(NIGHTLY, Past(complete=last_night + MINUTE, tried=began), now=DUE + 2 * MINUTE)
    assert found == schedule.Overdue(at=began + 10 * MINUTE, since=DUE)
    assert began >= found.since
    first_ever = schedule.missed(NIGHTLY, Past(tried=began), now=DUE + 2 * MINUTE)
    assert first_ever == schedule.Overdue(at=began + 10 * MINUTE, since=began)


def test_the_default_settings_are_a_timetable() -> None:
    assert set(schedule.timetable(Schedule())) == {Extent.FULL, Extent.CHANGED}


@pytest.mark.parametrize("word", ["off", "OFF", " off "])
def test_each_kind_can_be_switched_off_but_not_both(word: str) -> None:
    assert set(schedule.timetable(Schedule(full=word))) == {Extent.CHANGED}
    assert set(schedule.timetable(Schedule(changed=word))) == {Extent.FULL}
    with pytest.raises(errors.SettingError, match="CHAINTRUE_SCHEDULE__FULL and CHAINTRUE_SCHEDULE__CHANGED"):
        schedule.timetable(Schedule(full=word, changed=word))
    assert schedule.check_settings(Schedule(full=word, changed=word)) == {}  # no other command minds


@pytest.mark.parametrize("name", ["full", "changed"])
@pytest.mark.parametrize("expression", ["daily", "0 3 * *", "61 * * * *", "0 0 30 2 *"])
def test_a_wrong_expression_is_named_with_its_cure(name: str, expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = f"CHAINTRUE_SCHEDULE__{name.upper()}"
    monkeypatch.setenv(variable, expression)
    with pytest.raises(errors.SettingError) as raised:
        schedule.check_settings(Settings.load().schedule)
    assert variable in str(raised.value)
    assert expression in str(raised.value)
    assert "0 3 * * *" in (raised.value.cure or "")


class TestDue:
    async def test_the_full_one_comes_first_and_stands_for_the_other(self) -> None:
        due = schedule.Due()
        due.note(Extent.CHANGED, NOW)
        due.note(Extent.FULL, NOW + HOUR)
        assert await due.take() == (Extent.FULL, NOW + HOUR)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(due.take(), 0.01)

    async def test_what_comes_due_again_waits_once(self) -> None:
        due = schedule.Due()
        for hours in range(5):
            due.note(Extent.CHANGED, NOW + hours * HOUR)
        assert await due.take() == (Extent.CHANGED, NOW + 4 * HOUR)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(due.take(), 0.01)

    async def test_who_waits_is_woken(self) -> None:
        due = schedule.Due()
        taking = asyncio.create_task(due.take())
        await asyncio.sleep(0)
        due.note(Extent.CHANGED, NOW)
        assert await taking == (Extent.CHANGED, NOW)

    async def test_what_is_put_off_comes_at_its_time_with_the_time_since_when_it_is_due(self) -> None:
        due = schedule.Due()
        due.put_off(schedule.Overdue(at=soon(), since=NOW))
        due.note(Extent.CHANGED, NOW + HOUR)
        assert await due.take() == (Extent.CHANGED, NOW + HOUR)
        assert await due.take() == (Extent.FULL, NOW)

    @pytest.mark.parametrize("comes_before", [True, False])
    async def test_the_next_one_takes_the_place_of_what_is_put_off(self, *, comes_before: bool) -> None:
        due = schedule.Due()
        if comes_before:
            due.note(Extent.FULL, NOW + HOUR)
        due.put_off(schedule.Overdue(at=soon(), since=NOW))
        if not comes_before:
            due.note(Extent.FULL, NOW + HOUR)
        assert await due.take() == (Extent.FULL, NOW + HOUR)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(due.take(), 0.2)


async def scheduled(
    times: schedule.Timetable,
    work: Callable[[Extent, datetime], Awaitable[bool]],
    *,
    until: asyncio.Event,
    make_up: schedule.Overdue | None = None,
) -> None:
    """The schedule, until the test has seen enough."""
    async with asyncio.timeout(30):
        await schedule.run(times, work=work, make_up=make_up, stop=until)


def soon(milliseconds: float = 50) -> datetime:
    return datetime.now(UTC) + timedelta(milliseconds=milliseconds)


def overdue() -> schedule.Overdue:
    return schedule.Overdue(at=soon(), since=soon())


async def test_two_that_are_due_never_run_at_once() -> None:
    active, seen, enough = 0, [], asyncio.Event()

    async def work(extent: Extent, _: datetime) -> bool:
        nonlocal active
        active += 1
        assert active == 1
        seen.append(extent)
        if extent is Extent.FULL:
            await asyncio.sleep(0.3)  # the changed one comes due meanwhile, and waits
        else:
            enough.set()
        active -= 1
        return True

    times = {Extent.FULL: DateTrigger(soon()), Extent.CHANGED: DateTrigger(soon(150))}
    await scheduled(times, work, until=enough)
    assert seen == [Extent.FULL, Extent.CHANGED]


async def test_the_work_is_told_for_which_time_it_is() -> None:
    at, told, enough = soon(), [], asyncio.Event()

    async def work(extent: Extent, since: datetime) -> bool:
        told.append((extent, since))
        enough.set()
        return True

    make_up = schedule.Overdue(at=at, since=at - HOUR)
    await scheduled({Extent.CHANGED: NIGHTLY}, work, until=enough, make_up=make_up)
    assert told == [(Extent.FULL, at - HOUR)]


async def test_a_stop_cancels_what_goes_on() -> None:
    begun, ended = asyncio.Event(), []

    async def work(_: Extent, __: datetime) -> bool:
        begun.set()
        try:
            return await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # the end of a run is recorded
            ended.append(True)

    await scheduled({Extent.FULL: NIGHTLY}, work, until=begun, make_up=overdue())
    assert ended == [True]


async def test_a_mistake_of_the_work_is_not_swallowed() -> None:
    async def work(_: Extent, __: datetime) -> bool:
        raise LookupError("a mistake")

    with pytest.raises(LookupError):
        await scheduled({Extent.FULL: NIGHTLY}, work, until=asyncio.Event(), make_up=overdue())


class TestAnotherRunGoesOn:
    """It stands in the way of the first three tries."""

    @pytest.fixture(autouse=True)
    def quickly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(schedule, "AGAIN", timedelta(milliseconds=100))

    async def test_a_full_sweep_is_tried_again_until_it_is_made(self) -> None:
        tried, enough, due = [], asyncio.Event(), soon()

        async def work(extent: Extent, since: datetime) -> bool:
            tried.append((extent, since, datetime.now(UTC)))
            if len(tried) > 3:
                asyncio.get_running_loop().call_later(0.4, enough.set)
            return len(tried) > 3

        await scheduled({Extent.FULL: DateTrigger(due)}, work, until=enough)
        assert [one[:2] for one in tried] == [(Extent.FULL, due)] * 4
        waits = [after[2] - before[2] for before, after in pairwise(tried)]
        assert all(wait >= timedelta(milliseconds=95) for wait in waits)

    async def test_one_of_what_changed_is_left_out(self) -> None:
        tried, enough = [], asyncio.Event()

        async def work(extent: Extent, _: datetime) -> bool:
            tried.append(extent)
            asyncio.get_running_loop().call_later(0.4, enough.set)
            return False

        await scheduled({Extent.CHANGED: DateTrigger(soon())}, work, until=enough)
        assert tried == [Extent.CHANGED]

    async def test_a_stop_ends_the_waiting(self) -> None:
        begun, tried = asyncio.Event(), []

        async def work(extent: Extent, _: datetime) -> bool:
            tried.append(extent)
            begun.set()
            return False

        await scheduled({Extent.FULL: DateTrigger(soon())}, work, until=begun)
        await asyncio.sleep(0.3)
        assert tried == [Extent.FULL]
