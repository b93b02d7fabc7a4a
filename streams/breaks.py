"""Breaks in the log: ranges before a `live` record that no record reads, supersedes or notes as a gap. Pure.

A `live` record continues the stream, so all that lies before it belongs to records before it in the log. What does not is
missing there: it was lost on the way, or never written. The decision depends on the records alone, taken in their order, so
every reader of the log finds the same breaks, whatever its batches.
"""

from collections.abc import Iterable, Mapping

from shared import coverage, position
from shared.coverage import Coverage, Range
from streams.digest import Proof


class Chain:
    """What the log accounts for, by contract, while proofs are taken in its order."""

    def __init__(self, accounted: Mapping[str, Coverage]) -> None:
        """`accounted` is what is covered, superseded or noted as a gap so far."""
        self._accounted = dict(accounted)

    def take(self, proof: Proof, contracts: Iterable[str]) -> dict[Range, list[str]]:
        """Take one proof of these contracts; return the breaks that it shows, each with the contracts that lack it."""
        breaks: dict[Range, list[str]] = {}
        for contract in contracts:
            accounted = self._accounted.get(contract, coverage.NOTHING)
            if proof.continues:
                for missing in coverage.missing(accounted, Range(position.START, proof.range.after)):
                    breaks.setdefault(missing, []).append(contract)
                    accounted = coverage.add(accounted, missing)
            self._accounted[contract] = coverage.add(accounted, proof.range)
        return breaks
