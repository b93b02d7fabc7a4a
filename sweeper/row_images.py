"""Images of rows: values as the text that PostgreSQL reads for their columns, and the SQL that holds a row against them.

What guards a write is compared in PostgreSQL; what a write left behind is compared by `sweeper/same_value.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from shared import pg_times
from sweeper.app_schema import AppTable
from sweeper.model import Value
from sweeper.same_value import MODIFIER

Image = Mapping[str, str | None]
"""Columns with their values as text; None is NULL."""


def of(values: Mapping[str, Value]) -> dict[str, str | None]:
    """The values as an image."""
    return {name: value_text(value) for name, value in values.items()}


def value_text(value: Value) -> str | None:
    """The value as the text that PostgreSQL reads for its column's type, exactly."""
    if value is None:
        return None
    if isinstance(value, Decimal):
        return format(value, "f")
    return pg_times.written(value) if isinstance(value, datetime) else str(value)


def hash_sql(alias: str) -> str:
    """The hash of the whole row, every column of it, as the settings of `app_access` make its text."""
    return f"md5(CAST({alias} AS text))"


def array_sql(parameter: str, column_type: str) -> str:
    """The parameter, an array of texts, as an array of the column's type.

    Without the type's modifier: a cast to varchar(5) would cut a word off in silence, where the column itself refuses it.
    """
    base = MODIFIER.sub("", column_type)
    return f"CAST(CAST(:{parameter} AS text[]) AS {'bpchar' if base == 'character' else base}[])"


def unnest_sql(
    table: AppTable, columns: Sequence[str], *, prefix: str, of_domains: bool = True
) -> tuple[list[str], list[str]]:
    """The arrays of these columns for `unnest`, and the names that they are given there.

    `of_domains`: values of a column whose type is a domain have to be in it.
    """
    names = [f"{prefix}_{number}" for number, _ in enumerate(columns)]
    types = [table.types[column] if of_domains else table.base_type(column) for column in columns]
    return [array_sql(name, kind) for name, kind in zip(names, types, strict=True)], names


def parameters(images: Sequence[Image], columns: Sequence[str], *, prefix: str) -> dict[str, list[str | None]]:
    """The values that go with `unnest_sql`."""
    return {f"{prefix}_{number}": [image[column] for image in images] for number, column in enumerate(columns)}


def quoted(name: str) -> str:
    """The name as PostgreSQL reads it whatever its letters."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str], *, of_row: str = "") -> str:
    """The names for a list of columns."""
    return ", ".join(f"{of_row}{quoted(name)}" for name in names)
