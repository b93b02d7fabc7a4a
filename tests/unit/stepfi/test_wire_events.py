"""Events of every known version of the contracts, encoded by stellar-sdk: it is what it says, or refused with a reason."""

import base64

import pytest
from stellar_sdk import scval as sdk

from shared import errors, scval
from shared.stepfi import events, values
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
    i128,
    installment,
    sym,
    text,
    u32,
    u64,
    unit,
    vec,
    void,
)

CREDITLINE, POOL, REPUTATION, VENDORS, PARAMETERS, VOUCHING = Role
LINE = CONTRACTS[CREDITLINE]
HASH = sdk.to_bytes(b"\7" * 32)


def decoded(role, name, topics, data):
    read = [scval.read_base64(one.to_xdr()) for one in (sym(name), *topics, data)]
    return events.decode(role, tuple(read[:-1]), read[-1])


LOAN_DATA = vec([u64(7), i128(1000), i128(200), vec([installment(amount=1050, due=CLOSED)])])
ONE = values.Installment(amount=1050, due_date=CLOSED, paid=False, paid_at=0)


def opened(*, active):
    return values.LoanOpened(
        loan_id=7,
        borrower=BORROWER,
        vendor=VENDOR,
        total_amount=1000,
        guarantee_amount=200,
        schedule=(ONE,),
        active=active,
    )


