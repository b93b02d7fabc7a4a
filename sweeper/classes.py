"""The drift classes: their order, their meaning, and what may be done about them where no setting says otherwise.

One finding a row; the first class that matches wins. An application gives the rules (`sweeper/stepfi/`), one pure function
a class.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from shared import errors
from shared.settings import Policy, Sweep, environment_name


@dataclass(frozen=True, slots=True)
class DriftClass:
    name: str
    means: str
    policy: Policy


_ORDERED = (
    DriftClass("duplicate_row", "several rows for one entity or key", Policy.REPORT),
    DriftClass("forged_owner", "the row's wallet is not the entity's", Policy.REPORT),
    DriftClass(
        "ambiguous_link", "a provisional row that may be a loan, but is not proven to be exactly one", Policy.REPORT
    ),
    DriftClass("absent_on_chain", "the row claims to be on chain and provably is not", Policy.REPORT),
    DriftClass("abandoned_provisional", "a provisional row that never came to the chain", Policy.REPORT),
    DriftClass("unresolved_provisional_id", "a provisional row that is proven to be one loan", Policy.REPAIR),
    DriftClass("app_ahead_of_chain", "the app has finished what the chain has not", Policy.PROPOSE),
    DriftClass("stale_status", "another status than on chain", Policy.REPAIR),
    DriftClass("terms_mismatch", "amount, guarantee or vendor are not the chain's", Policy.REPORT),
    DriftClass("stale_value", "other values than on chain", Policy.REPAIR),
    DriftClass("missing_row", "on chain, and not in the app", Policy.PROPOSE),
    DriftClass("orphaned_pending_transaction", "pending in the app, settled on chain", Policy.REPAIR),
)

CLASSES = {one.name: one for one in _ORDERED}

REPORTED_TABLES = frozenset({"liquidity_positions"})
"""Tables that are only reported unless CHAINTRUE_SWEEP__TABLE_POLICY__… says otherwise."""

_STRICTNESS = (Policy.REPORT, Policy.PROPOSE, Policy.REPAIR)


def check_settings(sweep: Sweep, *, tables: Collection[str]) -> None:
    """Raise SettingError for a setting that names a class or a table that does not exist.

    A misspelt name would cap nothing: what its author wants to see only reported would be written.
    """
    _check_names(sweep.policy, known=CLASSES, setting="policy", kind="class")
    _check_names(sweep.table_policy, known=tables, setting="table_policy", kind="table")
    for name in sweep.insert_without_unique_key:
        if name not in tables:
            variable = environment_name("sweep", "insert_without_unique_key")
            raise errors.SettingError(f"{variable}: there is no table {name!r}", cure=f"one of {', '.join(tables)}")


def _check_names(given: Iterable[str], *, known: Collection[str], setting: str, kind: str) -> None:
    for name in given:
        if name not in known:
            variable = environment_name("sweep", setting, name)
            raise errors.SettingError(f"{variable}: there is no {kind} {name!r}", cure=f"one of {', '.join(known)}")


def policy(drift_class: str, table: str, *, policies: dict[str, Policy], table_policies: dict[str, Policy]) -> Policy:
    """What may be done: the class's policy, capped by the table's."""
    of_class = policies.get(drift_class, CLASSES[drift_class].policy)
    of_table = table_policies.get(table, Policy.REPORT if table in REPORTED_TABLES else Policy.REPAIR)
    return min(of_class, of_table, key=_STRICTNESS.index)
