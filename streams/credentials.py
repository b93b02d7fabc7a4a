"""How Faust logs in to Kafka: the same security as all our clients have, in Faust's words."""

from typing import Any

import faust

from shared import kafka
from shared.settings import Kafka


def of(settings: Kafka) -> Any:
    """For Faust's setting `broker_credentials`; None where neither TLS nor a user is needed."""
    security = kafka.security(settings)
    context = security["ssl_context"]
    if settings.security_protocol.sasl:
        return faust.SASLCredentials(
            username=security["sasl_plain_username"],
            password=security["sasl_plain_password"],
            mechanism=security["sasl_mechanism"],
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)
