"""What the links of provisional rows are decided from, read from real tables: loans that are not known, and envelopes."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from deploy.demo.app import envelopes
from sweeper.stepfi import loan_candidates, loan_unknowns
from sweeper.stepfi.loan_links import Link, LinkKind
from sweeper.stepfi.loan_unknowns import Span
from tests.integration.mirror import Mirror, mirror, truth

HISTORY = "random-1.jsonl.gz"
FORGET = "UPDATE chain.loans SET terms_since = NULL WHERE loan_id = ANY($1)"
AT = datetime(2026, 8, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def world(database: str) -> AsyncIterator[Mirror]:
    async with mirror(database, HISTORY) as found:
        yield found


async def spans(world: Mirror) -> list[Span]:
    return await loan_unknowns.read(await world.context(), world.settings)


async def made_at(world: Mirror, loan: int) -> datetime:
    query = "SELECT to_timestamp(created_at) FROM chain.loans WHERE loan_id = $1"
    found: datetime = await world.app.fetchval(query, loan)
    return found


async def newest(world: Mirror) -> int:
    return int(await world.app.fetchval("SELECT max(loan_id) FROM chain.loans"))


async def test_where_all_loans_are_known_none_is_not(world: Mirror) -> None:
    assert await spans(world) == []


async def test_what_is_not_known_lies_between_its_neighbours(world: Mirror) -> None:
    last = await newest(world)
    await world.app.execute(FORGET, [1, 4, 5])
    await world.app.execute("UPDATE chain.loans SET borrower = NULL WHERE loan_id = 7")
    await world.app.execute("UPDATE chain.creditlines SET loan_count = $1", last + 2)
    assert await spans(world) == [
        Span(first=1, last=1, earliest=None, latest=await made_at(world, 2)),
        Span(first=4, last=5, earliest=await made_at(world, 3), latest=await made_at(world, 6)),
        Span(first=7, last=7, earliest=await made_at(world, 6), latest=await made_at(world, 8)),
        Span(first=last + 1, last=last + 2, earliest=await made_at(world, last), latest=None),
    ]


async def test_of_loans_of_which_none_is_known_nothing_bounds_the_time(world: Mirror) -> None:
    last = await newest(world)
    await world.app.execute("UPDATE chain.loans SET terms_since = NULL")
    assert await spans(world) == [Span(first=1, last=last, earliest=None, latest=None)]


async def link_of(world: Mirror, row: str) -> Link:
    links = await loan_candidates.read_links(await world.context(), world.settings, among=None)
    return links.of_row[row]


async def test_a_row_waits_while_a_neighbour_of_its_loan_is_not_known(world: Mirror) -> None:
    query = """
SELECT row.id::text AS id, loan.loan_id FROM loans AS row JOIN chain.loans AS loan ON loan.loan_id::text = row.loan_id
WHERE row.vendor_id IS NOT NULL AND loan.created_tx IS NOT NULL AND loan.loan_id > 2 ORDER BY loan.loan_id LIMIT 1"""
    found = await world.app.fetchrow(query)
    at = await made_at(world, found["loan_id"])
    await world.app.execute(
        "UPDATE loans SET loan_id = 'pending-1-a', created_at = $2 WHERE id = $1::uuid", found["id"], at
    )
    assert (await link_of(world, found["id"])).kind is LinkKind.UNIQUE
    assert (await link_of(world, found["id"])).unknown == ()
    await world.app.execute(FORGET, [found["loan_id"] + 1])
    link = await link_of(world, found["id"])
    assert (link.kind, link.unknown) == (LinkKind.UNIQUE, (f"loan {found['loan_id'] + 1}",))


@pytest.mark.parametrize("is_bumped", [False, True], ids=["inner stored", "bump stored"])
async def test_the_envelope_links_where_the_hash_that_is_stored_made_no_loan(world: Mirror, is_bumped: bool) -> None:
    """As a client has it that bumped the fee of what was taken already: the bump failed, and its hash was stored last."""
    told = truth(HISTORY)
    loan = next(one for one in told.loans.values())
    row = await world.app.fetchval("SELECT id::text FROM loans WHERE loan_id = $1", str(loan.loan_id))
    await world.app.execute("UPDATE loans SET loan_id = 'pending-1-a', vendor_id = NULL WHERE id = $1::uuid", row)
    inner = envelopes.create_loan(told, loan, provisional_id="pending-1-a", vendor_row="v", built_at=told.started_at)
    outer = envelopes.fee_bump(inner, sponsor=loan.borrower)
    made, stored = (outer, inner) if is_bumped else (inner, outer)
    await world.app.execute("UPDATE transactions SET type = 'loan_repay' WHERE type = 'loan_create'")
    await world.app.execute(
        "INSERT INTO transactions (id, user_wallet, type, status, transaction_hash, xdr, submitted_at) "
        "VALUES (gen_random_uuid(), $1, 'loan_create', 'failed', $2, $3, $4)",
        *(loan.borrower, stored.hash_hex(), (outer if is_bumped else inner).to_xdr(), told.started_at),
    )
    update = "UPDATE chain.loans SET created_tx = $2 WHERE loan_id = $1"
    await world.app.execute(update, loan.loan_id, made.hash_hex())
    link = await link_of(world, row)
    assert (link.kind, link.by, link.key) == (
        LinkKind.UNIQUE,
        "transaction hash",
        f"loan:{world.settings.creditline}:{loan.loan_id}",
    )


def test_a_span_is_possible_where_the_window_of_the_row_meets_it() -> None:
    def said(earliest: datetime | None, latest: datetime | None) -> tuple[str, ...]:
        span = Span(first=3, last=3, earliest=earliest, latest=latest)
        return loan_unknowns.possible([span], row_made_at=AT, window=HOUR)

    assert said(None, None) == said(None, AT) == said(AT + HOUR, None) == said(AT - HOUR, AT + 2 * HOUR) == ("loan 3",)
    assert said(None, AT - timedelta(microseconds=1)) == said(AT + HOUR + timedelta(microseconds=1), None) == ()
    assert str(Span(first=3, last=5, earliest=None, latest=None)) == "loans 3 to 5"
