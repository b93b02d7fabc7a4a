"""Cron expressions as cron reads them.

The library that keeps the time reads two things otherwise: it counts the days of the week from Monday, and where a day of the
month and one of the week are given it waits for both, while cron takes either.
"""

from datetime import UTC, datetime

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WEEK = len(_DAYS)


def trigger(expression: str) -> BaseTrigger:
    """When the expression comes due, in UTC; raises ValueError with what is wrong with it."""
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError("does not have five fields: minute, hour, day of month, month, day of week")
    minute, hour, day, month, weekday = fields
    time = {"minute": minute, "hour": hour, "month": month, "timezone": UTC}
    weekdays = ",".join(_DAYS[number] for number in sorted(_numbers(weekday)))
    if weekday.startswith("*") or day.startswith("*"):  # as cron has it: a field with a star restricts the other
        made = CronTrigger(day=day, day_of_week=weekdays, **time)
    else:
        made = OrTrigger([CronTrigger(day=day, **time), CronTrigger(day_of_week=weekdays, **time)])
    if made.get_next_fire_time(None, datetime.now(UTC)) is None:
        raise ValueError("names a day that never comes")
    return made


def _numbers(field: str) -> set[int]:
    """The days of the week, 0 for Sunday; cron writes Sunday as 7, too."""
    days: set[int] = set()
    for part in field.lower().split(","):
        span, slash, step = part.partition("/")
        first, dash, last = ("0", "-", "6") if span == "*" else span.partition("-")
        begin = _number(first)
        end = _number(last) if dash else _WEEK - 1 if slash else begin
        if end < begin and _DAYS[end % _WEEK] == "sun":
            end = _WEEK  # fri-sun
        if end < begin or (slash and not (step.isdecimal() and int(step) > 0)):
            raise ValueError(f"has {part!r} as a day of the week")
        days |= {number % _WEEK for number in range(begin, end + 1, int(step) if slash else 1)}
    return days


def _number(word: str) -> int:
    if word in _DAYS:
        return _DAYS.index(word)
    if not word.isdecimal() or int(word) > _WEEK:
        raise ValueError(f"has {word!r} as a day of the week")
    return int(word)
