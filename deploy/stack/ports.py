"""Free TCP ports on 127.0.0.1 for servers that must know their port before they bind it.

Taken from below the range that the kernel gives to outgoing connections: there a client that retries could be given the
very port it dials, connect to itself, and keep the server off it. Between choosing and binding another process may still
take a port: whoever starts a server tries again with others.
"""

import random
import socket

HOST = "127.0.0.1"
FIRST, LAST = 15_000, 32_000
ATTEMPTS = 200

_random = random.SystemRandom()  # two processes that start at once must not choose alike, even when both were seeded


def free_ports(count: int) -> list[int]:
    """`count` different ports that nobody listens on now."""
    found: list[int] = []
    for _ in range(ATTEMPTS):
        if len(found) == count:
            return found
        port = _random.randint(FIRST, LAST)
        if port not in found and _is_free(port):
            found.append(port)
    raise OSError(f"no {count} free ports between {FIRST} and {LAST} on {HOST} in {ATTEMPTS} tries")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
