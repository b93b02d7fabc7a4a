"""All tables of StepFi that a sweep compares, in the order in which they are looked at."""

from shared.stepfi.settings import Stepfi
from sweeper.context import Subject
from sweeper.stepfi.liquidity_positions import LiquidityPositions
from sweeper.stepfi.loans import Loans
from sweeper.stepfi.reputation_cache import ReputationCache
from sweeper.stepfi.reputation_history import ReputationHistory
from sweeper.stepfi.transactions import Transactions
from sweeper.stepfi.vendors import Vendors


def subjects(settings: Stepfi) -> tuple[Subject, ...]:
    """The subjects, for the contracts and words of the settings."""
    return (
        Vendors(settings),
        Loans(settings),
        ReputationCache(settings),
        ReputationHistory(settings),
        LiquidityPositions(settings),
        Transactions(),
    )
