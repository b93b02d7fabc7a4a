"""The ways on which a one-shot command tells its metrics: a text file for a collector, a Pushgateway.

Both replace what the command before it told. What the own database remembers of earlier runs is told again with each; where that
could not be asked, what stands there already is the newest that anybody knows, and stays. Alerts would end otherwise in the
very moment in which a run fails for want of its database.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from prometheus_client import Gauge, Metric, generate_latest, push_to_gateway, pushadd_to_gateway
from prometheus_client.exposition import basic_auth_handler, default_handler
from prometheus_client.registry import Collector

from shared import errors, metrics, whole_file
from shared.settings import Metrics, environment_name

JOB = "chaintrue"
PUSH_TIMEOUT_SECONDS = 10.0

_REMEMBERED: tuple[tuple[Gauge, ...], ...] = (
    (metrics.drift_age_seconds, metrics.drift_rows),
    (metrics.sweep_last_success_timestamp_seconds,),
    (metrics.sweep_last_full_success_timestamp_seconds,),
)
"""What is told together, as the own database has it; the first of each is NaN as long as that is not known."""


def publish(settings: Metrics) -> None:
    """For one-shot commands: write the text file and push to the gateway, whichever is set.

    Raises SettingError when the place that a setting names does not take them.
    """
    if settings.textfile is not None:
        write_textfile(settings.textfile)
    if settings.pushgateway_url is not None:
        push(settings.pushgateway_url)


def write_textfile(path: Path) -> None:
    """Replace `path` by the metrics of now, in one step: a collector never reads half a file."""
    told = generate_latest(metrics.registry).decode()
    try:
        if (unknown := _unknown()) and path.exists():
            told = _as_they_stand(told, path.read_text(errors="replace"), unknown)
        whole_file.write(path, told.encode(), mode=0o644)  # the collector is another user
    except OSError as error:
        raise errors.SettingError(
            f"{environment_name('metrics', 'textfile')}: {path} cannot be written ({error.strerror or error})",
            cure="name a file in an existing directory that chaintrue may write",
        ) from None


def push(url: str) -> None:
    """Push the metrics of now to a Prometheus Pushgateway, in place of what this job pushed before.

    A user and a password in the address are sent as HTTP knows them (Basic), never as a part of the host.
    """
    unknown = _unknown()
    send = pushadd_to_gateway if unknown else push_to_gateway  # the former replaces only what it names
    try:
        place, handler = _way(url)
        send(place, job=JOB, registry=_Without(unknown), timeout=PUSH_TIMEOUT_SECONDS, handler=handler)
    except Exception as error:  # noqa: BLE001 - of more kinds than the library names; their words may quote the address
        status = getattr(error, "code", None)
        what = type(error).__name__ if status is None else f"HTTP {status}"
        raise errors.SettingError(
            f"{environment_name('metrics', 'pushgateway_url')}: the gateway does not take metrics ({what})",
            cure="start the Pushgateway, or correct its address",
        ) from None


class _Without(Collector):
    """All metrics but those of these names."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def collect(self) -> Iterable[Metric]:
        return (one for one in metrics.registry.collect() if one.name not in self._names)


def _unknown() -> list[str]:
    """The names of those that the own database would have told."""
    return [one.name for group in _REMEMBERED if _is_unknown(group[0]) for gauge in group for one in gauge.describe()]


def _is_unknown(gauge: Gauge) -> bool:
    return any(math.isnan(sample.value) for family in gauge.collect() for sample in family.samples)


def _as_they_stand(told: str, before: str, names: Iterable[str]) -> str:
    """`told`, but those of these names as they were told `before`, if they were."""
    for name in names:
        line = re.compile(rf"^(?:# (?:HELP|TYPE) )?{name}[ {{].*\n", re.MULTILINE)
        if kept := "".join(line.findall(before)):
            told = line.sub("", told) + kept
    return told


def _way(url: str) -> tuple[str, Callable[..., Callable[[], None]]]:
    """The address without its user part, and the handler that sends that."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, default_handler
    user, _, password = (unquote(part) for part in userinfo.partition(":"))
    return parts._replace(netloc=host).geturl(), partial(basic_auth_handler, username=user, password=password)
