"""What cannot be read is stored whole, counted once, and read by a later version."""

import json

import pytest

from shared import frames
from shared.stepfi import events, values
from shared.stepfi.events import Role
from tests.unit.stepfi.contracts import (
    ADMIN,
    APPLICATION,
    BORROWER,
    STRANGER,
    address,
    end,
    entry,
    event,
    facts,
    i128,
    instance,
    key_of,
    loan_entry,
    u32,
    u64,
    unit,
    void,
)
from tests.unit.stepfi.wire_facts import (
    LOAN_KEY,
    loan,
    of_loan,
    of_pool,
    requested,
)


class TestStored:
    expiry = event(Role.VOUCHING, "VOUCHEXPIRED", [address(ADMIN), address(BORROWER)], u32(10))

    def test_an_unknown_event_is_stored_whole_with_its_reason(self):
        (fact,) = facts(self.expiry)
        assert fact.key == key_of("undecodable", Role.VOUCHING)
        assert (fact.kind, fact.position) == ("VOUCHEXPIRED", self.expiry.id)
        assert fact.problem == "vouching has no event 'VOUCHEXPIRED' that this version knows"
        assert frames.event_from_wire(json.loads(fact.body)) == self.expiry

    def test_it_counts_once_however_many_things_it_names(self):
        told = facts(of_loan("LOANFUNDED", void(), ledger=2), of_pool("LQDEPST", void(), ledger=2))
        assert [fact.kind for fact in told if fact.problem] == ["LOANFUNDED", "LQDEPST"]
        assert len(told) > 2

    def test_a_later_version_reads_what_this_one_stored(self, monkeypatch):
        unread = of_loan("LOANFUNDED", void(), ledger=2)
        stored = [fact for fact in facts(unread) if fact.key == LOAN_KEY]
        (now,) = (APPLICATION.restore(key=f.key, position=f.position, kind=f.kind, body=f.body) for f in stored)
        assert isinstance(now.payload, values.Unread)
        monkeypatch.setitem(
            events._DECODERS[Role.CREDITLINE], "LOANFUNDED", lambda topics, _: values.GraceWarned(int(topics[0]))
        )
        (later,) = (APPLICATION.restore(key=f.key, position=f.position, kind=f.kind, body=f.body) for f in stored)
        assert later.payload == values.GraceWarned(7)
        assert [fact.problem for fact in facts(unread)] == [None]

    @pytest.mark.parametrize("name", ["observed", "origin", "absent"])
    @pytest.mark.parametrize("kind", ["contract", "system"])
    def test_no_event_passes_for_an_observation(self, name, kind):
        told = facts(of_pool(name, i128(1), ledger=2, kind=kind))
        assert {fact.kind for fact in told} == {f"event {name}"}
        restored = [APPLICATION.restore(key=f.key, position=f.position, kind=f.kind, body=f.body) for f in told[-1:]]
        assert restored == told[-1:]

    def test_of_a_contract_that_is_none_of_ours_nothing_is_known_or_asked(self):
        stray = event(None, "LOANAPPROVED", [u64(7)], void(), contract=STRANGER)
        (fact,) = facts(stray)
        assert fact.key == f"undecodable:{STRANGER}"
        assert "none of the configured contracts" in (fact.problem or "")

    def test_topics_that_cannot_be_read_leave_the_rest_of_the_event_its_meaning(self):
        """The borrower is a muxed contract: refused by type. Which loan it was is told, so that loan is unknown."""
        good = of_loan("LOANRPD", void(), ledger=2, topics=[address(BORROWER), u64(7)])
        muxed = "AAAAEgAAAAUAAAAAAAAAAQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"
        bad = frames.Event(**{**fields_of(good), "topics": (good.topics[0], muxed, good.topics[2])})
        told = facts(bad)
        assert "muxed contract" in (told[0].problem or "")
        assert told[0].kind == "LOANRPD"
        assert loan((loan_entry(), 1), bad).remaining_balance is None

    def test_an_event_that_cannot_be_read_at_all_is_stored_unnamed(self):
        good = of_loan("LOANRPD", void(), ledger=2)
        for broken in ({"topics": ("!",)}, {"topics": ()}, {"closed_at": "yesterday"}):
            told = facts(frames.Event(**{**fields_of(good), **broken}))
            assert told[0].key == key_of("undecodable", Role.CREDITLINE)
            assert told[0].problem
            assert told[0].kind in ("unnamed", "LOANRPD")

    def test_an_entry_that_cannot_be_read_changes_nothing_and_is_counted_by_its_kind(self):
        unread = (loan_entry(status=unit("Funded")), 3)
        (fact,) = facts(unread)
        assert fact.key == f"{key_of('undecodable', Role.CREDITLINE)}:{unread[0].key}"
        assert (fact.kind, fact.position) == ("entry Loan", end(3))
        assert "'Funded' is none of" in (fact.problem or "")
        row = loan(requested(), (loan_entry(), 1), unread)
        assert (row.status, row.observed_at) == ("Active", end(1))

    def test_an_instance_and_a_key_that_cannot_be_read_are_counted_too(self):
        (fact,) = facts((instance(Role.LIQUIDITY_POOL, {"TOTSHRS": u64(1)}), 3))
        assert fact.kind == "entry instance"
        (fact,) = facts((frames.Entry(key="AAAA", xdr="AAAA"), 3))
        assert (fact.key, fact.kind) == ("undecodable::AAAA", "entry")
        plain = entry(Role.CREDITLINE, u64(1), u64(1))
        (fact,) = facts((frames.Entry(key=plain.key, xdr="AAAA"), 3))
        assert fact.kind == "entry"


def fields_of(one):
    return {name: getattr(one, name) for name in ("id", "type", "contract", "tx_hash", "closed_at", "topics", "value")}
