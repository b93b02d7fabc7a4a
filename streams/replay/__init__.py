"""Replay: the tables of `chain` built once more from the log, compared with the live ones, and put in their place if wanted.

    shadow      the second set of tables: made, completed, dropped
    source      the records of the log, from an offset to an offset
    load        records into the shadow: facts, proofs, and the feed of the fold
    feed        what is to be folded, sorted by PostgreSQL in a temporary table of our own session
    fold        each key once, from its first fact to its last
    base        the state before, where the topic has lost its beginning
    follow      what came meanwhile
    compare     table by table by hash, row by row where these differ
    exchange    the locks, and the exchange of the schemas
    outcome     what a replay found
    run         all of it in order

The live worker goes on. It waits twice for a moment at most: while both sets of tables are brought to the same offsets for the
comparison, and for the exchange. Whatever ends a replay before its exchange leaves the live tables as they are.
"""

from streams.replay.outcome import Outcome
from streams.replay.run import run

__all__ = ["Outcome", "run"]
