"""The bound of every full comparison: each database hashes all of its rows, and ships one number."""

from tests.benchmarks.loanbook.book import Book

_CHAIN = """
SELECT bit_xor(hashtextextended(concat_ws('|', loan_id, borrower, vendor, status, trim_scale(total_amount * 1e-7),
  trim_scale(guarantee_amount * 1e-7), trim_scale(remaining_balance * 1e-7)), 1))
FROM chain.loans
"""
_APP = """
SELECT bit_xor(hashtextextended(concat_ws('|', row.loan_id, row.user_wallet, vendor.wallet_address, row.status,
  trim_scale(row.amount), trim_scale(row.guarantee), trim_scale(row.remaining_balance)), 1))
FROM loans AS row LEFT JOIN vendors AS vendor ON vendor.id = row.vendor_id
"""


def statements(book: Book) -> tuple[tuple[str, str], tuple[str, str]]:
    """(address, statement) of both sides."""
    return (book.chain_url, _CHAIN), (book.app_url, _APP)
