"""Why Kafka refuses us, or we it, in words that name the setting at fault. Pure, but for `diagnose`.

The clients of aiokafka try all servers and then say only that none could be used. `diagnose` opens one connection as they do and
gives what it ended with.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka import errors as kafka_errors
from aiokafka.conn import create_conn, get_ip_port_afi
from aiokafka.protocol.metadata import MetadataRequest

from shared import errors, tls
from shared.kafka_settings import Kafka
from shared.section import environment_name

DIAGNOSIS_SECONDS = 5.0

_FORBIDDEN = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.TransactionalIdAuthorizationFailed,
)

_RIGHTS = "grant that user Read, Write, Create, Describe, DescribeConfigs and AlterConfigs on the topic, and Read on the group"
_OF_OURS = ("certificate", "unknown ca", "handshake failure")
"""Words of the alerts that a server sends when it misses or refuses the certificate of a client."""


class _Found(NamedTuple):
    setting: str
    words: str
    cure: str


def refusal(cause: BaseException, settings: Kafka) -> errors.KafkaRefused | None:
    """The error for a cause that no waiting mends; None for one that may pass, as a Kafka that is not there."""
    found = _of_certificates(cause, settings) or _of_users(cause, settings)
    return None if found is None else errors.KafkaRefused(_message(found, settings), cure=found.cure)


def guess(cause: BaseException, settings: Kafka) -> errors.KafkaUnreachable | None:
    """The error for a new connection that ended at once. Most likely it was spoken to in the wrong way; but it may restart."""
    ended = cause.__cause__ if isinstance(cause, kafka_errors.KafkaConnectionError) else cause
    if isinstance(ended, ssl.SSLError) or (isinstance(ended, ConnectionResetError) and settings.security_protocol.tls):
        found = _wrong_protocol(settings, "TLS does not come about")
    elif isinstance(ended, asyncio.IncompleteReadError | ConnectionResetError):
        found = _wrong_protocol(settings, "it ends the connection at once")
    else:
        return None
    return errors.KafkaUnreachable(_message(found, settings), cure=found.cure)


def _message(found: _Found, settings: Kafka) -> str:
    return f"{_variable(found.setting)}: Kafka at {settings.bootstrap_servers} cannot be used ({found.words})"


def _variable(setting: str) -> str:
    return environment_name("kafka", setting)


def _of_certificates(cause: BaseException, settings: Kafka) -> _Found | None:
    error = cause if isinstance(cause, ssl.SSLError) else cause.__cause__
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_theirs(error)
    reason = (getattr(error, "reason", None) or "").replace("_", " ").lower() if isinstance(error, ssl.SSLError) else ""
    if "alert" not in reason or not any(word in reason for word in _OF_OURS):
        return None
    words = "it asks for a certificate" if settings.certificate_file is None else "it refuses our certificate"
    name = _variable("certificate_file")
    cure = f"let {name} and {_variable('key_file')} name a certificate that Kafka trusts"
    return _Found("certificate_file", f"{words}: {reason}", cure)


def _of_theirs(error: ssl.SSLCertVerificationError) -> _Found:
    if error.verify_code in tls.HOSTNAME_MISMATCH:
        name = _variable("bootstrap_servers")
        cure = f"let {name} and Kafka's advertised listeners name the brokers as their certificates do"
        return _Found("bootstrap_servers", f"its certificate is of another host: {tls.distrust(error)}", cure)
    name = _variable("ca_file")
    cure = f"let {name} name the PEM file of the authority that signed the brokers' certificates"
    if error.verify_code == tls.EXPIRED:
        cure = "renew the certificates of the brokers"
    return _Found("ca_file", f"its certificate is not trusted: {tls.distrust(error)}", cure)


def _of_users(cause: BaseException, settings: Kafka) -> _Found | None:
    mechanism, password = _variable("sasl_mechanism"), _variable("sasl_password")
    match cause:
        case kafka_errors.UnsupportedSaslMechanismError():
            words = f"it does not offer {settings.sasl_mechanism}"
            return _Found("sasl_mechanism", words, f"set {mechanism} to one that Kafka offers")
        case kafka_errors.IllegalSaslStateError():
            return _wrong_protocol(settings, "this port knows no users")
        case kafka_errors.SaslAuthenticationFailed():
            cure = f"correct {_variable('sasl_username')}, {password} or {mechanism}"
            return _Found("sasl_password", "it refuses the user, the password or the mechanism", cure)
        case ValueError() if settings.security_protocol.sasl:
            words = "it does not prove that it knows the password, so it may be another server"
            return _Found("bootstrap_servers", words, f"see who answers at {_variable('bootstrap_servers')}")
        case _ if isinstance(cause, _FORBIDDEN):
            return _Found("sasl_username", f"it forbids: {type(cause).__name__}", _RIGHTS)
        case _:
            return None


def _wrong_protocol(settings: Kafka, words: str) -> _Found:
    name = _variable("security_protocol")
    cure = f"{name} is {settings.security_protocol}: set it to what that port speaks, or name another port"
    return _Found("security_protocol", words, cure)


async def diagnose(servers: Sequence[str], settings: Kafka, security: dict[str, Any]) -> BaseException | None:
    """What one connection to each of the servers ends with: the first refusal, else the first failure, else None.

    Takes DIAGNOSIS_SECONDS at most.
    """
    first: BaseException | None = None
    try:
        async with asyncio.timeout(min(DIAGNOSIS_SECONDS, settings.timeout_seconds)):
            for server in servers:
                cause = await _try(server, settings, security)
                if cause is not None and refusal(cause, settings) is not None:
                    return cause
                first = first or cause
    except TimeoutError:
        pass
    return first


async def _try(server: str, settings: Kafka, security: dict[str, Any]) -> BaseException | None:
    try:
        host, port, _ = get_ip_port_afi(server)
        connection = await create_conn(host, port, request_timeout_ms=int(settings.timeout_seconds * 1000), **security)
        try:
            await connection.send(MetadataRequest([]))
        finally:
            connection.close()
    except (kafka_errors.KafkaError, OSError, ValueError) as error:
        return error
    return None
