"""Which partition is whose. The log itself says so by its first records, and a scope keeps its partition for ever. Pure."""

from collections.abc import Mapping, Sequence

from shared import errors


def assign(recorded: Mapping[int, str | None], scopes: Sequence[str]) -> dict[str, int]:
    """The partition of each scope; `recorded` is whose each partition is, None for an empty one.

    A new scope takes the first empty partition, in the order of the settings, so that two processes that begin at the same
    moment decide alike. Raises TopicInvalid when there are too few.
    """
    owned = {scope: partition for partition, scope in recorded.items() if scope is not None}
    free = iter(sorted(partition for partition, scope in recorded.items() if scope is None))
    assigned: dict[str, int] = {}
    for scope in scopes:
        partition = owned.get(scope)
        partition = next(free, None) if partition is None else partition
        if partition is None:
            raise errors.TopicInvalid(
                f"the topic has no empty partition for the scope {scope!r}", cure="run `chaintrue migrate`"
            )
        assigned[scope] = partition
    return assigned
