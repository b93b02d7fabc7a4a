"""One batch of changes on the application's table: what is written to which rows, and what has to stand there before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from sweeper import same_value
from sweeper.app_schema import AppTable
from sweeper.row_images import Image

WRITTEN_AT = "updated_at"
MARKED_BY_APP = frozenset({WRITTEN_AT})
"""What a trigger of the application may set anew on each write, and the write still counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Changes of one table and kind that set and rely on the same columns. Of an insert `key` names the row.

    hashes       what the whole row has to be, where an update relies on more than the columns of its `before` image
    tolerances   by how much an amount may be rounded, by column
    marks        columns that only say when the row was written: no rule compares them, so the application may set its own
    """

    table: AppTable
    key: str
    ids: Sequence[str]
    after: Sequence[Image]
    before: Sequence[Image] = ()
    hashes: Sequence[str | None] = ()
    tolerances: Mapping[str, Decimal] = field(default_factory=dict)
    marks: frozenset[str] = MARKED_BY_APP

    @property
    def is_insert(self) -> bool:
        return not self.before

    @property
    def written(self) -> list[str]:
        return sorted(self.after[0])

    @property
    def relied_on(self) -> list[str]:
        return sorted(self.before[0]) if self.before else []

    @property
    def keys(self) -> list[str | None]:
        """The key of each row that is inserted."""
        return [image[self.key] for image in self.after]

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, numbers: Sequence[int]) -> "Batch":
        """Those of the changes with these numbers (from 0)."""
        return replace(
            self,
            ids=[self.ids[number] for number in numbers],
            after=[self.after[number] for number in numbers],
            before=[self.before[number] for number in numbers] if self.before else (),
            hashes=[self.hashes[number] for number in numbers] if self.hashes else (),
        )

    def unlike(self, number: int, stored: Image) -> list[str]:
        """Return the written columns that do not hold what was to be written, but for those that say when it was."""
        wanted = self.after[number]
        return [
            name for name in wanted if name not in self.marks and not self._is_same(name, stored[name], wanted[name])
        ]

    def holds(self, image: Image, stored: Image) -> bool:
        """Return whether the row holds every value of the image."""
        return all(self._is_same(name, stored[name], value) for name, value in image.items())

    def _is_same(self, name: str, stored: str | None, wanted: str | None) -> bool:
        if stored == wanted:
            return True
        tolerance = self.tolerances.get(name, Decimal(0))
        return same_value.is_same(stored, wanted, self.table.base_type(name), tolerance=tolerance)
