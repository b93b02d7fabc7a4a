"""The ids of loans in the application: those of the chain, and those that the application makes up until it knows them. Pure."""

NEVER_ON_CHAIN = frozenset({"under_review", "rejected"})
"""Statuses of rows that no transaction was made for."""
PROVISIONAL_PREFIXES = ("pending-", "pending_", "loan_")
_LONGEST_ID = len(str((1 << 64) - 1))


def is_real_id(loan_id: str) -> bool:
    """Whether the app's id is one of the chain: a decimal u64, as the contract counts."""
    digits = len(loan_id) <= _LONGEST_ID and loan_id.isascii() and loan_id.isdecimal()
    return digits and (loan_id == "0" or loan_id[0] != "0") and int(loan_id) < 1 << 64


def is_provisional(loan_id: str) -> bool:
    """Whether the id is one that the app made up until the chain's is known."""
    return loan_id.startswith(PROVISIONAL_PREFIXES)
