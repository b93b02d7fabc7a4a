"""The metrics' names, and the ways out of the process."""

import base64
import http.server
import math
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared import errors, metrics
from shared.settings import Metrics

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


def test_the_textfile_is_replaced_in_one_step(tmp_path: Path):
    path = tmp_path / "chaintrue.prom"
    path.write_text("old")
    metrics.publish(Metrics(textfile=path))
    assert "chaintrue_watermark_ledger" in samples(path.read_text())
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_a_process_has_not_measured_is_told_as_unknown(tmp_path: Path):
    """A process of its own, for the gauges of this one were set by others. A 0 would end the alerts of a run before."""
    path = tmp_path / "chaintrue.prom"
    code = "import pathlib, sys; from shared import metrics; metrics.write_textfile(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)  # noqa: S603 - words of our own
    shown = {
        sample.name.removeprefix("chaintrue_"): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
        if not sample.labels
    }
    assert {name for name, value in shown.items() if math.isnan(value)} == {
        *("drift_age_seconds", "sweep_duration_seconds", "sweep_canary_found"),
        *("watermark_ledger", "chain_lag_seconds", "gap_ledgers", "retention_margin_ledgers"),
    }
    assert shown["sweep_last_success_timestamp_seconds"] == 0  # an alert has to come of it where nobody knows of any


def test_a_textfile_that_cannot_be_written_names_the_setting(tmp_path: Path):
    with pytest.raises(errors.SettingError, match="CHAINTRUE_METRICS__TEXTFILE"):
        metrics.publish(Metrics(textfile=tmp_path / "missing" / "chaintrue.prom"))


class _Gateway(http.server.BaseHTTPRequestHandler):
    pushed: list[tuple[str, str]]
    users: list[str | None]

    def do_PUT(self) -> None:  # the name that the library calls
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        type(self).pushed.append((self.path, body))
        type(self).users.append(self.headers["Authorization"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[http.server.HTTPServer]:
    _Gateway.pushed, _Gateway.users = [], []
    server = http.server.HTTPServer(("127.0.0.1", 0), _Gateway)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_metrics_are_pushed(gateway: http.server.HTTPServer):
    metrics.publish(Metrics(pushgateway_url=f"http://127.0.0.1:{gateway.server_port}"))
    ((path, body),) = _Gateway.pushed
    assert path == "/metrics/job/chaintrue"
    assert "chaintrue_watermark_ledger" in samples(body)


def test_a_user_of_the_gateway_is_sent_as_http_knows_users(gateway: http.server.HTTPServer):
    metrics.publish(Metrics(pushgateway_url=f"http://me:s3cr%2Ft@127.0.0.1:{gateway.server_port}/x"))
    assert _Gateway.users == ["Basic " + base64.b64encode(b"me:s3cr/t").decode()]
    assert _Gateway.pushed[0][0] == "/x/metrics/job/chaintrue"


@pytest.mark.parametrize("place", ["me:s3cret@127.0.0.1:1", "me:s3cret@127.0.0.1:port", "me:s3cret@", "s3cret"])
def test_an_address_that_will_not_do_is_not_quoted(place: str):
    with pytest.raises(errors.SettingError, match="CHAINTRUE_METRICS__PUSHGATEWAY_URL") as caught:
        metrics.publish(Metrics(pushgateway_url=f"http://{place}"))
    assert "s3cret" not in str(caught.value)


def test_a_gateway_that_is_down_names_the_setting():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(errors.SettingError, match="CHAINTRUE_METRICS__PUSHGATEWAY_URL"):
            metrics.publish(Metrics(pushgateway_url=f"http://127.0.0.1:{unused.getsockname()[1]}"))
