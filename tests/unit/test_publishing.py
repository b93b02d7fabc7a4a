"""How a one-shot command leaves its metrics: what takes the place of what, and what is said of places that take nothing."""

import base64
import http.server
import math
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared import errors, metrics, publishing
from shared.settings import Metrics


def values(text: str) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(autouse=True)
def fresh() -> None:
    """As in a process that begins."""
    metrics.drift_rows.clear()
    for gauge in metrics.UNKNOWN_AT_FIRST:
        gauge.set(math.nan)


def test_the_textfile_is_replaced_in_one_step(tmp_path: Path):
    path = tmp_path / "chaintrue.prom"
    path.write_text("old")
    publishing.publish(Metrics(textfile=path))
    assert ("chaintrue_watermark_ledger",) in values(path.read_text())
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_a_process_has_not_measured_is_told_as_unknown(tmp_path: Path):
    """A process of its own, for the gauges of this one were set by others. A 0 would end the alerts of a run before."""
    path = tmp_path / "chaintrue.prom"
    code = "import pathlib, sys; from shared import publishing; publishing.write_textfile(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)  # noqa: S603 - words of our own
    shown = {
        sample.name.removeprefix("chaintrue_"): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
        if not sample.labels
    }
    assert {name for name, value in shown.items() if math.isnan(value)} == {
        *("drift_age_seconds", "sweep_duration_seconds", "sweep_canary_found"),
        *("sweep_last_success_timestamp_seconds", "sweep_last_full_success_timestamp_seconds"),
        *("watermark_ledger", "chain_lag_seconds", "gap_ledgers", "retention_margin_ledgers", "observations_waiting"),
        *("sweep_lag_ledgers", "sweep_lag_seconds", "sweep_tip_age_seconds"),
    }


BEFORE = """# HELP chaintrue_drift_rows Rows.
# TYPE chaintrue_drift_rows gauge
chaintrue_drift_rows{class="stale_status",table="loans"} 120.0
# HELP chaintrue_drift_age_seconds Age.
# TYPE chaintrue_drift_age_seconds gauge
chaintrue_drift_age_seconds 90000.0
chaintrue_watermark_ledger 77.0
chaintrue_sweep_last_success_timestamp_seconds 1.7e+09
chaintrue_sweep_last_full_success_timestamp_seconds 1.6e+09
"""


def test_what_is_remembered_and_could_not_be_asked_stays_in_the_textfile(tmp_path: Path):
    """The database is what failed, say: the alerts on drift and on a success long ago must not end with it."""
    path = tmp_path / "chaintrue.prom"
    path.write_text(BEFORE)
    publishing.publish(Metrics(textfile=path))
    shown = values(path.read_text())
    assert shown["chaintrue_drift_rows", "stale_status", "loans"] == 120
    assert shown["chaintrue_drift_age_seconds",] == 90_000
    assert shown["chaintrue_sweep_last_success_timestamp_seconds",] == 1.7e9
    assert shown["chaintrue_sweep_last_full_success_timestamp_seconds",] == 1.6e9
    assert math.isnan(shown["chaintrue_watermark_ledger",])
    again = path.read_text()
    publishing.publish(Metrics(textfile=path))
    assert path.read_text() == again


def test_what_is_known_takes_the_place_of_what_stood_there(tmp_path: Path):
    path = tmp_path / "chaintrue.prom"
    path.write_text(BEFORE)
    metrics.drift_age_seconds.set(0)
    metrics.sweep_last_success_timestamp_seconds.set(0)
    publishing.publish(Metrics(textfile=path))
    shown = values(path.read_text())
    assert ("chaintrue_drift_rows", "stale_status", "loans") not in shown
    assert shown["chaintrue_drift_age_seconds",] == 0
    assert shown["chaintrue_sweep_last_success_timestamp_seconds",] == 0
    assert shown["chaintrue_sweep_last_full_success_timestamp_seconds",] == 1.6e9


def test_a_textfile_that_cannot_be_written_names_the_setting(tmp_path: Path):
    with pytest.raises(errors.SettingError, match="CHAINTRUE_METRICS__TEXTFILE"):
        publishing.publish(Metrics(textfile=tmp_path / "missing" / "chaintrue.prom"))


class _Gateway(http.server.BaseHTTPRequestHandler):
    pushed: list[tuple[str, str]]
    users: list[str | None]
    methods: list[str]

    def do_PUT(self) -> None:  # the name that the library calls
        type(self).methods.append(self.command)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        type(self).pushed.append((self.path, body))
        type(self).users.append(self.headers["Authorization"])
        self.send_response(200)
        self.end_headers()

    do_POST = do_PUT

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[http.server.HTTPServer]:
    _Gateway.pushed, _Gateway.users, _Gateway.methods = [], [], []
    server = http.server.HTTPServer(("127.0.0.1", 0), _Gateway)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_metrics_are_pushed(gateway: http.server.HTTPServer):
    publishing.publish(Metrics(pushgateway_url=f"http://127.0.0.1:{gateway.server_port}"))
    ((path, body),) = _Gateway.pushed
    assert path == "/metrics/job/chaintrue"
    assert "chaintrue_watermark_ledger" in {name for name, *_ in values(body)}


def test_what_is_remembered_and_could_not_be_asked_stays_at_the_gateway(gateway: http.server.HTTPServer):
    """POST replaces what it names, PUT everything."""
    place = Metrics(pushgateway_url=f"http://127.0.0.1:{gateway.server_port}")
    publishing.publish(place)
    for known in (metrics.drift_age_seconds, metrics.sweep_last_success_timestamp_seconds):
        known.set(0)
    publishing.publish(place)
    metrics.sweep_last_full_success_timestamp_seconds.set(0)
    publishing.publish(place)
    assert _Gateway.methods == ["POST", "POST", "PUT"]
    remembered = (
        "drift_age_seconds",
        "sweep_last_success_timestamp_seconds",
        "sweep_last_full_success_timestamp_seconds",
    )
    told = [{name for name, *_ in values(body)} for _, body in _Gateway.pushed]
    assert [[f"chaintrue_{name}" in one for name in remembered] for one in told] == [
        [False, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_a_user_of_the_gateway_is_sent_as_http_knows_users(gateway: http.server.HTTPServer):
    publishing.publish(Metrics(pushgateway_url=f"http://me:s3cr%2Ft@127.0.0.1:{gateway.server_port}/x"))
    assert _Gateway.users == ["Basic " + base64.b64encode(b"me:s3cr/t").decode()]
    assert _Gateway.pushed[0][0] == "/x/metrics/job/chaintrue"


@pytest.mark.parametrize("place", ["me:s3cret@127.0.0.1:1", "me:s3cret@127.0.0.1:port", "me:s3cret@", "s3cret"])
def test_an_address_that_will_not_do_is_not_quoted(place: str):
    with pytest.raises(errors.SettingError, match="CHAINTRUE_METRICS__PUSHGATEWAY_URL") as caught:
        publishing.push(f"http://{place}")
    assert "s3cret" not in str(caught.value)


def test_a_gateway_that_is_down_names_the_setting():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(errors.SettingError, match="CHAINTRUE_METRICS__PUSHGATEWAY_URL"):
            publishing.publish(Metrics(pushgateway_url=f"http://127.0.0.1:{unused.getsockname()[1]}"))
