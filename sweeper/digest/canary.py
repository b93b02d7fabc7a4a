"""Canaries: rows that exist in the hashing SELECTs alone, so that a scan which would see nothing is seen to see nothing.

Nothing is written for them. One is equal on both sides, one drifted, one on the app's side alone, one on the chain's alone;
they go the whole way of the real rows, and each has to arrive where it belongs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from sweeper.digest.match import Ids, Unequal
from sweeper.digest.spec import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    id: UUID
    key: str
    on_app: bool = True
    on_chain: bool = True
    drifted: bool = False


@dataclass(frozen=True, slots=True)
class Sifted:
    """What differs without the canaries, and whether all of them were where they belong."""

    rest: Unequal
    found: bool


ON_APP = ON_CHAIN = 3
"""Canaries on each side."""


def flock(name: str) -> tuple[Canary, Canary, Canary, Canary]:
    """Equal, drifted, on the app's side alone, on the chain's side alone. `name`: 32 random hex digits."""
    ids = [UUID(int=(int(name, 16) + number) % (1 << 128)) for number in range(4)]
    keys = [f"canary:{name}:{number}" for number in range(4)]
    return (
        Canary(id=ids[0], key=keys[0]),
        Canary(id=ids[1], key=keys[1], drifted=True),
        Canary(id=ids[2], key=keys[2], on_chain=False),
        Canary(id=ids[3], key=keys[3], on_app=False),
    )


def value(kind: Kind, *, wrong: bool) -> str:
    """A constant with a sign, a scale and letters beyond ASCII: a canary stands for all that values may bring."""
    match kind:
        case Kind.TEXT:
            return f"CAST('{'Ünwahr' if wrong else 'Wahr – ß'}' AS text)"
        case Kind.NUMBER:
            return f"CAST('{'1234567.89' if wrong else '-1234567.8900'}' AS numeric)"
        case Kind.FLAG:
            return str(not wrong).lower()


def sift(unequal: Unequal, canaries: Sequence[Canary], hashes: Sequence[int]) -> Sifted:
    """Take the canaries out. `hashes`: of their keys, as both databases made them; none if they did not agree."""
    equal, drifted, alone, missing = (one.id.bytes for one in canaries)
    differing, app_only = unequal.differing, unequal.app_only
    keys = np.array(hashes, np.int64).view(np.uint64)
    found = (
        (_holds(differing, drifted) and _holds(app_only, alone))
        and not any(_holds(ids, one) for ids in (differing, app_only) for one in (equal, missing))
        and not (_holds(differing, alone) or _holds(app_only, drifted))
        and len(keys) == len(canaries)
        and [bool(np.any(unequal.chain_only == key)) for key in keys] == [False, False, False, True]
    )
    rest = Unequal(
        differing=_without(differing, equal, drifted, alone),
        app_only=_without(app_only, equal, drifted, alone),
        chain_only=unequal.chain_only[~np.isin(unequal.chain_only, keys)],
        shared=unequal.shared[~np.isin(unequal.shared, keys)],
        app_twins=unequal.app_twins,
    )
    return Sifted(rest, found)


def _holds(ids: Ids, one: bytes) -> bool:
    return bool(np.any(ids == np.void(one)))


def _without(ids: Ids, *some: bytes) -> Ids:
    for one in some:
        ids = ids[ids != np.void(one)]
    return ids
