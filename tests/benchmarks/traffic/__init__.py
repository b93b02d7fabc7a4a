"""StepFi traffic of any length: what its users do, as the events and entries that a chain would show of it.

    world     who and what there is: borrowers, loans, providers, vendors, scores; of bounded size
    lending   the life of a loan, as actions: each is one transaction and gives its events
    others    the other contracts' actions: pool, scores, vendors, parameters
    mix       how often which action happens: as in `tests/vectors/random-1`
    entries   the ledger entries behind loans, providers and instances
    chain     transactions in ledgers: event ids, close times, hashes

The token's own events are left out, for no scope of ours has them. Everything follows from the seed.
"""
