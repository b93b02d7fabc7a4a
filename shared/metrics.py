"""All metrics, under one prefix and in base units; no ids as labels.

Long-running commands serve them (`serve`); one-shot commands leave them where they are found (`shared/publishing.py`).
"""

import contextlib
import math
from collections.abc import Iterator

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import start_http_server

from shared import errors
from shared.settings import environment_name

log = structlog.get_logger()

registry = CollectorRegistry()

# What the app holds against what the chain says
drift_rows = Gauge(
    "chaintrue_drift_rows",
    "Rows that drifted, as the last sweep of the table found them; what is remembered of it where the last run did not look.",
    ["class", "table"],
    registry=registry,
)
drift_age_seconds = Gauge(
    "chaintrue_drift_age_seconds",
    "Age of the oldest drift that was found and is still there; 0 when there is none, NaN when that is not known.",
    registry=registry,
)
repairs_total = Counter(
    "chaintrue_repairs_total",
    "Findings of runs that repair, by what became of them.",
    ["class", "outcome"],
    registry=registry,
)
sweeps_total = Counter("chaintrue_sweeps_total", "Sweeps by mode and status.", ["mode", "status"], registry=registry)
sweep_last_success_timestamp_seconds = Gauge(
    "chaintrue_sweep_last_success_timestamp_seconds",
    "End of the last complete sweep of any extent, unix time.",
    registry=registry,
)
sweep_last_full_success_timestamp_seconds = Gauge(
    "chaintrue_sweep_last_full_success_timestamp_seconds",
    "End of the last complete sweep that compared everything, unix time; 0 where there was none, NaN when that is not known.",
    registry=registry,
)
sweep_duration_seconds = Gauge(
    "chaintrue_sweep_duration_seconds", "Duration of the last sweep; NaN where none was made.", registry=registry
)
sweep_compared_rows = Gauge(
    "chaintrue_sweep_compared_rows", "Rows that the last sweep compared.", ["table", "side"], registry=registry
)

sweep_lag_ledgers = Gauge(
    "chaintrue_sweep_lag_ledgers",
    "Ledgers by which the tables were behind the nodes when the last sweep or apply began; NaN when that is not known.",
    registry=registry,
)
sweep_lag_seconds = Gauge(
    "chaintrue_sweep_lag_seconds",
    "The same in seconds, by the two close times; NaN when not known.",
    registry=registry,
)
sweep_tip_age_seconds = Gauge(
    "chaintrue_sweep_tip_age_seconds",
    "Age of the newest ledger of the nodes then, by the Chaintrue database's clock; NaN when not known.",
    registry=registry,
)

schedule_next_run_timestamp_seconds = Gauge(
    "chaintrue_schedule_next_run_timestamp_seconds",
    "When the next sweep of the schedule is due, unix time.",
    ["extent"],
    registry=registry,
)

sweep_canary_found = Gauge(
    "chaintrue_sweep_canary_found",
    "1 when the last sweep found the drift that it hid for itself, 0 when not; NaN when none was hidden.",
    registry=registry,
)
spot_coverage_ratio = Gauge(
    "chaintrue_spot_coverage_ratio",
    "Share of a table's entities that the present round of spot checks has asked the chain about.",
    ["table"],
    registry=registry,
)

# What the tables know of the chain
watermark_ledger = Gauge(
    "chaintrue_watermark_ledger",
    "Highest ledger up to which all is covered or superseded; NaN until one is known.",
    registry=registry,
)
chain_lag_seconds = Gauge(
    "chaintrue_chain_lag_seconds", "Age of the newest ledger in the tables; NaN until one is known.", registry=registry
)
gap_ledgers = Gauge(
    "chaintrue_gap_ledgers",
    "Ledgers in gaps that are not closed; NaN where nobody looked: only `chaintrue stream` does.",
    registry=registry,
)
observations_waiting = Gauge(
    "chaintrue_observations_waiting",
    "Ledger entries that the tables ask for and that were not observed yet, 1000 at most; NaN where nobody looked.",
    registry=registry,
)
events_applied_total = Counter("chaintrue_events_applied_total", "Events applied to the tables.", registry=registry)
undecodable_events_total = Counter(
    "chaintrue_undecodable_events_total", "Events that were stored but could not be decoded.", registry=registry
)
frames_applied_total = Counter("chaintrue_frames_applied_total", "Records of the log applied.", registry=registry)
frames_skipped_total = Counter(
    "chaintrue_frames_skipped_total", "Records of the log that had been applied before.", registry=registry
)
apply_seconds = Histogram(
    "chaintrue_apply_seconds",
    "Duration of one transaction of the worker.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=registry,
)

# What is read from the chain
rpc_requests_total = Counter(
    "chaintrue_rpc_requests_total", "Requests to Stellar RPC nodes.", ["method", "outcome"], registry=registry
)
rpc_node_trusted = Gauge(
    "chaintrue_rpc_node_trusted",
    "1 while the node is trusted, 0 while it is distrusted; NaN until it was asked.",
    ["node"],
    registry=registry,
)
retention_margin_ledgers = Gauge(
    "chaintrue_retention_margin_ledgers",
    "Ledgers between the indexer and the oldest ledger that RPC holds; NaN until known.",
    registry=registry,
)
frames_produced_total = Counter("chaintrue_frames_produced_total", "Frames written.", ["kind"], registry=registry)
indexer_active = Gauge("chaintrue_indexer_active", "1 while this process indexes, 0 while it waits.", registry=registry)

UNKNOWN_AT_FIRST = (
    *(drift_age_seconds, sweep_duration_seconds, sweep_canary_found),
    *(sweep_last_success_timestamp_seconds, sweep_last_full_success_timestamp_seconds),
    *(watermark_ledger, chain_lag_seconds, gap_ledgers, retention_margin_ledgers, observations_waiting),
    *(sweep_lag_ledgers, sweep_lag_seconds, sweep_tip_age_seconds),
)
for _unknown in UNKNOWN_AT_FIRST:
    _unknown.set(math.nan)  # 0 would say that all is well, or that all is lost


@contextlib.contextmanager
def serve(port: int | None, *, host: str = "127.0.0.1") -> Iterator[int | None]:
    """Serve /metrics on `host` and `port` (0 = any free one, None = not at all) while the block runs; yield the bound port."""
    if port is None:
        yield None
        return
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except (OSError, UnicodeError) as error:
        variable, address = environment_name("metrics", "port"), environment_name("metrics", "host")
        raise errors.SettingError(
            f"{variable}: port {port} of {host} cannot be bound ({getattr(error, 'strerror', None) or error})",
            cure=f"set {variable} to a free port, or to 0 for any, and {address} to an address of this machine",
        ) from None
    bound = int(server.server_port)
    log.info("metrics are served", port=bound)
    try:
        yield bound
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
