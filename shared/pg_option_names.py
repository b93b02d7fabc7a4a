"""The options that addresses of PostgreSQL carry: which of libpq's are done, which are not, and whose the others are."""

import re
from collections.abc import Iterable

from shared import pg_tls

FILES = ("sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl")
VERSIONS = ("ssl_min_protocol_version", "ssl_max_protocol_version")
KEEPALIVES = ("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
PLACES = ("host", "port", "user", "password", "dbname")
"""Parts that may stand among the options as well; in one of the two places only."""
SESSION_ATTRIBUTES = ("any", "primary", "standby", "prefer-standby", "read-write", "read-only")
CHOICES = {
    "sslmode": pg_tls.MODES,
    "ssl_min_protocol_version": tuple(pg_tls.VERSIONS),
    "ssl_max_protocol_version": tuple(pg_tls.VERSIONS),
    "sslnegotiation": ("postgres", "direct"),
    "sslcertmode": ("allow", "disable"),
    "target_session_attrs": SESSION_ATTRIBUTES,
}
DONE = frozenset(
    (*PLACES, *CHOICES, *FILES, *VERSIONS, *KEEPALIVES, "connect_timeout", "application_name", "options")
)  # fmt: skip

ENVIRONMENT = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "channel_binding": "PGCHANNELBINDING",
    "require_auth": "PGREQUIREAUTH",
    "gssencmode": "PGGSSENCMODE",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
"""Where libpq looks for what the address does not say, as far as it concerns security."""

HARMLESS = {
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "sslcompression": ("0",),
    "sslsni": ("1",),
    "load_balance_hosts": ("disable",),
    "client_encoding": ("auto", "utf8", "UTF8", "UTF-8", "utf-8"),
    "replication": ("false", "off", "no", "0"),
    "gssdelegation": ("0",),
}
"""Options of libpq that are not done, and the values that ask for nothing else than what happens anyway."""

_USE_VERIFY_FULL = "remove it, and use sslmode=verify-full with sslrootcert, which keeps a foreign server out as well"
_TLS_INSTEAD = "remove it, and encrypt with sslmode=verify-full"
_HINTS = {
    "channel_binding": _USE_VERIFY_FULL,
    "require_auth": _USE_VERIFY_FULL,
    "requirepeer": "remove it, and connect over TCP with sslmode=verify-full",
    "gssencmode": _TLS_INSTEAD,
    "sslcrldir": "remove it, and name one file of revocation lists in sslcrl",
    "sslsni": "remove it: the host name is always sent",
    "hostaddr": "write the address as the host",
    "passfile": "write the password into the address, and the address into a file (…__URL_FILE)",
    "service": "write what the service file says into the address",
    "servicefile": "write what the service file says into the address",
    "replication": "remove it",
    "client_encoding": "remove it: UTF8 is always used",
}
_LIBPQ = frozenset(
    (
        *(*HARMLESS, *_HINTS, "fallback_application_name", "krbsrvname", "gsslib", "sslkeylogfile", "tty"),
        *("scram_client_key", "scram_server_key", "min_protocol_version", "max_protocol_version"),
        *("oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope"),
    )
)

_TLS_ELSEWHERE = ("ssl", "sslaccept", "sslidentity", "sslfactory", "tls", "encrypt")
"""TLS in the words of Node.js, Prisma, JDBC and others: to ignore one could weaken what was asked for."""
FOREIGN = frozenset(
    (
        *("pgbouncer", "connection_limit", "pool_timeout", "socket_timeout", "schema", "statement_cache_size"),
        *("supa", "workaround", "pool", "pool_size", "pool_min", "pool_max", "max_overflow", "pool_recycle"),
        *("pool_pre_ping", "pool_mode", "pool_max_conns", "pool_min_conns", "pool_max_conn_lifetime", "min_size"),
        *("max_size", "max_connections", "min_connections", "idle_timeout", "max_lifetime", "connection_timeout"),
        *("prepared_statements", "prepared_statement_cache_size", "prepareThreshold", "preparedStatementCacheQueries"),
        *(
            "prepare",
            "binary_parameters",
            "default_query_exec_mode",
            "uselibpqcompat",
            "async_fallback",
            "currentSchema",
        ),
        *(
            "ApplicationName",
            "loginTimeout",
            "socketTimeout",
            "connectTimeout",
            "tcpKeepAlive",
            "reWriteBatchedInserts",
        ),
        *("charset", "encoding", "timezone", "search_path", "statement_timeout", "lock_timeout", "conn_max_age"),
        *("conn_health_checks", "adapter", "reconnect", "timeout", "command_timeout", "sslinline", "multiplexing"),
        *("stringtype", "targetServerType", "endpoint", "project", "driver", "serverVersion", "reaping_frequency"),
    )
)


def refusal(name: str, value: str, *, place: int, may_show: bool) -> str | None:
    """Return why the option cannot be taken, with a hint; None for one that can. No value is shown but one of libpq's words.

    A name that nobody knows may be the rest of a secret: without `may_show` only its `place` is told.
    """
    if name in DONE or value in HARMLESS.get(name, ()):
        return None
    if name in _LIBPQ:
        shown = f"{name}={value}" if (name, value) in _STRICT else name
        return f"has the option {shown}, which chaintrue does not support: {_HINTS.get(name, 'remove it')}"
    if name in _TLS_ELSEWHERE:
        return f"has the option {name}, which is not libpq's: write sslmode=verify-full or another sslmode in its place"
    shown = (
        f"the option {name}"
        if (may_show and _NAME.fullmatch(name)) or name in FOREIGN
        else f"an option (option {place} behind the ?)"
    )
    return f"has {shown}, which is not libpq's: remove it"


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
_STRICT = {("channel_binding", "require"), ("gssencmode", "require"), ("sslcompression", "1")}


def foreign(names: Iterable[str]) -> str | None:
    """Return the refusal of several options of poolers, ORMs and other drivers at once; None for fewer than two."""
    listed = [name for name in names if name in FOREIGN]
    return f"has the options {', '.join(listed)}, which are not libpq's: remove them" if len(listed) > 1 else None
