"""What a sweep is judged by: an application with drift whose truth is known, and every write to it recorded by triggers."""

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from stellar_sdk import Keypair

from deploy.demo.app import chain, drift, rows

TABLES = ("users", "vendors", "loans", "transactions", "reputation_cache", "reputation_history", "liquidity_positions")
OWNED: Mapping[str, frozenset[str]] = {
    "loans": frozenset({"loan_id", "status", "remaining_balance", "completed_at", "defaulted_at", "vendor_id"}),
    "transactions": frozenset({"status", "error", "completed_at"}),
    "reputation_cache": frozenset({"score", "tier", "last_synced_at"}),
    "vendors": frozenset({"status"}),
}
"""What a repair may write, by the authority of each column; `updated_at` besides."""
AMOUNTS = frozenset({"remaining_balance"})

_AUDIT = """
CREATE SCHEMA judge;
CREATE TABLE judge.writes (
  number bigserial PRIMARY KEY, who text NOT NULL, "table" text NOT NULL, operation text NOT NULL, old jsonb, new jsonb
);
CREATE FUNCTION judge.record() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO judge.writes (who, "table", operation, old, new) VALUES (
    session_user, TG_TABLE_NAME, TG_OP,
    CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END
  );
  RETURN NULL;
END $$;
"""

Key = tuple[str, str, str | None]
"""Class, table, and the row's id or else the entity."""


@dataclass
class Charge:
    """What a sweep has to find, and which of it may be written.

    outcomes    by finding, that of a repairing sweep
    repaired    table and row id of all that is to be repaired, with the columns that may change beside `updated_at`
    """

    outcomes: dict[Key, str] = field(default_factory=dict)
    repaired: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)

    def add(
        self, drift_class: str, table: str, row_id: str, outcome: str, *, without: frozenset[str] = frozenset()
    ) -> None:
        self.outcomes[drift_class, table, row_id] = outcome
        if outcome == "repaired":
            self.repaired[table, row_id] = OWNED[table] - without


async def arrange(app_url: str, role: str, truth: chain.ChainTruth, *, seed: int) -> Charge:
    """Put drift of every class into true rows, thousands of rows around it, and a recorder on every table."""
    planned = drift.plan(truth)
    charge = Charge()
    for one in planned.findings:
        charge.outcomes[one.drift_class, one.table, one.row_id or one.entity] = one.outcome
        if one.outcome == "repaired" and one.row_id is not None:
            charge.repaired[one.table, one.row_id] = OWNED[one.table]
    connection = await asyncpg.connect(app_url)
    try:
        # Not the trap that alters the database: a copy of it would not have that.
        await drift.inject(connection, truth, drift.ALL - planned.unavailable.keys() - {"other_time_zone"})
        used = {row for injection in planned.injections if injection.drift_class for row in injection.rows}
        async with connection.transaction():
            for statement, arguments in _seeded(truth, used, charge, Random(seed)):  # noqa: S311 - chooses rows
                assert (await connection.execute(statement, *arguments)).endswith(" 1"), statement
        await connection.execute(_AUDIT)
        for table in await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ):
            await connection.execute(
                f"CREATE TRIGGER judge AFTER INSERT OR UPDATE OR DELETE ON {table[0]}"
                " FOR EACH ROW EXECUTE FUNCTION judge.record()"
            )
        await grant(connection, role)
    finally:
        await connection.close()
    return charge


async def grant(connection: asyncpg.Connection, role: str) -> None:
    """The rights that a sweeper needs and no more: it cannot insert, delete, or write a column that is not the chain's."""
    await connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    for table, columns in OWNED.items():
        await connection.execute(f"GRANT UPDATE ({', '.join(sorted(columns))}, updated_at) ON {table} TO {role}")


