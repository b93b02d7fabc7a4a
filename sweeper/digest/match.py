"""Which rows need a look, of the hashes of both sides in one bucket. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from sweeper.digest.scan import Records
from sweeper.digest.spec import NOTHING

Ids = NDArray[Any]
Keys = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unequal:
    """differing   ids of the app's rows that an entity has and that do not say the same, or that share their key with others
    app_only    ids of the app's rows whose key no entity has
    chain_only  hashes of the keys that no row of the app has
    shared      hashes of keys that rows of the app have, and that several unequal rows of the chain's side have: an entity that
                changed while it was read, or several entities whose keys have the same hash
    app_twins   of `app_only` those that share their key with another row
    """

    differing: Ids
    app_only: Ids
    chain_only: Keys
    shared: Keys
    app_twins: Ids


def unequal(app: Records, chain: Records) -> Unequal:
    """Compare the hashes of one bucket; rows without a key have nothing to be compared."""
    app = app[(app["key"] != NOTHING) | (app["row"] != NOTHING)]
    app = app[np.argsort(app["key"])]
    chain = chain[np.argsort(chain["key"])]
    app_keys, chain_keys = np.ascontiguousarray(app["key"]), np.ascontiguousarray(chain["key"])
    has_entity, first = _found(app_keys, within=chain_keys)
    same = has_entity.copy()
    same[has_entity] = app["row"][has_entity] == chain["row"][first[has_entity]]
    shared = _repeated(app_keys)
    same &= ~shared
    has_row, _ = _found(chain_keys, within=app_keys)
    # A key that the chain's side gave twice was moved by an update while it was read: its rows are looked at.
    twice, _ = _found(app_keys, within=chain_keys[_repeated(chain_keys)])
    same &= ~twice
    return Unequal(
        differing=app["id"][has_entity & ~same],
        app_only=app["id"][~has_entity],
        chain_only=np.unique(chain_keys[~has_row]),
        shared=_of_unequal_rows(chain[_repeated(chain_keys) & has_row]),
        app_twins=app["id"][~has_entity & shared],
    )


def ids(texts: Iterable[str]) -> Ids:
    """The ids that people write so."""
    return np.array([np.void(UUID(one).bytes) for one in texts], "V16")


def texts(ids: Ids) -> list[str]:
    """The ids as people write them."""
    return [str(UUID(bytes=bytes(one))) for one in ids]


def without(ids: Ids, *others: Ids) -> Ids:
    """Return the ids, each once, that are among none of the others."""
    if not len(ids):
        return ids
    known = {bytes(one) for some in others for one in some}
    left = [one for one in dict.fromkeys(map(bytes, ids)) if one not in known]
    return np.array(left, ids.dtype)


def numbers(ids: Ids) -> NDArray[np.uint64]:
    """Return a number for each id, of all its bits: fit to count which ids are among others, not to name one."""
    halves = np.frombuffer(ids.tobytes(), np.uint64).reshape(-1, 2)
    return halves[:, 0] ^ (halves[:, 1] * np.uint64(0x9E3779B97F4A7C15))


def _found(wanted: Keys, *, within: Keys) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Which of the keys (sorted, as both are) are within the others, and where."""
    where = np.searchsorted(within, wanted)
    found = np.zeros(len(wanted), bool)
    inside = where < len(within)
    found[inside] = within[where[inside]] == wanted[inside]
    return found, where


def _of_unequal_rows(repeated: Records) -> Keys:
    """The keys that occur with several row hashes."""
    keys, counts = np.unique(np.unique(repeated[["key", "row"]])["key"], return_counts=True)
    found: Keys = keys[counts > 1]
    return found


def _repeated(keys: Keys) -> NDArray[np.bool_]:
    """Which of the sorted keys stand beside an equal one."""
    repeated = np.zeros(len(keys), bool)
    if len(keys) > 1:
        equal = keys[1:] == keys[:-1]
        repeated[1:] |= equal
        repeated[:-1] |= equal
    return repeated
