"""Whether the application database accepts writes from us, as its owner or its host says, not as a session can override it.

A transaction of ours begins with SET TRANSACTION READ WRITE, which overrides `default_transaction_read_only`. Hosts set that
default when a disk is nearly full, owners set it to be sure. So it is read here, as a fresh session would get it:

- `reset_val` of pg_settings is the session's own start value, whatever was SET since;
- pg_db_role_setting is what the role and the database say now. Behind a pooler the session may be older than that, or it may
  have begun with the pooler's own settings.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import errors

# In the order in which PostgreSQL applies them: the role in this database, the role, the database, all.
_STORED = """
SELECT CASE WHEN NOT CAST(substr(entry, 31) AS boolean) THEN NULL
    WHEN stored.setrole <> 0 THEN 'role' WHEN stored.setdatabase <> 0 THEN 'database' ELSE 'server' END
  FROM pg_catalog.pg_db_role_setting AS stored, unnest(stored.setconfig) AS entry
  WHERE starts_with(entry, 'default_transaction_read_only=')
    AND stored.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
    AND stored.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user))
  ORDER BY stored.setrole <> 0 DESC, stored.setdatabase <> 0 DESC LIMIT 1
"""
SQL = f"""
CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'recovery' ELSE coalesce(({_STORED}),
  (SELECT 'session' FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only' AND reset_val = 'on')) END
"""
"""An expression: the name of what makes the database read-only (a key of the reasons below), NULL where nothing does."""

_SETTING = "default_transaction_read_only is on for"
_REASONS = {
    "recovery": ("the server is a standby (in recovery)", "let CHAINTRUE_APP_DATABASE__URL name the primary server"),
    "role": (f"{_SETTING} the role", "ask why it was set; then ALTER ROLE … RESET default_transaction_read_only"),
    "database": (
        f"{_SETTING} the database",
        "ask why it was set (a full disk?); then ALTER DATABASE … RESET default_transaction_read_only",
    ),
    "server": (f"{_SETTING} all roles", "ask why it was set; then ALTER ROLE ALL RESET default_transaction_read_only"),
    "session": (
        f"{_SETTING} its sessions",
        "look in the server's configuration (a full disk?) and in the options of CHAINTRUE_APP_DATABASE__URL",
    ),
}


def error(by: str) -> errors.DatabaseReadOnly:
    """Return the error for what makes the database read-only."""
    why, hint = _REASONS[by]
    return errors.DatabaseReadOnly(f"the application database is read-only: {why}", cure=hint)


def refused(words: str) -> errors.WriteRefusedAsReadOnly:
    """Return the error for a write that was refused as read-only; `words` is what the database said."""
    return errors.WriteRefusedAsReadOnly(
        f"the application database is read-only: it refused a write: {words}",
        cure="look whether the server became a standby, or its host locked it, or a trigger writes elsewhere",
    )


async def look(connection: AsyncConnection) -> errors.DatabaseReadOnly | None:
    """Return why the database accepts no writes from us; None where it accepts them."""
    by = (await connection.execute(text(f"SELECT {SQL}"))).scalar_one()
    return None if by is None else error(by)


async def notes(connection: AsyncConnection) -> list[str]:
    """Return the note for the report of a run; none where the database accepts writes."""
    found = await look(connection)
    return [] if found is None else [f"{found.args[0]}: no repair can be written. Hint: {found.cure}"]
