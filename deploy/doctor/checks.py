"""What an examination finds: a line a check, with the cure where there is something to be done."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from deploy.commands import failures
from shared import errors
from shared.masking import mask

_CURE = "\n  Cure: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. One that is well and has a cure all the same is a warning."""

    check: str
    ok: bool
    words: str
    cure: str | None = None

    @property
    def is_warning(self) -> bool:
        return self.ok and self.cure is not None

    def to_json(self) -> dict[str, str | bool | None]:
        return {"check": self.check, "ok": self.ok, "words": self.words, "cure": self.cure}


@dataclass
class Examination:
    """All checks so far, in their order. No line of them shows a secret."""

    checks: list[Check] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        return all(one.ok for one in self.checks)

    def well(self, check: str, words: str, *, cure: str | None = None) -> None:
        self._add(check, words, cure, ok=True)

    def ill(self, check: str, words: str, *, cure: str) -> None:
        self._add(check, words, cure, ok=False)

    @contextmanager
    def looking(self, check: str) -> Iterator[None]:
        """Run a block whose failure, whatever it raises, is this check's alone: the other checks go on."""
        try:
            yield
        except errors.ChaintrueError as error:
            self.ill(check, str(error.args[0]), cure=error.cure or "look at the words of this failure")
        except Exception as error:  # noqa: BLE001 - one check must not end the others, whatever it meets
            words, _, cure = (failures.explain(error) or failures.confess(error)).partition(_CURE)
            self.ill(check, words, cure=cure or "look at the words of this failure, and run it again")

    def _add(self, check: str, words: str, cure: str | None, *, ok: bool) -> None:
        self.checks.append(Check(check=check, ok=ok, words=mask(words), cure=None if cure is None else mask(cure)))
