"""The application's database: reachable, new enough, what is before it, what the role sees and may do, and how it hashes."""

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from deploy import application
from deploy.doctor import app_columns, own_side
from deploy.doctor.checks import Examination
from shared import database, pooler
from shared.settings import RowSecurity
from shared.stepfi.settings import Settings
from sweeper import app_access, app_read_only, app_rights
from sweeper.app_rights import Needs, Rights
from sweeper.context import Subject
from sweeper.digest.hashing import Hashing

CHECK = "app database"
ROLE_CURE = "run deploy/roles/stepfi.sql in the application's database, as the owner of its tables"
_ROLE = text("""
SELECT rolname AS name, rolsuper AS is_super, rolbypassrls OR rolsuper AS bypasses, rolcreaterole OR rolcreatedb AS makes
FROM pg_roles WHERE rolname = current_user
""")
_POOLING = {
    pooler.Pooling.DIRECT: "connections are direct",
    pooler.Pooling.SESSION: "a pooler in session mode stands before it",
    pooler.Pooling.TRANSACTION: "a pooler in transaction mode stands before it, and nothing here needs a session",
    pooler.Pooling.UNKNOWN: "a second connection was not served in time, so what stands before it is not known",
}


async def examine(found: Examination, settings: Settings) -> bool:
    """All of it; nothing more where it does not answer, which is told."""
    answers = False
    with found.looking(CHECK):
        async with database.connect(settings.app_database, section="app_database") as engine:
            await own_side.version(found, engine, check=CHECK)
            answers = True
            with found.looking(f"{CHECK}: pooler"):
                await _pooler(found, settings)
            with found.looking(f"{CHECK}: role"):
                secured = app_access.secured(engine, settings.sweep.row_security)
                await _role(found, secured, settings)
    return answers


async def _pooler(found: Examination, settings: Settings) -> None:
    pooling = await pooler.detect(settings.app_database, section="app_database")
    cure = "give the pooler more connections for this role (of pgbouncer: default_pool_size)"
    found.well(f"{CHECK}: pooler", _POOLING[pooling], cure=cure if pooling is pooler.Pooling.UNKNOWN else None)


async def _role(found: Examination, engine: AsyncEngine, settings: Settings) -> None:
    subjects = {subject.table: subject for subject in application.sweep(settings)}
    wanted = app_rights.needs(subjects.values())
    async with app_access.transaction(engine) as connection:
        role = (await connection.execute(_ROLE)).one()
        read_only = await app_read_only.look(connection)
        rights = {table: await app_rights.read(connection, table) for table in wanted}
        unfit = {table: await app_columns.unfit(connection, subject) for table, subject in subjects.items()}
        others = await _others(connection, wanted)
    if read_only is None:
        found.well(f"{CHECK}: writes", "it accepts writes")
    else:
        found.ill(f"{CHECK}: writes", str(read_only.args[0]), cure=read_only.cure or "look why")
    _row_security(found, settings.sweep.row_security, rights, wanted, bypasses=role.bypasses)
    for table, has in rights.items():
        _table(found, wanted[table], has, subjects.get(table))
        app_columns.tell(found, f"{CHECK}: {table}", unfit.get(table, ()))
    if role.is_super or role.makes:
        does = "is a superuser" if role.is_super else "may make roles or databases"
        found.well(f"{CHECK}: role", f"the role {role.name} {does}, which is more than is needed", cure=ROLE_CURE)
        return
    beyond = {one.table: more for one in (*rights.values(), *others) if one and (more := _beyond(one, wanted))}
    if beyond:
        listed = "; ".join(f"{table}: {more}" for table, more in sorted(beyond.items()))
        found.well(f"{CHECK}: role", f"the role {role.name} may do more than is needed ({listed})", cure=ROLE_CURE)
    else:
        found.well(f"{CHECK}: role", f"the role {role.name} may do no more than is needed")


async def _others(connection: AsyncConnection, wanted: Mapping[str, Needs]) -> list[Rights]:
    """The rights on the tables of the schema that no subject knows."""
    statement = text(
        "SELECT one.relname FROM pg_class AS one WHERE one.relkind IN ('r', 'p') AND pg_table_is_visible(one.oid) "
        "AND one.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
    )
    names = [str(row.relname) for row in await connection.execute(statement)]
    found = [await app_rights.read(connection, name) for name in names if name not in wanted and name.isidentifier()]
    return [one for one in found if one is not None]


def _beyond(rights: Rights, wanted: Mapping[str, Needs]) -> str:
    more = app_rights.beyond_needs(rights, wanted.get(rights.table))
    return ", ".join(f"{right} ({', '.join(columns)})" if columns else right for right, columns in more.items())


