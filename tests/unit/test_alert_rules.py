"""The alerts speak of metrics that exist, with the labels that they have."""

import re
from pathlib import Path

import pytest

from deploy import cli
from shared import metrics

RULES = (Path(__file__).parents[2] / "deploy" / "prometheus" / "rules.yml").read_text()
ALERTS = re.split(r"^ +- alert: ", RULES, flags=re.MULTILINE)[1:]
MEASURED = {
    name: set(getattr(collector, "_labelnames", ()))
    for collector, names in metrics.registry._collector_to_names.items()
    for name in names
    if not name.endswith("_created")
}


def expression(alert: str) -> str:
    (found,) = re.findall(r"^ +expr: (.+)$", alert, re.MULTILINE)
    return str(found)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.partition("\n")[0])
def test_an_alert_uses_what_is_measured(alert: str) -> None:
    names = re.findall(r"\bchaintrue_\w+", expression(alert))
    assert names
    assert set(names) <= MEASURED.keys()
    labels = set().union(*(MEASURED[name] for name in names))
    asked = re.findall(r"[{,](\w+)=", expression(alert)) + re.findall(r"\$labels\.(\w+)", alert)
    asked += [one for group in re.findall(r"by \(([^)]+)\)", alert) for one in group.split(", ")]
    assert set(asked) <= labels


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.partition("\n")[0])
def test_an_alert_says_what_is_wrong_and_what_to_do(alert: str) -> None:
    assert re.search(r"severity: (critical|warning) }", alert)
    assert re.search(r"^ +summary: .", alert, re.MULTILINE)
    assert re.search(r"^ +action: .", alert, re.MULTILINE)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.partition("\n")[0])
def test_what_one_process_does_not_know_hides_nothing_that_another_one_says(alert: str) -> None:
    """NaN is neither above nor below anything, and max and min pass it by where they have another value; a sum becomes NaN."""
    unknown = {gauge._name for gauge in metrics.UNKNOWN_AT_FIRST}
    if unknown & set(re.findall(r"\bchaintrue_\w+", expression(alert))):
        compared = r"(time\(\) - )?(max|min)\(chaintrue_\w+( == 0| > 0)?\) (<|>|==) [\d *]+"
        assert re.fullmatch(rf"{compared}|absent\(chaintrue_\w+ > 0\)", expression(alert))


def test_full_sweeps_that_fail_are_seen_beside_others_that_do_not() -> None:
    (alert,) = [one for one in ALERTS if one.startswith("ChaintrueNoFullSweep")]
    assert expression(alert) == "time() - max(chaintrue_sweep_last_full_success_timestamp_seconds > 0) > 26 * 3600"


def test_the_commands_that_are_named_exist_or_are_promised() -> None:
    promised = {"apply", "undo", "schedule", "doctor"}
    assert set(re.findall(r"`chaintrue (\w+)", RULES)) <= cli.cli.commands.keys() | promised


def test_what_matters_most_is_watched() -> None:
    wanted = {
        "sweep_last_success_timestamp_seconds",
        "sweep_last_full_success_timestamp_seconds",
        "drift_age_seconds",
        "chain_lag_seconds",
        "retention_margin_ledgers",
    }
    assert all(any(f"chaintrue_{name}" in expression(alert) for alert in ALERTS) for name in wanted)
