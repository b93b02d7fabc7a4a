"""Seeded simulations: the real processes on a Kafka and a PostgreSQL of their own, while things go wrong.

Each test draws from its seed what goes wrong and when; the seed is in the test's name, the plan is printed, and both are shown
when it fails. A run is not repeated exactly (processes race), but its blows are. A seed that failed once stays in the list of
its test, with the bug named. By default a few seeds run; `CHAINTRUE_TEST_SEEDS=50` runs fifty of each test:

    CHAINTRUE_TEST_SEEDS=50 .venv/bin/python -m pytest tests/simulation/test_crash.py -k seed-17
"""
