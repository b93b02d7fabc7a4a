"""Values that are too long to be quoted: cut to their beginning, with their length and hash.

A text column of the application may hold hundreds of megabytes. PostgreSQL cuts such a value before it is sent, so that one cell
costs neither memory nor the report. A cut value equals no value of the chain, so what is compared with it differs, as it should.
A guard, though, needs the whole value: a row of which a guarded value was cut is reported and never written.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sweeper.model import Both, Finding, Value

LONGEST = 1024
"""Bytes of a text that is read whole; addresses, ids, hashes and statuses have at most 64."""
LONGEST_WORDS = 2048
"""Characters of a finding's message."""
MOST_ITEMS = 200
"""Items of a list in the evidence."""
TOO_LONG = "too_long"
"""Evidence: the columns whose values are too long to guard a write."""
_KEPT = 64
_CUT = re.compile(r"… \[\d+ bytes, md5 [0-9a-f]{32}\]\Z")


def cut_sql(expression: str, *, longest: int = LONGEST) -> str:
    """Return SQL for the text of the expression, cut where it has more bytes than `longest`."""
    value = f"CAST({expression} AS text)"
    return (
        f"CASE WHEN octet_length({value}) <= {longest} THEN {value} ELSE left({value}, {_KEPT})"
        f" || '… [' || octet_length({value}) || ' bytes, md5 ' || md5({value}) || ']' END"
    )


def column(name: str, *, cut: bool, of: str = "row", named: str | None = None) -> str:
    """Return an item of a SELECT list: a column as text, whole or, with `cut`, as it may be quoted.

    The cast makes an enum comparable with words, and drops the blanks that pad a char(n).
    """
    return f"{cut_sql(f'{of}.{name}') if cut else f'CAST({of}.{name} AS text)'} AS {named or name}"


def is_cut(value: object) -> bool:
    """Return whether the value is only the beginning of what the row holds."""
    return isinstance(value, str) and _CUT.search(value) is not None


def shortened(value: str, *, longest: int = LONGEST) -> str:
    """Return the text, cut where it has more bytes than `longest`."""
    if len(value) * 4 <= longest or len(body := value.encode(errors="surrogatepass")) <= longest:
        return value
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return f"{value[:_KEPT]}… [{len(body)} bytes, md5 {digest}]"


def bounded(finding: Finding) -> Finding:
    """Return the finding with nothing in it longer than may be quoted; without its repair, where a guarded value was cut."""
    long = sorted(name for name, value in finding.guard.items() if is_cut(value) or _has_many_digits(value))
    words = finding.words
    if len(words) > LONGEST_WORDS:
        words = f"{words[:LONGEST_WORDS]}… [{len(words)} characters]"
    if long and finding.update:
        words += f" Nothing is written to this row: the value of {' and '.join(long)} is too long to be compared."
    evidence = {**finding.evidence, TOO_LONG: long} if long else finding.evidence
    return replace(
        finding,
        words=words,
        entity=None if finding.entity is None else shortened(finding.entity),
        columns={name: Both(_value(both.app), _value(both.chain)) for name, both in finding.columns.items()},
        evidence={name: _evidence(value) for name, value in evidence.items()},
        rests_on={name: _value(value) for name, value in finding.rests_on.items()},
        update={} if long else finding.update,
        guard={} if long else finding.guard,
    )


def _value(value: Value) -> Value:
    if isinstance(value, str):
        return shortened(value)
    return shortened(format(value, "f")) if isinstance(value, Decimal) and _has_many_digits(value) else value


def _has_many_digits(value: object) -> bool:
    """Whether it is an amount of more digits than may be quoted: an unlimited numeric holds 147,000 of them."""
    if not isinstance(value, Decimal) or not value.is_finite():
        return False
    _, digits, exponent = value.as_tuple()
    return len(digits) + abs(int(exponent)) > LONGEST


def _evidence(value: Any) -> Any:
    """A value of the evidence, whatever its kind."""
    match value:
        case str() | Decimal():
            return _value(value)
        case Mapping():
            return {name: _evidence(item) for name, item in value.items()}
        case list() | tuple():
            shown = [_evidence(item) for item in value[:MOST_ITEMS]]
            return shown if len(value) <= MOST_ITEMS else [*shown, f"… and {len(value) - MOST_ITEMS} more"]
    return value
