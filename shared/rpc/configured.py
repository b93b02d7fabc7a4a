"""The client as the settings have it."""

from shared.rpc.calls import OnRequest
from shared.rpc.client import Client
from shared.settings import EngineSettings

GLANCE_ATTEMPTS = 2


def client(settings: EngineSettings, *, on_request: OnRequest = lambda _method, _outcome: None) -> Client:
    """For work: every question is asked again until the budget of the settings is spent."""
    return Client(
        urls=settings.rpc.urls,
        passphrase=settings.network.passphrase or "",
        ca_file=settings.rpc.ca_file,
        timeout_seconds=settings.rpc.timeout_seconds,
        max_attempts=settings.rpc.max_attempts,
        requests_per_second=settings.rpc.requests_per_second,
        on_request=on_request,
    )


def glance(settings: EngineSettings, *, on_request: OnRequest = lambda _method, _outcome: None) -> Client:
    """Return a client for a look at the nodes: one that does not answer within one time-out counts as silent."""
    return Client(
        urls=settings.rpc.urls,
        passphrase=settings.network.passphrase or "",
        ca_file=settings.rpc.ca_file,
        timeout_seconds=settings.rpc.timeout_seconds,
        max_attempts=GLANCE_ATTEMPTS,
        requests_per_second=settings.rpc.requests_per_second,
        call_seconds=settings.rpc.timeout_seconds,
        on_request=on_request,
    )
