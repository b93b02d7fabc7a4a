"""What a plan was made for, and whether it still holds here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from shared import chain_tables, errors
from shared.settings import EngineSettings
from sweeper import app_access, app_schema, plan_file
from sweeper.context import Context
from sweeper.plan_file import Log, MadeFor, PlanFile
from sweeper.report import Report

_AHEAD = timedelta(minutes=5)
"""Two machines' clocks may differ by as much."""
_AGAIN = "sweep again with --plan, and review the new one"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTo:
    """A plan to be written: where, who makes it, and for which contracts."""

    path: Path
    made_by: str
    contracts: Sequence[str]

    async def write(self, context: Context, report: Report) -> None:
        """Write what the report says could be written and was not."""
        here = await made_for(context, contracts=self.contracts, tables=sorted(context.subjects))
        plan = plan_file.make(
            report.findings,
            run_id=report.run_id,
            made_at=report.finished_at,
            made_by=self.made_by,
            made_for=here,
            now=context.now,
        )
        plan_file.write(self.path, plan)


async def made_for(context: Context, *, contracts: Sequence[str], tables: Sequence[str]) -> MadeFor:
    """What holds now."""
    scopes = chain_tables.scopes.c
    query = select(scopes.origin, scopes.began_at).where(scopes.scope == context.scope)
    async with context.chain.connect() as connection:
        log = (await connection.execute(query)).one_or_none()
    async with app_access.transaction(context.app) as connection:
        fingerprints = {
            name: await app_schema.fingerprint(connection, context.tables[name])
            for name in sorted(tables)
            if name in context.tables
        }
    return MadeFor(
        network=context.passphrase,
        contracts=sorted(contracts),
        log=Log(
            scope=context.scope,
            origin="" if log is None else log.origin,
            began_at=None if log is None else log.began_at,
        ),
        watermark_ledger=context.watermark.ledger,
        tables=fingerprints,
    )


def check_before(plan: PlanFile, settings: EngineSettings, *, contracts: Sequence[str], now: datetime) -> None:
    """What can be told without a database; raises PlanRefused."""
    age, limit = now - plan.made_at, timedelta(seconds=settings.sweep.plan_max_age_seconds)
    if age > limit:
        raise errors.PlanRefused(
            f"the plan was made at {plan.made_at:%Y-%m-%d %H:%M} UTC, and is older than "
            f"CHAINTRUE_SWEEP__PLAN_MAX_AGE_SECONDS allows ({limit.total_seconds():.0f} s)",
            cure=_AGAIN,
        )
    if age < -_AHEAD:
        raise errors.PlanRefused(f"the plan was made at {plan.made_at}, which is still to come", cure=_AGAIN)
    if plan.made_for.network != (settings.network.passphrase or ""):
        raise errors.PlanRefused(
            f"the plan was made for the network {plan.made_for.network!r}, "
            "CHAINTRUE_NETWORK__PASSPHRASE is that of another one",
            cure="apply it where it was made",
        )
    if sorted(plan.made_for.contracts) != sorted(contracts):
        raise errors.PlanRefused(
            "the plan was made for other contracts than those of the settings",
            cure="apply it where it was made, or sweep again with --plan",
        )


def check(plan: PlanFile, now: MadeFor, *, tables: Sequence[str]) -> None:
    """What the databases tell; raises PlanRefused. `tables`: those of the changes that are to be applied."""
    then = plan.made_for
    if then.log != now.log:
        raise errors.PlanRefused(
            "the plan was made from another log of the chain than the one that our tables are built of", cure=_AGAIN
        )
    if then.watermark_ledger > now.watermark_ledger:
        raise errors.PlanRefused(
            f"the plan stands on ledger {then.watermark_ledger}, our tables only on {now.watermark_ledger}: "
            "they are older than the plan",
            cure="let `chaintrue stream` catch up (`chaintrue status --wait-ledger`), and apply it then",
        )
    for name in tables:
        if then.tables.get(name) != now.tables.get(name):
            raise errors.PlanRefused(
                f"the application's table {name} is not what it was when the plan was made: "
                "its columns, constraints, references or triggers are others",
                cure=_AGAIN,
            )
