"""The SQL that writes the book. Both sides compute a loan from its number by the same expressions, so nothing is shipped.

Parameters: $1 the first number, $2 the last one; on the chain's side $3 the contract.
"""

from tests.benchmarks.loanbook import world

ADDRESSES = "CREATE TEMP TABLE {name} (number integer PRIMARY KEY, address text NOT NULL)"

_TERMS = f"""
SELECT n, n % {world.PEOPLE} AS person, n % {world.VENDORS} AS shop,
  CASE WHEN n % 20 = 0 THEN 'Pending' WHEN n % 20 = 1 THEN 'Defaulted' WHEN n % 20 = 2 THEN 'Cancelled'
    WHEN n % 20 < 9 THEN 'Active' ELSE 'Paid' END AS status,
  (5000 + n * 7919 % 900000) * 100000 AS total,
  {world.FIRST_CLOSE} + n * {world.SECONDS_BETWEEN} AS born
FROM generate_series($1::bigint, $2::bigint) AS n
"""
"""Amounts in the smallest unit, of which a cent has 100,000."""

_LOANS = f"""
SELECT terms.*, total / 5 AS guarantee, total - total / 5 AS lent,
  CASE status WHEN 'Pending' THEN total - total / 5 WHEN 'Active' THEN 1 + n * 104729 % (total - total / 5)
    WHEN 'Defaulted' THEN (total - total / 5) / 3 ELSE 0 END AS remaining,
  born + {world.MONTH} AS ended
FROM ({_TERMS}) AS terms
"""

_POSITION = "lpad(((({ledger})::bigint << 32) | 4096)::text, 19, '0') || '-0000000001'"
_LEDGER = f"{world.FIRST_LEDGER} + n * {world.SECONDS_BETWEEN} / {world.SECONDS_PER_LEDGER}"

_INSTALLMENT = (
    "jsonb_build_object('amount', (lent / 3)::text, 'due_date', (born + {number} * "
    f"{world.MONTH})::text, 'paid', false, 'paid_at', '0')"
)
_SCHEDULE = ", ".join(_INSTALLMENT.format(number=number) for number in (1, 2, 3))

CHAIN_LOANS = f"""
INSERT INTO chain.loans (key, position, observed_at, contract, loan_id, terms_since, borrower, vendor,
  total_amount, guarantee_amount, schedule, details_since, loan_type, interest_rate_bps, interest_amount,
  service_fee_amount, funded_at, status_since, status, balance_since, remaining_balance, buckets_since,
  principal_outstanding, interest_outstanding, service_fee_outstanding, late_fees_outstanding,
  late_fee_accrual_timestamp, created_at, created_tx, approved_at, completed_at, defaulted_at, cancelled_at)
SELECT 'loan:' || $3 || ':' || n, at, at, $3, n, at, person.address, vendor.address,
  total, guarantee, jsonb_build_array({_SCHEDULE}), at, 'Standard', 400, 0,
  0, born, at, status, at, remaining, at,
  remaining, 0, 0, 0,
  0, born, md5(n::text) || md5((-n)::text), born, CASE status WHEN 'Paid' THEN ended END,
  CASE status WHEN 'Defaulted' THEN ended END, CASE status WHEN 'Cancelled' THEN ended END
FROM (SELECT loans.*, {_POSITION.format(ledger=_LEDGER)} AS at FROM ({_LOANS}) AS loans) AS loan
JOIN people AS person ON person.number = loan.person JOIN shops AS vendor ON vendor.number = loan.shop
"""

VENDORS = """
INSERT INTO vendors (id, wallet_address, name, type, status)
SELECT md5('vendor' || number)::uuid, address, 'Vendor ' || number, 'shop', 'approved' FROM shops
"""

_APP_STATUS = "CASE status WHEN 'Paid' THEN 'completed' ELSE lower(status) END"

