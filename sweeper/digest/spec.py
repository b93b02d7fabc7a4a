"""What of a table is hashed on both sides: the entity's key, and of each compared column a canonical form.

Equal forms must mean that no rule finds anything in the row; unequal forms only mean that the rules look at it. So a form may
make rows unequal that no rule would report (one candidate too many), never the reverse. The hashes of unequal forms are equal
with a probability below 10^-18 a row (`context/architecture-context.md`, "The sweep").
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

IT = "it"
"""How the expressions name the row that they are about: `it.status`."""
NOTHING = 0
"""Both hashes of a row that has nothing to be compared."""


class Kind(Enum):
    TEXT = "text"
    NUMBER = "numeric"
    FLAG = "boolean"


@dataclass(frozen=True, slots=True)
class Form:
    """One column's canonical form as SQL expressions on `it`, of the app's row and of the expected one."""

    kind: Kind
    app: str
    expected: str


def text(app: str, expected: str | None = None) -> Form:
    """A text column (of other names on the two sides, perhaps)."""
    return Form(Kind.TEXT, f"{IT}.{app}", f"{IT}.{expected or app}")


def number(column: str, *, tolerance: Decimal = Decimal(0)) -> Form:
    """Return the form of a numeric column. With a tolerance, both sides are rounded to a multiple of it.

    Equal multiples differ by less than the tolerance. `div` is exact, where the quotient of `/` is rounded and may cross a half.
    """
    value = f"CAST({IT}.{column} AS numeric)"
    if not tolerance:
        # The plus unpacks the stored value once, where each function that takes it would.
        return Form(Kind.NUMBER, f"+{value}", value)
    step = f"CAST('{tolerance:f}' AS numeric)"
    half_up = f"2 * {value} + CASE WHEN {value} < 0 THEN -{step} ELSE {step} END"
    rounded = f"div({half_up}, 2 * {step})"
    return Form(Kind.NUMBER, rounded, rounded)


def flag(app: str, expected: str = "true") -> Form:
    """A condition on each side."""
    return Form(Kind.FLAG, app, expected)


PRESENT = flag("true")
"""The form of a table of which nothing is compared but that each entity has its row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What is hashed of a row.

    app_key, expected_key   what names the entity, as text; of a row of the app that needs no look, NULL
    forms                   what is compared, one at least
    rows_without_entity     whether a row of the app that no entity has can be a finding
    """

    app_key: str
    expected_key: str
    forms: tuple[Form, ...]
    rows_without_entity: bool = True
