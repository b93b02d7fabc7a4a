"""Ledger entries of every known version, encoded by stellar-sdk: read by name, whatever stands beside; else a reason."""

import pytest

from shared import errors, ledger_entry
from shared.stepfi import entries, values
from shared.stepfi.events import Role
from tests.unit.stepfi.contracts import (
    ADMIN,
    BORROWER,
    CLOSED,
    CONTRACTS,
    PROVIDER,
    VENDOR,
    address,
    boolean,
    entry,
    i128,
    instance,
    loan_entry,
    loan_fields,
    pool_entry,
    shares_entry,
    struct,
    sym,
    text,
    u32,
    u64,
    unit,
    vec,
    vendor_entry,
    void,
)

POOL = Role.LIQUIDITY_POOL
WASM = values.InstanceEntry("07" * 32)


def read(role, stored):
    return entries.read(role, ledger_entry.read_entry(stored.xdr))


def loan(**changed):
    (value,) = read(Role.CREDITLINE, loan_entry(**changed))
    assert isinstance(value, values.LoanEntry)
    return value


def test_a_loan_of_the_first_version():
    assert len(loan_fields()) == 19
    assert loan() == values.LoanEntry(
        loan_id=7,
        borrower=BORROWER,
        vendor=VENDOR,
        status="Active",
        loan_type="Standard",
        total_amount=1000,
        guarantee_amount=200,
        interest_rate_bps=400,
        interest_amount=40,
        service_fee_amount=10,
        remaining_balance=1050,
        principal_outstanding=1000,
        interest_outstanding=40,
        service_fee_outstanding=10,
        late_fees_outstanding=0,
        late_fee_accrual_timestamp=0,
        created_at=CLOSED,
        funded_at=CLOSED,
        schedule=(values.Installment(amount=1050, due_date=CLOSED + 1000, paid=False, paid_at=0),),
    )


def test_a_loan_with_a_twentieth_field_is_read_by_its_names():
    """`vendor_paid` sorts last: a reader by position would not notice, one by count would refuse."""
    assert loan(vendor_paid=boolean(True)) == loan()
    assert loan(a_field_that_sorts_first=vec([sym("LaterVariant"), u64(1)])) == loan()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"status": unit("Funded")}, "'Funded' is none of Pending, Active"),
        ({"status": u32(1)}, "a Vec of 1 is needed"),
        ({"status": vec([sym("Active"), u64(1)])}, "a Vec of 1 is needed"),
        ({"loan_type": unit("Revolving")}, "'Revolving' is none of Standard"),
        ({"total_amount": u64(1000)}, "I128 is needed"),
        ({"repayment_schedule": vec([struct(amount=i128(1))])}, "an installment without 'due_date'"),
    ],
)
def test_a_loan_that_says_what_no_version_says_is_refused(changed, reason):
    with pytest.raises(errors.Undecodable, match=reason):
        read(Role.CREDITLINE, loan_entry(**changed))


def test_an_entry_that_holds_another_loan_is_refused():
    stored = entry(Role.CREDITLINE, vec([sym("Loan"), u32(7), u64(7)]), struct(**loan_fields(loan_id=u64(8))))
    with pytest.raises(errors.Undecodable, match="the entry of loan 7 holds loan 8"):
        read(Role.CREDITLINE, stored)


def test_a_loan_without_one_of_its_fields_is_refused():
    fields = loan_fields()
    del fields["remaining_balance"]
    stored = entry(Role.CREDITLINE, vec([sym("Loan"), u32(7), u64(7)]), struct(**fields))
    with pytest.raises(errors.Undecodable, match="a loan without 'remaining_balance'"):
        read(Role.CREDITLINE, stored)


