"""The pool while other versions of the contracts speak: what follows from any version, and else nothing (I5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.stepfi.events import Role
from streams.facts import OBSERVED, merge
from tests.unit.stepfi.contracts import (
    ADMIN,
    APPLICATION,
    CLOSED,
    address,
    end,
    facts,
    i128,
    instance,
    u32,
    u64,
    vec,
)
from tests.unit.stepfi.wire_facts import (
    POOL_KEY,
    deposit,
    fund,
    guarantee,
    loss,
    of_pool,
    pool,
    repay,
    seen,
    totals,
    withdraw,
)


class TestPool:
    def test_both_shapes_of_a_funding_lock_the_same(self):
        for capped in (False, True):
            assert totals(seen(1), fund(800, ledger=2, capped=capped)) == (1000, 1000, 800)

    def test_without_an_observation_nothing_is_known_and_the_scope_asks(self):
        assert totals(deposit(500, 500, ledger=2), fund(100, ledger=3), guarantee(5, ledger=4)) == (None, None, None)

    def test_a_loss_takes_of_each_total_what_is_there(self):
        assert totals(seen(1, locked=300), loss(200, ledger=2)) == (1000, 800, 100)
        assert totals(seen(1, locked=300), loss(400, ledger=2)) == (1000, 600, 0)
        assert totals(seen(1, liquidity=250, locked=300), loss(400, ledger=2)) == (1000, 0, 0)
        assert totals(seen(1, locked=-50), loss(400, ledger=2)) == (1000, 600, 0)

    def test_the_first_deposit_may_make_shares_of_nobody(self):
        """The event says 5,000 whether TOTSHRS became 5,000 or 6,000."""
        row = pool(seen(1, shares=0, liquidity=0), deposit(5000, 5000, ledger=2))
        assert (row.total_shares, row.total_liquidity, row.locked_liquidity) == (None, 5000, 0)
        assert row.asked_at == deposit(5000, 5000, ledger=2).id
        told = (seen(1, shares=0, liquidity=0), deposit(5000, 5000, ledger=2), deposit(100, 100, ledger=3))
        assert totals(*told, withdraw(50, 50, ledger=4)) == (None, 5050, 0)
        row = pool(*told, seen(4, shares=6100, liquidity=5100), deposit(100, 100, ledger=5))
        assert (row.total_shares, row.total_liquidity, row.asked_at) == (6200, 5200, None)

    def test_later_deposits_are_what_the_event_says_in_every_version(self):
        assert totals(seen(1), deposit(500, 400, ledger=2), withdraw(100, 120, ledger=3)) == (1300, 1380, 0)

    def test_the_first_version_goes_below_zero_and_is_looked_at_when_it_does(self):
        row = pool(seen(1, locked=100), repay(300, ledger=2))
        assert (row.locked_liquidity, row.asked_at) == (-200, repay(300, ledger=2).id)
        row = pool(seen(1, locked=100), repay(300, ledger=2), seen(2, locked=-200), repay(50, ledger=3))
        assert (row.locked_liquidity, row.asked_at) == (-250, None)
        assert totals(seen(1, locked=-200), guarantee(70, ledger=2)) == (1000, 800, 0)

    @pytest.mark.parametrize(
        "sign",
        [
            fund(1, ledger=2, capped=True),
            loss(1, ledger=2),
            of_pool("PAUSED", u64(CLOSED), ledger=2, topics=[address(ADMIN)]),
            of_pool("CAPSUPD", vec([u32(1), i128(1)]), ledger=2, topics=[address(ADMIN)]),
            of_pool("CONTRACTUPGRADED", vec([u32(1), u32(2), u64(CLOSED)]), ledger=2, topics=[]),
            of_pool("executable_update", vec([]), ledger=2, topics=[], kind="system"),
        ],
        ids=["capped", "loss", "paused", "caps", "upgraded", "code"],
    )
    def test_below_zero_nothing_is_known_of_a_later_version(self, sign):
        row = pool(seen(1, locked=100), sign, repay(50, ledger=3))
        assert row.locked_liquidity is not None
        assert row.later_since == sign.id
        row = pool(seen(1, locked=100), sign, repay(300, ledger=3))
        assert (row.locked_liquidity, row.asked_at) == (None, repay(300, ledger=3).id)
        # What depends on it is not known either, and what does not is.
        told = (seen(1, locked=100), sign, repay(300, ledger=3), guarantee(10, ledger=4), deposit(5, 5, ledger=5))
        assert totals(*told) == (1005, None, None)
        row = pool(*told, seen(6, locked=0), guarantee(10, ledger=7))
        assert (row.total_liquidity, row.locked_liquidity, row.asked_at) == (1000, 0, None)

    def test_an_upgrade_that_the_instance_tells_counts_as_one_that_was_seen(self):
        storage = {"TOTSHRS": i128(1000), "TOTLIQ": i128(1000), "LCKDLIQ": i128(100), "VERSION": u32(2)}
        upgraded = (instance(Role.LIQUIDITY_POOL, storage), 1)
        assert pool(upgraded).later_since == end(1)
        assert pool(upgraded, repay(300, ledger=2)).locked_liquidity is None
        assert pool(upgraded, repay(100, ledger=2)).locked_liquidity == 0

    @pytest.mark.parametrize(
        "unread",
        [
            of_pool("LQLIQUID", vec([i128(100), i128(20)]), ledger=2),
            of_pool("LQFUND", u64(100), ledger=2),
            of_pool("LQREPAY", vec([i128(100)]), ledger=2),
        ],
        ids=["name", "type", "length"],
    )
    def test_an_event_that_cannot_be_read_may_have_moved_any_total(self, unread):
        row = pool(seen(1, locked=100), unread)
        assert (row.total_shares, row.total_liquidity, row.locked_liquidity) == (None, None, None)
        assert (row.asked_at, row.later_since) == (unread.id, unread.id)
        assert totals(seen(1, locked=100), unread, seen(2, locked=80), fund(5, ledger=3)) == (1000, 1000, 85)

    @given(st.data())
    def test_the_fold_may_begin_at_the_newest_observation(self, data):
        """`resets`: so a sign from before it must not be remembered by who saw it and forgotten by who did not."""
        some = st.integers(0, 400)
        told = []
        for ledger in range(2, data.draw(st.integers(3, 14))):
            kind = data.draw(st.sampled_from([deposit, withdraw, fund, repay, guarantee, loss, seen, "capped"]))
            if kind in (deposit, withdraw):
                told.append(kind(data.draw(some), data.draw(some), ledger=ledger))
            elif kind is seen:
                told.append(seen(ledger, shares=data.draw(some), locked=data.draw(st.integers(-400, 400))))
            elif kind == "capped":
                told.append(fund(data.draw(some), ledger=ledger, capped=True))
            else:
                told.append(kind(data.draw(some), ledger=ledger))
        mine = [fact for fact in merge(facts(*told)) if fact.key == POOL_KEY]
        newest = max((fact.position for fact in mine if fact.kind == OBSERVED), default="")
        (fold,) = (fold for fold in APPLICATION.folds if fold.prefix == "pool")
        assert fold.run(None, mine) == fold.run(None, [fact for fact in mine if fact.position >= newest])
