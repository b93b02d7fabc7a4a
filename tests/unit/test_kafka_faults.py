"""Which causes are refusals, and that a broker which goes away is none."""

import asyncio
import ssl

import pytest
from aiokafka import errors as kafka_errors
from pydantic import SecretStr

from shared import errors, kafka, kafka_faults
from shared.settings import Kafka, SaslMechanism, SecurityProtocol

PLAIN = Kafka(bootstrap_servers="one:9092")
SASL = Kafka(
    bootstrap_servers="one:9092",
    security_protocol=SecurityProtocol.SASL_SSL,
    sasl_mechanism=SaslMechanism.PLAIN,
    sasl_username="alice",
    sasl_password=SecretStr("s3cret"),
)


def caused_by(cause: BaseException) -> kafka_errors.KafkaError:
    error = kafka_errors.KafkaConnectionError("Connection at one:9092 closed")
    error.__cause__ = cause
    return error


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] in words")
    error.reason = reason
    return error


def distrust(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "in OpenSSL's words"
    return error


@pytest.mark.parametrize(
    ("cause", "setting"),
    [
        (distrust(19), "CA_FILE"),
        (distrust(10), "CA_FILE"),
        (distrust(62), "BOOTSTRAP_SERVERS"),
        (caused_by(distrust(64)), "BOOTSTRAP_SERVERS"),
        (caused_by(tls("TLSV13_ALERT_CERTIFICATE_REQUIRED")), "CERTIFICATE_FILE"),
        (tls("TLSV1_ALERT_UNKNOWN_CA"), "CERTIFICATE_FILE"),
        (kafka_errors.SaslAuthenticationFailed("s3cret"), "SASL_PASSWORD"),
        (kafka_errors.UnsupportedSaslMechanismError("x"), "SASL_MECHANISM"),
        (kafka_errors.IllegalSaslStateError("x"), "SECURITY_PROTOCOL"),
        (kafka_errors.TopicAuthorizationFailedError("x"), "SASL_USERNAME"),
        (kafka_errors.GroupAuthorizationFailedError("x"), "SASL_USERNAME"),
        (ValueError("Server sent wrong signature!"), "BOOTSTRAP_SERVERS"),
    ],
)
def test_a_refusal_names_its_setting(cause, setting):
    refusal = kafka_faults.refusal(cause, SASL)
    assert refusal is not None
    assert str(refusal).startswith(f"CHAINTRUE_KAFKA__{setting}: Kafka at one:9092 cannot be used")
    assert refusal.cure
    assert "s3cret" not in str(refusal)
    assert type(kafka.unreachable(SASL, cause)) is errors.KafkaRefused


@pytest.mark.parametrize(
    "cause",
    [
        OSError("refused"),
        TimeoutError(),
        ConnectionResetError(),
        kafka_errors.NodeNotReadyError("x"),
        caused_by(asyncio.IncompleteReadError(b"", 4)),
        caused_by(ConnectionResetError()),
        caused_by(tls("UNEXPECTED_EOF_WHILE_READING")),
        caused_by(ssl.SSLEOFError(8, "EOF occurred in violation of protocol")),
    ],
)
@pytest.mark.parametrize("settings", [PLAIN, SASL])
def test_a_broker_that_goes_away_may_come_back(cause, settings):
    assert kafka_faults.refusal(cause, settings) is None
    error = kafka.unreachable(settings, cause)
    assert error.retryable
    assert str(error).startswith("CHAINTRUE_KAFKA__BOOTSTRAP_SERVERS: ")


@pytest.mark.parametrize(
    ("cause", "settings", "guessed"),
    [
        (caused_by(asyncio.IncompleteReadError(b"", 4)), PLAIN, True),
        (caused_by(asyncio.IncompleteReadError(b"", 4)), SASL, True),
        (caused_by(tls("WRONG_VERSION_NUMBER")), SASL, True),
        (tls("WRONG_VERSION_NUMBER"), SASL, True),
        (ConnectionResetError(), SASL, True),
        (ConnectionRefusedError(), SASL, False),
        (TimeoutError(), PLAIN, False),
        (kafka_errors.NodeNotReadyError("x"), PLAIN, False),
    ],
)
def test_a_new_connection_that_ends_at_once_is_likely_of_the_wrong_kind(cause, settings, guessed):
    guess = kafka_faults.guess(cause, settings)
    assert (guess is not None) == guessed
    if guess is not None:
        assert guess.retryable  # it may be a broker that restarts
        assert str(guess).startswith("CHAINTRUE_KAFKA__SECURITY_PROTOCOL: ")


def test_a_plain_kafka_has_no_users_to_doubt():
    assert kafka_faults.refusal(ValueError("odd"), PLAIN) is None