@pytest.mark.parametrize(
    ("role", "key", "value"),
    [
        (Role.CREDITLINE, vec([sym("UserLoanCount"), address(BORROWER)]), u64(3)),
        (Role.CREDITLINE, vec([sym("UserLoanAt"), address(BORROWER), u64(0)]), u64(7)),
        (Role.CREDITLINE, vec([sym("UserLoanPage"), address(BORROWER), u32(0)]), vec([u64(7), u64(8)])),
        (Role.CREDITLINE, vec([sym("UserActiveDebt"), address(BORROWER)]), i128(-5)),
        (POOL, vec([sym("MERCHEX"), address(VENDOR)]), i128(800)),
        (Role.VENDOR_REGISTRY, vec([sym("VendorCount")]), u64(3)),
        (Role.PARAMETERS, vec([sym("Proposal"), u64(0)]), struct(id=u64(0), later=boolean(True))),
        (Role.VOUCHING, vec([sym("LearnerBaseline"), address(BORROWER)]), u32(50)),
        (Role.VOUCHING, vec([sym("LearnerTotalBoost"), address(BORROWER)]), u32(10)),
        (Role.VOUCHING, vec([sym("Mentor"), address(ADMIN)]), boolean(True)),
        (Role.CREDITLINE, u64(1), u64(1)),
    ],
)
def test_entries_that_no_table_holds_say_nothing(role, key, value):
    assert read(role, entry(role, key, value)) == ()


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"status": u32(0)}, "Pending"),
        ({"status": u32(1)}, "Approved"),
        ({"status": u32(2)}, "Suspended"),
        ({"status": u32(3)}, "Rejected"),
        ({"active": boolean(True)}, "Approved"),
        ({"active": boolean(False)}, "Suspended"),
        ({"status": u32(0), "active": boolean(True)}, "Pending"),
    ],
)
def test_a_vendor_before_and_after_it_had_a_status(changed, status):
    stored = vendor_entry(name=text("Books"), registration_date=u64(CLOSED), total_sales=u64(0), **changed)
    assert read(Role.VENDOR_REGISTRY, stored) == (values.VendorEntry(vendor=VENDOR, name="Books", status=status),)


@pytest.mark.parametrize("changed", [{"status": u32(4)}, {"status": unit("Approved")}, {"active": void()}, {}])
def test_a_vendor_without_a_status_that_is_known_is_refused(changed):
    with pytest.raises(errors.Undecodable):
        read(Role.VENDOR_REGISTRY, vendor_entry(name=text("Books"), **changed))


def test_a_provider_of_the_pool():
    assert read(POOL, shares_entry(400)) == (values.SharesEntry(PROVIDER, 400),)


def test_the_pool_of_the_first_version():
    found = read(POOL, pool_entry(shares=1000, liquidity=1500, locked=-7))
    assert found == (WASM, values.PoolEntry(total_shares=1000, total_liquidity=1500, locked_liquidity=-7))


def test_a_pool_that_has_not_begun_has_nothing():
    told = values.PoolEntry(total_shares=0, total_liquidity=0, locked_liquidity=0)
    assert read(POOL, instance(POOL, {"ADMIN": address(ADMIN)})) == (WASM, told)


@pytest.mark.parametrize(
    ("storage", "later"),
    [
        (
            {"ADMIN": address(ADMIN), "TOKEN": address(ADMIN), "CRDTLIN": address(ADMIN), "LOCKED": boolean(False)},
            False,
        ),
        ({"TREASURY": address(ADMIN), "MRCHFND": address(ADMIN), "VERSION": u32(1)}, False),
        ({"VERSION": u32(2)}, True),
        ({"PAUSED": boolean(False)}, True),
        ({"OUTFLOW": u32(5000)}, True),
        ({"A_KEY_OF_LATER": u64(1)}, True),
    ],
)
def test_a_pool_that_was_upgraded_or_holds_more_is_of_a_later_version(storage, later):
    _, told = read(POOL, instance(POOL, {"TOTSHRS": i128(1), **storage}))
    assert isinstance(told, values.PoolEntry)
    assert told.later is later
    assert told.total_shares == 1


def test_the_counter_and_the_scores_stand_in_the_instances():
    line = instance(Role.CREDITLINE, {"LOANCNT": u64(12), "A_KEY_OF_LATER": u64(1)})
    assert read(Role.CREDITLINE, line) == (WASM, values.CreditlineEntry(12))
    assert read(Role.CREDITLINE, instance(Role.CREDITLINE, {})) == (WASM, values.CreditlineEntry(0))
    assert read(Role.REPUTATION, instance(Role.REPUTATION, {})) == (WASM, values.ScoreMapEntry(()))


def test_parameters_with_more_fields_are_an_instance_like_any_other():
    params = struct(base_interest_bps=u32(0), late_fee_bps=u32(50), upgrade_delay_seconds=u64(86_400))
    stored = instance(Role.PARAMETERS, {"PARAMS": params, "MSIG": struct(signers=vec([]), threshold=u32(2))})
    assert read(Role.PARAMETERS, stored) == (WASM,)
    assert CONTRACTS[Role.PARAMETERS] == ledger_entry.read_entry(stored.xdr).contract