APP_LOANS = f"""
INSERT INTO loans (id, loan_id, user_wallet, vendor_id, amount, loan_amount, guarantee, interest_rate, total_repayment,
  remaining_balance, term, status, next_payment_due, created_at, updated_at, completed_at, defaulted_at)
SELECT md5('loan' || n)::uuid, n::text, person.address, md5('vendor' || shop)::uuid, total * 1e-7,
  CASE n % 2 WHEN 0 THEN trim_scale(lent * 1e-7) ELSE lent * 1e-7 END, trim_scale(guarantee * 1e-7), 4, total * 1e-7,
  CASE n % 2 WHEN 0 THEN trim_scale(remaining * 1e-7) ELSE remaining * 1e-7 END, 3, {_APP_STATUS},
  CASE status WHEN 'Active' THEN to_timestamp(ended) END, to_timestamp(born - 20), to_timestamp(ended + 3),
  CASE status WHEN 'Paid' THEN to_timestamp(ended + 2) END, CASE status WHEN 'Defaulted' THEN to_timestamp(ended + 2) END
FROM ({_LOANS}) AS loan JOIN people AS person ON person.number = loan.person
"""

REJECTED_LOANS = f"""
INSERT INTO loans (loan_id, user_wallet, vendor_id, amount, loan_amount, guarantee, interest_rate, total_repayment,
  remaining_balance, term, status, created_at, updated_at)
SELECT 'pending-' || md5('rejected' || n), person.address, md5('vendor' || shop)::uuid, total * 1e-7, lent * 1e-7,
  guarantee * 1e-7, 4, total * 1e-7, lent * 1e-7, 3, 'rejected', to_timestamp(born), to_timestamp(born)
FROM ({_LOANS}) AS loan JOIN people AS person ON person.number = loan.person
WHERE n % {world.REJECTED_EVERY} = 0
"""
"""Rows that are the application's alone: nothing of the chain belongs to them."""

_PEER = (
    "(loan bigint PRIMARY KEY, user_wallet text, vendor text, amount numeric(38, 7), guarantee numeric(38, 7), "
    "status text, remaining_balance numeric(38, 7))"
)

PEER_OF_CHAIN = (
    f"CREATE TABLE peer {_PEER}",
    "INSERT INTO peer SELECT loan_id, borrower, vendor, total_amount * 1e-7, guarantee_amount * 1e-7, "
    f"{_APP_STATUS}, remaining_balance * 1e-7 FROM chain.loans ORDER BY loan_id",
)

PEER_OF_APP = (
    f"CREATE TABLE peer {_PEER}",
    "INSERT INTO peer SELECT row.loan_id::bigint, row.user_wallet, vendor.wallet_address, row.amount, row.guarantee, row.status, "
    "row.remaining_balance FROM loans AS row JOIN vendors AS vendor ON vendor.id = row.vendor_id "
    "WHERE row.loan_id ~ '^[0-9]+$' ORDER BY 1",
)
"""What a tool with integer keys is given: the compared columns alone, in one form, each table in the order of its key."""

VIEW_OF_CHAIN = (
    "CREATE INDEX ON chain.loans ((CAST(loan_id AS bigint)))",
    "CREATE VIEW peer_view AS SELECT CAST(loan_id AS bigint) AS loan, borrower AS user_wallet, vendor, "
    f"total_amount * 1e-7 AS amount, guarantee_amount * 1e-7 AS guarantee, {_APP_STATUS} AS status, "
    "remaining_balance * 1e-7 AS remaining_balance FROM chain.loans",
)

VIEW_OF_APP = (
    "CREATE INDEX ON loans ((CAST(loan_id AS bigint))) WHERE loan_id ~ '^[0-9]+$'",
    "CREATE VIEW peer_view AS SELECT CAST(row.loan_id AS bigint) AS loan, row.user_wallet, vendor.wallet_address AS vendor, "
    "row.amount, row.guarantee, row.status, row.remaining_balance "
    "FROM loans AS row JOIN vendors AS vendor ON vendor.id = row.vendor_id WHERE row.loan_id ~ '^[0-9]+$'",
)
"""The same on the tables as they are: views, with indexes that give them their integer key."""