OF_BORROWER = [address(BORROWER), u64(7)]
FIRST_VERSION = [
    (CREDITLINE, "LOANCRTD", [address(BORROWER), address(VENDOR)], LOAN_DATA, opened(active=True)),
    (CREDITLINE, "LOANRQST", [address(BORROWER), address(VENDOR)], LOAN_DATA, opened(active=False)),
    (CREDITLINE, "LOANAPPROVED", [u64(7)], void(), values.LoanApproved(7)),
    (CREDITLINE, "LOANCNCL", OF_BORROWER, vec([i128(200), u64(CLOSED)]), values.LoanCancelled(7, BORROWER)),
    (
        CREDITLINE,
        "LOANRPD",
        OF_BORROWER,
        vec([i128(50), i128(1000), boolean(False), u64(CLOSED)]),
        values.LoanRepaid(loan_id=7, borrower=BORROWER, remaining_balance=1000, fully_repaid=False),
    ),
    (
        CREDITLINE,
        "INSTPAID",
        [u64(7)],
        vec([u32(1), i128(50), i128(1000), u64(CLOSED)]),
        values.InstallmentPaid(loan_id=7, index=1, remaining_balance=1000, paid_at=CLOSED),
    ),
    (
        CREDITLINE,
        "LOANLTFE",
        OF_BORROWER,
        vec([i128(5), i128(1055), u64(CLOSED)]),
        values.LateFeeApplied(loan_id=7, borrower=BORROWER, remaining_balance=1055),
    ),
    (
        CREDITLINE,
        "LOANDFLT",
        OF_BORROWER,
        vec([i128(1000), i128(1055), i128(200), u64(CLOSED)]),
        values.LoanDefaulted(loan_id=7, borrower=BORROWER, total_amount=1000, remaining_balance=1055),
    ),
    (CREDITLINE, "LOANGRC", OF_BORROWER, vec([i128(1055), u64(CLOSED), u64(CLOSED)]), values.GraceWarned(7)),
    (CREDITLINE, "CONTRACTUPGRADED", [], vec([u32(1), u32(2), u64(CLOSED)]), values.Upgraded()),
    # The amount comes first where shares are issued, and second where they are burned.
    (
        POOL,
        "LQDEPST",
        [address(PROVIDER)],
        vec([i128(500), i128(400)]),
        values.Deposited(provider=PROVIDER, amount=500, shares=400),
    ),
    (
        POOL,
        "LQWTHDR",
        [address(PROVIDER)],
        vec([i128(400), i128(500)]),
        values.Withdrawn(provider=PROVIDER, amount=500, shares=400),
    ),
    (POOL, "LQFUND", [address(LINE)], i128(800), values.LoanFunded(800)),
    (POOL, "LQREPAY", [address(LINE)], vec([i128(1000), i128(50)]), values.PoolRepaid(1000)),
    (POOL, "LQGUART", [address(LINE)], i128(200), values.GuaranteeReceived(200)),
    (POOL, "LQINTDST", [], vec([i128(100), i128(85), i128(10), i128(5)]), values.InterestDistributed(85)),
    (
        REPUTATION,
        "SCORECHGD",
        [address(BORROWER)],
        vec([u32(50), u32(65), sym("increase")]),
        values.ScoreChanged(user=BORROWER, old=50, new=65, reason="increase"),
    ),
    (
        VENDORS,
        "MERCHTREG",
        [address(VENDOR)],
        text("Books & Co"),
        values.VendorRegistered(vendor=VENDOR, name="Books & Co"),
    ),
    (VENDORS, "MERCHTSTATUS", [address(VENDOR)], u32(0), values.VendorStatusChanged(vendor=VENDOR, status="Pending")),
    (VENDORS, "MERCHTSTATUS", [address(VENDOR)], u32(3), values.VendorStatusChanged(vendor=VENDOR, status="Rejected")),
]
OTHER_VERSIONS = [
    (
        POOL,
        "LQFUND",
        [address(LINE)],
        vec([address(VENDOR), i128(800), i128(9200), i128(0)]),
        values.LoanFunded(800, capped=True),
    ),
    (POOL, "LQLOSS", [address(LINE)], i128(300), values.LossTaken(300)),
    (CREDITLINE, "VENDPAID", [u64(7)], vec([address(VENDOR), i128(800), u64(CLOSED)]), values.VendorPaid(7)),
    (
        VENDORS,
        "MERCHTSTATUS",
        [address(VENDOR)],
        boolean(True),
        values.VendorStatusChanged(vendor=VENDOR, status="Approved"),
    ),
    (
        VENDORS,
        "MERCHTSTATUS",
        [address(VENDOR)],
        boolean(False),
        values.VendorStatusChanged(vendor=VENDOR, status="Suspended"),
    ),
    (
        REPUTATION,
        "SCORECHGD",
        [address(BORROWER)],
        vec([u32(65), u32(60), sym("a_reason_of_later")]),
        values.ScoreChanged(user=BORROWER, old=65, new=60, reason="a_reason_of_later"),
    ),
    *((role, "CONTRACTUPGRADED", [], vec([u32(1), u32(2), u64(CLOSED)]), values.Upgraded()) for role in Role),
]
KNOWN_BY_NAME = [
    (POOL, "PAUSED", [address(ADMIN)], u64(CLOSED)),
    (POOL, "UNPAUSED", [address(ADMIN)], u64(CLOSED)),
    (POOL, "CAPSUPD", [address(ADMIN)], vec([u32(5000), i128(0)])),
    (POOL, "VREGUPD", [address(ADMIN)], vec([address(CONTRACTS[VENDORS])])),
    (POOL, "VREGUPD", [address(ADMIN)], vec([void()])),
    *((role, "UPGDPRP", [], vec([HASH, u64(CLOSED), u64(CLOSED + 86_400)])) for role in Role),
    (REPUTATION, "UPDCHGD", [address(ADMIN)], boolean(True)),
    (REPUTATION, "ADMINCHGD", [], vec([address(ADMIN), address(PROVIDER)])),
    (PARAMETERS, "PARMUPDT", [address(ADMIN)], vec([i128(20), u32(50), u32(15), u32(20), i128(5000), u32(30), u32(0)])),
    # The parameters of later versions have an upgrade's delay and a late fee beside these.
    (
        PARAMETERS,
        "PARMUPDT",
        [address(ADMIN)],
        vec([i128(20), u32(50), u32(15), u32(20), i128(5000), u32(30), u32(0), u64(86_400), u32(50)]),
    ),
    (PARAMETERS, "PARMADMN", [address(ADMIN)], address(PROVIDER)),
    (PARAMETERS, "MSCONFIG", [], vec([u32(2), u32(3)])),
    (PARAMETERS, "MSCONFIG", [], vec([u32(2), u32(3), u64(CLOSED)])),
    (PARAMETERS, "PROPNEW", [address(ADMIN)], u64(0)),
    (PARAMETERS, "PROPAPPR", [address(ADMIN)], vec([u64(0), u32(2)])),
    (PARAMETERS, "PROPEXEC", [], u64(0)),
    (VOUCHING, "MENTORVOUCHED", [address(ADMIN), address(BORROWER)], u32(10)),
    (VOUCHING, "VOUCHREVOKED", [address(ADMIN), address(BORROWER)], u32(10)),
    (VOUCHING, "MENTORVERIFIED", [address(ADMIN)], boolean(True)),
]


def _ids(rows):
    return [f"{role.value}-{name}-{number}" for number, (role, name, *_) in enumerate(rows)]


@pytest.mark.parametrize(
    ("role", "name", "topics", "data", "value"),
    FIRST_VERSION + OTHER_VERSIONS,
    ids=_ids(FIRST_VERSION + OTHER_VERSIONS),
)
def test_an_event_is_what_it_says(role, name, topics, data, value):
    assert decoded(role, name, topics, data) == value


@pytest.mark.parametrize(("role", "name", "topics", "data"), KNOWN_BY_NAME, ids=_ids(KNOWN_BY_NAME))
def test_what_changes_nothing_of_ours_is_known_by_its_name(role, name, topics, data):
    assert decoded(role, name, topics, data) == values.Other(name)