def as_role(url: str, role: str, password: str) -> str:
    """The address with another user."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}:{password}@{parts.hostname}:{parts.port}").geturl()


Statement = tuple[str, tuple[Any, ...]]


def _seeded(truth: chain.ChainTruth, used: set[tuple[str, str]], charge: Charge, random: Random) -> Iterator[Statement]:
    true = rows.build(truth)
    loans = [row for row_id, row in true["loans"].items() if ("loans", row_id) not in used]
    random.shuffle(loans)
    for number, row in enumerate(loans):
        changes, drift_class, without = _damage(row, number % 16, random)
        if not changes:
            continue
        row_id = str(row["id"])
        places = ", ".join(f"{name} = ${place}" for place, name in enumerate(changes, start=2))
        yield f"UPDATE loans SET {places} WHERE id = $1", (row_id, *changes.values())
        if drift_class is not None:
            outcome = {"app_ahead_of_chain": "proposed", "stale_status": "repaired", "stale_value": "repaired"}
            charge.add(drift_class, "loans", row_id, outcome.get(drift_class, "reported"), without=without)
    yield from _strangers(truth, charge, random)


Damage = tuple[dict[str, Any], str | None, frozenset[str]]
_NOTHING: Damage = ({}, None, frozenset())


def _damage(row: rows.Row, kind: int, random: Random) -> Damage:
    """A change to a true row, the class that it makes (None: a trap), and what of it may not be repaired."""
    status, none = row["status"], frozenset[str]()
    words = ("pending", "paid", "foo", "PENDING", "", "under_review", " active")
    other = {"status": random.choice([word for word in words if word != status])}
    ahead = "app_ahead_of_chain" if status in ("pending", "active") else "stale_status"
    finished = "defaulted" if status != "defaulted" else "completed"
    scaled = {name: Decimal(str(row[name])) * 100_000 for name in ("amount", "loan_amount", "guarantee")}
    garbage = random.choice(("-1", "0.00000001", "NaN", "1e30", "Infinity", "123456789012345678901234567890.1234567"))
    no_terms = {"amount": Decimal(random.choice(("NaN", "-3", "0"))), "remaining_balance": Decimal(1)}
    no_vendor = {"vendor_id": None, "remaining_balance": Decimal(7), **other}
    of_the_app = {"term": 99, "total_repayment": Decimal(-5), "interest_rate": Decimal("NaN"), "next_payment_due": None}
    damages: list[Damage] = [
        (other, "stale_status", none),
        ({"status": finished, f"{finished}_at": row["updated_at"]}, ahead, none),
        ({"remaining_balance": Decimal(garbage)}, "stale_value", none),
        (no_vendor, "stale_status", none) if row["vendor_id"] is not None else _NOTHING,
        ({"user_wallet": str(row["user_wallet"]).lower(), **other}, "forged_owner", none),
        (scaled, "terms_mismatch", none),
        ({**scaled, "remaining_balance": Decimal(5), **other}, "stale_status", AMOUNTS),
        (no_terms, "terms_mismatch", none),
        ({f"{status}_at": None}, "stale_value", none) if status in ("completed", "defaulted") else _NOTHING,
        (of_the_app, None, none),
    ]
    return damages[kind] if kind < len(damages) else _NOTHING


def _strangers(truth: chain.ChainTruth, charge: Charge, random: Random) -> Iterator[Statement]:
    """Rows of whom the chain knows nothing: most are the application's affair, some claim what is not."""
    old = truth.closed_at - timedelta(days=3)
    words = ("rejected", "under_review", "cancelled", "rejected", "pending", "active", "foo", "paid")
    insert_loan = (
        "INSERT INTO loans (id, loan_id, user_wallet, amount, loan_amount, guarantee, interest_rate, total_repayment,"
        " remaining_balance, term, status, created_at) VALUES ($1, $2, $3, $4, $4, 1, 5, $4, $4, 3, $5, $6)"
    )
    insert_transaction = (
        "INSERT INTO transactions (id, user_wallet, transaction_hash, type, status, xdr, submitted_at)"
        " VALUES ($1, $2, $3, 'deposit', $4, 'AAAA', $5)"
    )
    for number in range(1_600):
        wallet = Keypair.from_raw_ed25519_seed(random.randbytes(32)).public_key
        row_id, word = str(uuid.UUID(bytes=random.randbytes(16))), words[number % len(words)]
        created_at = old if number % 3 else truth.closed_at - timedelta(minutes=random.randrange(1, 50))
        loan_id = f"pending-{number}-{random.randrange(36**4):x}"
        yield insert_loan, (row_id, loan_id, wallet, Decimal(random.randrange(1, 10**6)), word, created_at)
        if created_at == old and word not in ("rejected", "under_review", "cancelled"):
            charge.outcomes["abandoned_provisional" if word == "pending" else "absent_on_chain", "loans", row_id] = (
                "reported"
            )
        done, finished = str(uuid.UUID(bytes=random.randbytes(16))), ("success", "failed")[number % 2]
        yield insert_transaction, (done, wallet, random.randbytes(32).hex(), finished, old)
    for loan_id in ("012", "٣", str(1 << 64), " 7", "9" * 5_000, "7\t", "-1", "made-up"):
        row_id = str(uuid.UUID(bytes=random.randbytes(16)))
        yield insert_loan, (row_id, loan_id, "G" + "A" * 55, Decimal(1), "active", old)
        charge.outcomes["absent_on_chain", "loans", row_id] = "reported"
    for word in ("confirmed", "PENDING", ""):
        row_id = str(uuid.UUID(bytes=random.randbytes(16)))
        yield insert_transaction, (row_id, "G" + "A" * 55, random.randbytes(32).hex(), word, old)
        charge.outcomes["stale_status", "transactions", row_id] = "reported"


def scores(found: Mapping[Key, Any], wanted: Mapping[Key, Any]) -> dict[str, tuple[float, float]]:
    """Precision and recall by class."""
    right = Counter(key[0] for key in found.keys() & wanted.keys())
    said, due = Counter(key[0] for key in found), Counter(key[0] for key in wanted)
    return {name: (right[name] / (said[name] or 1), right[name] / (due[name] or 1)) for name in sorted({*said, *due})}


def value(told: Any) -> Any:
    """A JSON value of a row, so that equal ones are equal however they are written."""
    if isinstance(told, str) and len(told) >= 19 and told[4:5] == "-" and told[10:11] == "T":
        return datetime.fromisoformat(told)
    return told


def image(told: str | None) -> dict[str, Any]:
    """A row as a trigger recorded it."""
    row = json.loads(told or "{}", parse_float=Decimal, parse_int=Decimal)
    return {name: value(one) for name, one in row.items()}
