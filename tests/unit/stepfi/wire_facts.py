"""What other versions of the contracts tell, in short, and the rows that follow."""

from shared.stepfi.events import Role
from tests.unit.stepfi.contracts import (
    BORROWER,
    CLOSED,
    CONTRACTS,
    PROVIDER,
    VENDOR,
    address,
    event,
    i128,
    installment,
    key_of,
    pool_entry,
    states,
    u64,
    vec,
)

LINE = address(CONTRACTS[Role.CREDITLINE])
POOL_KEY = key_of("pool", Role.LIQUIDITY_POOL)
LOAN_KEY = key_of("loan", Role.CREDITLINE, 7)
CREDITLINE_KEY = key_of("contract", Role.CREDITLINE)
TERMS = vec([u64(7), i128(1000), i128(200), vec([installment(amount=1050, due=CLOSED)])])


def of_pool(name, data, *, ledger, topics=(LINE,), kind="contract"):
    return event(Role.LIQUIDITY_POOL, name, topics, data, ledger=ledger, kind=kind)


def deposit(amount, shares, *, ledger):
    return of_pool("LQDEPST", vec([i128(amount), i128(shares)]), ledger=ledger, topics=[address(PROVIDER)])


def withdraw(shares, amount, *, ledger):
    return of_pool("LQWTHDR", vec([i128(shares), i128(amount)]), ledger=ledger, topics=[address(PROVIDER)])


def fund(amount, *, ledger, capped=False):
    data = vec([address(VENDOR), i128(amount), i128(0), i128(0)]) if capped else i128(amount)
    return of_pool("LQFUND", data, ledger=ledger)


def repay(principal, *, ledger):
    return of_pool("LQREPAY", vec([i128(principal), i128(0)]), ledger=ledger)


def guarantee(amount, *, ledger):
    return of_pool("LQGUART", i128(amount), ledger=ledger)


def loss(amount, *, ledger):
    return of_pool("LQLOSS", i128(amount), ledger=ledger)


def seen(ledger, *, shares=1000, liquidity=1000, locked=0):
    return pool_entry(shares=shares, liquidity=liquidity, locked=locked), ledger


def pool(*told):
    return states(*told)[POOL_KEY]


def totals(*told):
    row = pool(*told)
    return row.total_shares, row.total_liquidity, row.locked_liquidity


def of_loan(name, data, *, ledger, topics=None):
    return event(Role.CREDITLINE, name, [u64(7)] if topics is None else topics, data, ledger=ledger)


def requested(ledger=1):
    return of_loan("LOANRQST", TERMS, ledger=ledger, topics=[address(BORROWER), address(VENDOR)])


def loan(*told):
    return states(*told)[LOAN_KEY]


VENDOR_PAID = of_loan("VENDPAID", vec([address(VENDOR), i128(800), u64(CLOSED)]), ledger=2)
