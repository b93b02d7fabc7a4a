"""The metrics' names, and how they are served."""

import socket
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared import errors, metrics

CONTRACT = {
    "drift_rows": {"class", "table"},
    "drift_age_seconds": set(),
    "repairs_total": {"class", "outcome"},
    "sweep_last_success_timestamp_seconds": set(),
    "sweep_duration_seconds": set(),
    "watermark_ledger": set(),
    "chain_lag_seconds": set(),
    "retention_margin_ledgers": set(),
    "gap_ledgers": set(),
    "events_applied_total": set(),
    "undecodable_events_total": set(),
    "rpc_requests_total": {"method", "outcome"},
}


def samples(text: str) -> dict[str, set[str]]:
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@pytest.fixture
def labelled() -> None:
    """One sample of each that has labels: none is shown before."""
    metrics.drift_rows.labels("stale_status", "loans").set(0)
    metrics.repairs_total.labels("stale_status", "repaired").inc(0)
    metrics.rpc_requests_total.labels("getEvents", "ok").inc(0)


@pytest.mark.usefixtures("labelled")
def test_the_names_of_the_contract_are_served():
    with metrics.serve(0) as port, urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        found = samples(answer.read().decode())
    assert {name: found.get(f"chaintrue_{name}") for name in CONTRACT} == CONTRACT
    assert all(name.startswith("chaintrue_") for name in found)


def test_the_port_is_free_again():
    with metrics.serve(0) as port:
        assert port
    with metrics.serve(port) as again:
        assert again == port


def test_no_port_serves_nothing():
    with metrics.serve(None) as port:
        assert port is None


def test_a_taken_port_names_the_setting():
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))  # noqa: S104 - the test takes the port on all addresses, as the server would
        taken.listen()
        with (
            pytest.raises(errors.SettingError, match="CHAINTRUE_METRICS__PORT"),
            metrics.serve(taken.getsockname()[1]),
        ):
            pass
