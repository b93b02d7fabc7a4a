"""Drift put into rows that agree with the chain, and the truth about each injection.

    tables = rows.build(truth)
    await rows.insert(connection, tables)
    injections = await drift.inject(connection, truth)

Everything is planned from the truth alone, so the same truth, names and seed give the same plan, byte for byte.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import asyncpg

from deploy.demo.app import chain, drift_links, drift_loans, drift_tables, drift_transactions, rows, traps
from deploy.demo.app.scene import Change, Delete, Expected, Injection, Insert, NoTargetError, Scene, Statement, Update

Make = Callable[[Scene], list[Expected]]

_CORE: tuple[Make, ...] = (
    # Those that can be done to few loans choose first.
    drift_loans.status_pending_with_chain_id,
    drift_loans.status_active_though_paid,
    drift_loans.status_paid_word,
    drift_loans.completion_missing,
    drift_loans.balance_of_the_app,
    drift_links.ambiguous_two_loans,
    drift_links.provisional_by_hash,
    drift_links.provisional_by_terms,
    drift_links.ambiguous_two_rows,
    drift_loans.vendor_missing,
    drift_loans.missing_loan,
    drift_tables.vendor_status_stale,
    drift_tables.reputation_stale,
    drift_tables.history_missing,
    drift_transactions.pending_though_succeeded,
    drift_transactions.pending_though_failed,
    drift_transactions.pending_in_the_old_column,
    drift_transactions.pending_expired,
    drift_transactions.pending_without_envelope,
    drift_transactions.pending_of_another_envelope,
    drift_transactions.pending_fee_bump,
    drift_transactions.pending_without_expiry,
)
_LATER: tuple[Make, ...] = (
    drift_loans.app_completed_though_active,
    drift_loans.app_defaulted_though_active,
    drift_loans.default_missing,
    drift_loans.status_pending_though_cancelled,
    drift_links.provisional_by_hash_alone,
    drift_links.provisional_referenced,
    drift_links.provisional_of_linked_loan,
    drift_loans.forged_wallet,
    drift_loans.terms_of_another_scale,
    drift_links.id_beyond_the_counter,
    drift_links.active_without_loan,
    drift_links.abandoned_provisional,
    drift_tables.reputation_tier_stale,
    drift_tables.reputation_missing,
    drift_tables.position_stale,
    drift_tables.position_twice,
)
_TRAPS: tuple[Make, ...] = (
    traps.under_review,
    traps.rejected,
    traps.fresh_provisional,
    traps.old_user,
    traps.misleading_index,
    traps.app_owned_columns,
    traps.time_of_the_app,
    traps.numeric_form,
    traps.other_time_zone,
)

CORE = frozenset(make.__name__ for make in _CORE)
"""Injections of `missing_row`, `stale_status`, `stale_value`, `unresolved_provisional_id`, `ambiguous_link` and
`orphaned_pending_transaction`."""
LATER = frozenset(make.__name__ for make in _LATER)
"""Injections of the other classes, and rarer forms of the same."""
TRAPS = frozenset(make.__name__ for make in _TRAPS)
"""Changes of which nothing may be reported."""
ALL = CORE | LATER | TRAPS


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The injections in their order, what the history has no target for (name: reason), and the rows as they will be."""

    injections: tuple[Injection, ...]
    unavailable: dict[str, str]
    tables: rows.Tables

    @property
    def findings(self) -> tuple[Expected, ...]:
        return tuple(finding for injection in self.injections for finding in injection.findings)


def plan(
    truth: chain.ChainTruth,
    only: Collection[str] | None = None,
    *,
    seed: int = 0,
    decimals: int = 7,
    low_tier: str = "poor",
    cancelled_status: str = "cancelled",
) -> Plan:
    """What would be done to the rows that `rows.build` gives for the same truth and settings.

    `only` names the injections (default: all). Raises ValueError for a name that is none. An injection that the history has
    no (unused) target for is left out and named in `unavailable`.
    """
    unknown = set(only or ()) - ALL
    if unknown:
        raise ValueError(f"no such injection: {', '.join(sorted(unknown))}")
    true = rows.build(truth, decimals=decimals, low_tier=low_tier, cancelled_status=cancelled_status)
    scene = Scene(truth, true, seed=seed, decimals=decimals, low_tier=low_tier)
    injections: list[Injection] = []
    unavailable: dict[str, str] = {}
    for make in (*_CORE, *_LATER, *_TRAPS):
        name = make.__name__
        if only is not None and name not in only:
            continue
        scene.begin(name)
        try:
            findings = make(scene)
        except NoTargetError as reason:
            unavailable[name] = str(reason)
            continue
        injections.append(
            Injection(
                name=name,
                drift_class=findings[0].drift_class if findings else None,
                core=name in CORE,
                about=" ".join((make.__doc__ or "").split()),
                changes=tuple(scene.changes),
                findings=tuple(findings),
            )
        )
    return Plan(injections=tuple(injections), unavailable=unavailable, tables=scene.rows)


async def inject(
    connection: asyncpg.Connection,
    truth: chain.ChainTruth,
    only: Collection[str] | None = None,
    *,
    seed: int = 0,
    decimals: int = 7,
    low_tier: str = "poor",
    cancelled_status: str = "cancelled",
) -> list[Injection]:
    """Do it, all or nothing, to a database that holds exactly the rows of `rows.build` with the same settings.

    Raises ValueError for a name that is none, or one of `only` that the history has no target for; LookupError when a row
    that is to be changed is not there.
    """
    planned = plan(truth, only, seed=seed, decimals=decimals, low_tier=low_tier, cancelled_status=cancelled_status)
    if only is not None and planned.unavailable:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in planned.unavailable.items())
        raise ValueError(f"cannot be injected into this history: {reasons}")
    async with connection.transaction():
        for injection in planned.injections:
            for change in injection.changes:
                await _apply(connection, change)
    return list(planned.injections)


async def _apply(connection: asyncpg.Connection, change: Change) -> None:
    match change:
        case Statement(sql=sql):
            await connection.execute(sql)
            return
        case Insert(table=table, row=row):
            places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
            tag = await connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *row.values())
        case Update(table=table, row_id=row_id, columns=columns):
            places = ", ".join(f"{column} = ${number}" for number, column in enumerate(columns, start=2))
            tag = await connection.execute(f"UPDATE {table} SET {places} WHERE id = $1", row_id, *columns.values())
        case Delete(table=table, row_id=row_id):
            tag = await connection.execute(f"DELETE FROM {table} WHERE id = $1", row_id)
    if not tag.endswith(" 1"):
        raise LookupError(f"{change.table} has not the row {change.row_id} that the truth has: {tag}")