def _row_security(
    found: Examination,
    setting: RowSecurity,
    rights: Mapping[str, Rights | None],
    wanted: Mapping[str, Needs],
    *,
    bypasses: bool,
) -> None:
    check = f"{CHECK}: row-level security"
    secured = {table: one for table, one in rights.items() if one is not None and one.secured}
    if not secured:
        why = "the role passes by it" if bypasses else "it is off for the role on all compared tables"
        found.well(check, why)
    elif setting is RowSecurity.BYPASS:
        cure = (
            f"{ROLE_CURE}; where a host forbids BYPASSRLS, set CHAINTRUE_SWEEP__ROW_SECURITY=policies as it says then"
        )
        found.ill(
            check, f"it would hide rows of {', '.join(sorted(secured))} from the role, so they are refused", cure=cure
        )
    else:
        _policies(found, check, secured, wanted)


def _policies(found: Examination, check: str, secured: Mapping[str, Rights], wanted: Mapping[str, Needs]) -> None:
    seen = {
        (table, right): app_rights.shows(one, right)
        for table, one in secured.items()
        for right in ("SELECT", "UPDATE")
        if right == "SELECT" or wanted[table].updates
    }
    hidden = [f"{table} ({right})" for (table, right), shown in seen.items() if shown is False]
    unsure = [f"{table} ({right})" for (table, right), shown in seen.items() if shown is None]
    if hidden:
        found.ill(check, f"no policy lets the role reach rows of {', '.join(hidden)}", cure=ROLE_CURE)
    if unsure:
        words = f"policies with conditions may hide rows of {', '.join(unsure)}: what they hide is not compared"
        found.well(check, words, cure=f"{ROLE_CURE}: its policies have none")
    if not hidden and not unsure:
        found.well(check, "policies show the role every row")


def _table(found: Examination, need: Needs, has: Rights | None, subject: Subject | None) -> None:
    """One table: its columns, its key, and each right by column."""
    check = f"{CHECK}: {need.table}"
    missing = need.reads if has is None else need.reads - has.columns
    if has is None or missing:
        what = "there is no such table" if has is None else f"it has no column {_list(missing)}"
        if subject is not None and subject.optional:
            found.well(check, f"{what}: left out of the sweeps")
        else:
            cure = (
                "let CHAINTRUE_APP_DATABASE__URL name the application's database, with a role that may use its schema"
            )
            found.ill(check, what, cure=cure)
        return
    lacks = {"SELECT": need.reads - has.reads, "UPDATE": (need.updates & has.columns) - has.updates}
    told = [f"{right} on {_list(columns)}" for right, columns in lacks.items() if columns]
    if told:
        found.ill(check, f"the role lacks {' and '.join(told)}", cure=ROLE_CURE)
    if subject is not None and has.id_type != "uuid":
        cure = "chaintrue names rows by a primary key `id` of the type uuid, as the application's migrations make it"
        found.ill(check, "its primary key is not `id` of the type uuid", cure=cure)
    if told or (subject is not None and has.id_type != "uuid"):
        return
    adds = (need.inserts & has.columns) - has.inserts
    if adds:
        found.well(check, "the role may read and repair it, but not add rows that are missing", cure=ROLE_CURE)
        return
    optional = (need.updates | need.inserts) - has.columns
    without = f"; it has no {_list(optional)}, which is left out" if optional else ""
    found.well(check, f"the role may do what the sweeps need{without}")


def _list(columns: frozenset[str]) -> str:
    return ", ".join(sorted(columns))


async def examine_hashes(found: Examination, settings: Settings) -> None:
    """Whether both databases make the same hashes of the same rows: their own, or those that every PostgreSQL makes alike."""
    check = "hashes"
    with found.looking(check):
        native = Hashing.fresh()
        async with (
            database.connect(settings.database, section="database") as own,
            database.connect(settings.app_database, section="app_database") as app,
        ):
            if await _agree(settings, native, own, app):
                found.well(check, "both databases hash the same rows alike")
            elif await _agree(settings, replace(native, native=False), own, app):
                found.well(
                    check,
                    "the databases' own hashes differ (version or platform): md5 takes their place, which is slower",
                )
            else:
                cure = "let both databases be of the encoding UTF8; then report it with the versions of both"
                found.ill(
                    check, "the databases make different hashes of the same rows, so nothing can be compared", cure=cure
                )


async def _agree(settings: Settings, hashing: Hashing, own: AsyncEngine, app: AsyncEngine) -> bool:
    digests = [each.digest() for each in application.sweep(settings) if hasattr(each, "digest")]
    async with own.begin() as one, app_access.transaction(app) as other:
        await one.execute(text("SELECT 1"))  # begins the transaction in which the driver is then asked
        return all([await hashing.probe(one, digest) == await hashing.probe(other, digest) for digest in digests])