UNKNOWN = [
    (CREDITLINE, "LOANFUNDED", [u64(7)], i128(800), "creditline has no event 'LOANFUNDED' that this version knows"),
    (VOUCHING, "VOUCHEXPIRED", [address(ADMIN), address(BORROWER)], u32(10), "vouching has no event 'VOUCHEXPIRED'"),
    (PARAMETERS, "PROPCANC", [], u64(0), "parameters has no event 'PROPCANC'"),
    (REPUTATION, "LQDEPST", [address(PROVIDER)], vec([i128(1), i128(1)]), "reputation has no event 'LQDEPST'"),
    (POOL, "LQFUND", [address(LINE)], vec([address(VENDOR), i128(800)]), "a Vec of 4 is needed"),
    (POOL, "LQFUND", [address(LINE)], vec([i128(800), address(VENDOR), i128(0), i128(0)]), "Address is needed"),
    (POOL, "LQFUND", [address(LINE)], u64(800), "I128 is needed"),
    (POOL, "LQLOSS", [address(LINE)], vec([i128(300)]), "I128 is needed"),
    (POOL, "LQDEPST", [address(PROVIDER)], vec([i128(500), i128(400), i128(1)]), "a Vec of 2 is needed"),
    (POOL, "LQDEPST", [], vec([i128(500), i128(400)]), "1 topics are needed"),
    (POOL, "LQINTDST", [address(LINE)], vec([i128(1)] * 4), "0 topics are needed"),
    (CREDITLINE, "LOANAPPROVED", [u64(7)], u64(CLOSED), "NoneType is needed where U64"),
    (CREDITLINE, "LOANAPPROVED", [u32(7)], void(), "U64 is needed where U32"),
    (CREDITLINE, "LOANRPD", [u64(7), address(BORROWER)], void(), "Address is needed where U64"),
    (CREDITLINE, "LOANRPD", OF_BORROWER, vec([i128(1), i128(1), u32(1), u64(1)]), "bool is needed where U32"),
    (CREDITLINE, "LOANCRTD", [address(BORROWER)], LOAN_DATA, "2 topics are needed"),
    (CREDITLINE, "LOANCRTD", [address(BORROWER), address(VENDOR)], vec([u64(7)]), "a Vec of 4 is needed"),
    (VENDORS, "MERCHTSTATUS", [address(VENDOR)], u32(4), "U32 '4' is no status of a vendor"),
    (VENDORS, "MERCHTSTATUS", [address(VENDOR)], unit("Approved"), "is no status of a vendor"),
    (VENDORS, "MERCHTREG", [address(VENDOR)], sym("name"), "String is needed"),
    (REPUTATION, "SCORECHGD", [address(BORROWER)], vec([u32(1), u32(2)]), "a Vec of 3 is needed"),
    (CREDITLINE, "CONTRACTUPGRADED", [], vec([u32(1), u32(2)]), "a Vec of 3 is needed"),
]


@pytest.mark.parametrize(("role", "name", "topics", "data", "reason"), UNKNOWN, ids=_ids(UNKNOWN))
def test_a_name_or_a_shape_that_no_version_has_is_refused_with_its_reason(role, name, topics, data, reason):
    with pytest.raises(errors.Undecodable, match=reason):
        decoded(role, name, topics, data)


@pytest.mark.parametrize("topics", [(), (scval.String(b"LOANRPD"),), (scval.U64(7),)])
def test_without_a_symbol_there_is_no_name(topics):
    with pytest.raises(errors.Undecodable):
        events.decode(Role.CREDITLINE, topics, None)


def test_a_muxed_contract_is_refused_by_its_type():
    """`W…`: the oracle has no such arm yet, so its bytes stand here. ScVal ADDRESS, arm 5, a u64, the contract's hash."""
    muxed = b"\0\0\0\x12" + b"\0\0\0\5" + b"\0" * 7 + b"\1" + b"\7" * 32
    with pytest.raises(errors.Undecodable, match=r"arm 5 \(muxed contract\)"):
        scval.read_base64(base64.b64encode(muxed).decode())


def test_an_installment_with_more_fields_is_read_by_its_names():
    late = sdk.to_map(
        {
            sym("amount"): i128(1050),
            sym("due_date"): u64(CLOSED),
            sym("late"): boolean(True),
            sym("paid"): boolean(False),
            sym("paid_at"): u64(0),
        }
    )
    data = vec([u64(7), i128(1000), i128(200), vec([late])])
    event = decoded(CREDITLINE, "LOANCRTD", [address(BORROWER), address(VENDOR)], data)
    assert isinstance(event, values.LoanOpened)
    assert event.schedule == (ONE,)
