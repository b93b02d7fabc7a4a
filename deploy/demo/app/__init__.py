"""The application database of the demonstration and the tests.

schema       StepFi's tables, as its migrations make them
chain_truth  what the chain held at a ledger, decoded from a recorded history with stellar-sdk: an oracle of its own
rows         the rows of an application that agrees with that truth
drift        what is then done to them, and what a sweep has to say about it
"""
