"""The errors that people read.

    ChaintrueError
    ├── SettingError         a setting is missing or wrong
    │   ├── RightMissing     the role of a setting's address may not do what is asked of it
    │   └── DatabaseReadOnly the application database accepts no writes from us
    │       └── WriteRefusedAsReadOnly it refused one write so, and does not say that it is
    ├── NotMigrated          the own database has not the tables of this version
    ├── DatabaseUnreachable  PostgreSQL does not answer, or refuses us
    ├── KafkaUnreachable     Kafka does not answer
    │   └── KafkaRefused     Kafka refuses us, or we its certificate: no waiting mends that
    ├── TopicInvalid         the topic is missing, or not as `migrate` would make it
    ├── RpcError             everything that goes wrong with a Stellar RPC node
    │   ├── RpcUnavailable   no configured node gave an answer (retryable)
    │   │   └── RpcContradiction  an answer cannot be of the chain that was seen before (retryable)
    │   ├── RpcMalformed     an answer that is not what the method promises (retryable, elsewhere)
    │   ├── RpcRefused       the nodes refuse the request: a key, a path, a limit or a method of theirs
    │   ├── LedgerOutOfRange the node does not hold the ledger asked for
    │   ├── WrongNetwork     the node serves another network, or is too old
    │   └── ChainReset       the network of that name began anew
    ├── Undecodable          an XDR value that this version does not read (a finding, never a stop)
    ├── FrameInvalid         a Kafka record that is no frame (stops the worker: skipping it would break coverage)
    ├── FactsDetached        facts that are needed lie in a partition that was detached
    ├── ReplayRefused        a replay cannot be done, or its tables cannot take the place of the live ones
    ├── OffsetGap            Kafka delivered a record beyond the one that is due, or none though the log has it
    ├── AlreadyRunning       another process does this already
    ├── LockLost             the database took our lock back, so another process may do it by now
    ├── PlanRefused          a plan or a run cannot be applied or undone here, or not any more
    └── RunUnknown           no stored run, or no report of one, is what was asked for

An error's docstring is its message when none is given. `retryable` says whether the same call may succeed later: loops decide
by the type alone. The running stream outlasts more than that: see `streams.waiting`.
"""

import inspect
from typing import ClassVar


class ChaintrueError(Exception):
    """Something went wrong."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, cure: str | None = None) -> None:
        self.cure = cure
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or ""))

    def __str__(self) -> str:
        message = str(self.args[0])
        return f"{message}\n  Cure: {self.cure}" if self.cure else message


class SettingError(ChaintrueError):
    """A setting is missing or wrong."""

    sections: frozenset[str] = frozenset()
    """The sections of the settings at fault, where the rest of them could be read without these."""


class RightMissing(SettingError):
    """The role of a database's address lacks a right."""


class DatabaseReadOnly(SettingError):
    """The application database is read-only."""


class WriteRefusedAsReadOnly(DatabaseReadOnly):
    """The application database refused a write as read-only, though it does not say that it is: perhaps that of a trigger."""


class NotMigrated(ChaintrueError):
    """The database of chaintrue has not the tables of this version."""


class DatabaseUnreachable(ChaintrueError):
    """PostgreSQL cannot be reached."""

    retryable = True


class KafkaUnreachable(ChaintrueError):
    """Kafka cannot be reached."""

    retryable = True


class KafkaRefused(KafkaUnreachable):
    """Kafka refuses the certificate, user or password of the settings, or is not trusted itself."""

    retryable = False


class TopicInvalid(ChaintrueError):
    """The topic is missing, or not as `chaintrue migrate` would make it."""


class RpcError(ChaintrueError):
    """A Stellar RPC node could not be used."""


class RpcUnavailable(RpcError):
    """No configured Stellar RPC node gave an answer."""

    retryable = True


class RpcContradiction(RpcUnavailable):
    """An answer of a Stellar RPC node cannot be of the chain that was seen before."""


class RpcMalformed(RpcError):
    """A Stellar RPC node gave an answer that is not what the method promises."""

    retryable = True


class RpcRefused(RpcError):
    """A Stellar RPC node refused the request."""


class LedgerOutOfRange(RpcError):
    """The ledger asked for is not among those that the node holds.

    `oldest` and `latest` are the node's own range (ledger sequences, inclusive), as its message gives them.
    """

    def __init__(self, message: str, *, oldest: int, latest: int) -> None:
        self.oldest = oldest
        self.latest = latest
        super().__init__(message)


class WrongNetwork(RpcError):
    """A Stellar RPC node serves another network than the one in the settings."""


class ChainReset(RpcError):
    """The network was reset: its ledger numbers began anew."""


class Undecodable(ChaintrueError):
    """A value that this version does not read."""


class FrameInvalid(ChaintrueError):
    """A record of the topic is not a frame."""


class FactsDetached(ChaintrueError):
    """Facts that are needed lie in a partition that was detached."""


class ReplayRefused(ChaintrueError):
    """The tables of a replay cannot take the place of the live ones."""


class OffsetGap(ChaintrueError):
    """Kafka delivered a record beyond the one that is due next, or none though the log has it."""

    def __init__(
        self, message: str | None = None, *, cure: str | None = None, due: tuple[int, int] | None = None
    ) -> None:
        """`due` is the partition and the offset that were waited for: where the log still has it, it can be asked for anew."""
        super().__init__(message, cure=cure)
        self.due = due


class AlreadyRunning(ChaintrueError):
    """Another process does this already."""


class LockLost(ChaintrueError):
    """The connection that held the lock of the sweeps ended: another process may sweep by now, so this one stops."""

    retryable = True


class PlanRefused(ChaintrueError):
    """A plan cannot be applied."""


class RunUnknown(ChaintrueError):
    """There is no such run."""
