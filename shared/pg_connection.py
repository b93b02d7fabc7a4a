"""One connection of asyncpg from the parts of an address: encrypted as asked, and looked at afterwards."""

import socket
import ssl
from typing import Any

import asyncpg

from shared import pg_tls
from shared.pg_address import Address

_SOCKET_OPTIONS = {
    name: getattr(socket, option)
    for name, option in {
        "keepalives_idle": "TCP_KEEPIDLE",
        "keepalives_interval": "TCP_KEEPINTVL",
        "keepalives_count": "TCP_KEEPCNT",
        "tcp_user_timeout": "TCP_USER_TIMEOUT",
    }.items()
    if hasattr(socket, option)  # not every system has all of them; libpq passes over the others, too
}


class NotEncrypted(ConnectionError):
    """A connection came up without TLS although the address asks for it."""

    def __init__(self, mode: str) -> None:
        super().__init__(f"the connection is not encrypted, and sslmode={mode} needs it")


def encryption(address: Address) -> ssl.SSLContext | str | bool:
    """Return the driver's `ssl`: a context where TLS is required, else libpq's word for what is tried; raises `tls.Unusable`."""
    wanted = address.options.tls
    if wanted.is_required:
        return pg_tls.context(wanted)
    return False if wanted.mode == "disable" or address.over_sockets else wanted.mode


async def open_connection(address: Address, **arguments: Any) -> Any:
    """Return a new asyncpg connection; raises NotEncrypted, having ended it, if it lacks the TLS that is asked for.

    pg_stat_ssl is no proof: behind a pooler it speaks of the pooler's connection, and our own is the one to be encrypted.
    """
    try:
        connection = await asyncpg.connect(**arguments)
    except asyncpg.TargetServerAttributeNotMatched:  # no asyncpg.InterfaceError, unlike the driver's other refusals
        wanted = address.options.target_session_attrs
        raise ConnectionError(f"no host is what target_session_attrs={wanted} asks for") from None
    transport = connection._transport
    if address.options.tls.is_required and transport.get_extra_info("ssl_object") is None:
        connection.terminate()
        raise NotEncrypted(address.options.tls.mode)
    if address.options.keepalive and not address.over_sockets:
        _keep_alive(transport.get_extra_info("socket"), address)
    return connection


def _keep_alive(beneath: Any, address: Address) -> None:
    """Set libpq's keepalive options on the socket; 0 leaves what the system has."""
    wanted = address.options.keepalive
    beneath.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(wanted.get("keepalives", 1) != 0))
    for name, option in _SOCKET_OPTIONS.items():
        if wanted.get(name):
            beneath.setsockopt(socket.IPPROTO_TCP, option, wanted[name])
