"""What of a table is hashed on both sides: the entity's key, and of each compared column a canonical form.

Equal digests have to mean that no rule finds anything about the row; unequal ones only that somebody has to look. So a form
may be coarser than the rules (a candidate too many), never finer.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

IT = "it"
"""How the expressions name the row that they are about: `it.status`."""
NOTHING = 0
"""The key hash of a row that has nothing to be compared."""


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
    """A numeric column. With a tolerance both sides are rounded to it: what comes out equal differs by no more than that."""
    form = f"CAST({IT}.{column} AS numeric)"
    if tolerance:
        form = f"round({form} / CAST('{tolerance:f}' AS numeric))"
    return Form(Kind.NUMBER, form, form)


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
