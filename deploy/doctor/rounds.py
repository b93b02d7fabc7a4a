"""The order in which things are looked at: settings, databases, Kafka, nodes, contracts, files."""

import os
from pathlib import Path

from deploy import application
from deploy.doctor import app_side, chain_side, own_side
from deploy.doctor.checks import Examination
from shared import errors
from shared.settings import environment_name
from shared.stepfi.settings import Settings
from streams import topic

REQUIRED = (
    *("network.passphrase", "rpc.urls", "kafka.bootstrap_servers", "database.url", "app_database.url"),
    *application.CONTRACT_SETTINGS,
)


async def examine(settings: Settings, *, found: Examination, left_out: frozenset[str] = frozenset()) -> Examination:
    """Check everything that these settings suffice for; `left_out` are sections that were refused, which `found` has already."""
    missing = _settings(found, settings, left_out)
    own = app = False
    if "database.url" not in missing:
        with found.looking(own_side.CHECK):
            own = await own_side.examine(found, settings)
    if "app_database.url" not in missing:
        with found.looking(app_side.CHECK):
            app = await app_side.examine(found, settings)
    if own and app:
        with found.looking("hashes"):
            await app_side.examine_hashes(found, settings)
    if "kafka.bootstrap_servers" not in missing:
        await _kafka(found, settings)
    if not {"rpc.urls", "network.passphrase"} & missing:
        with found.looking("rpc"):
            await chain_side.examine(found, settings, with_watermark=own)
    with found.looking("files"):
        _files(found, settings)
    return found


def _settings(found: Examination, settings: Settings, left_out: frozenset[str]) -> set[str]:
    """Return the required settings that have no value; those of refused sections are not reported again."""
    missing = set()
    for name in REQUIRED:
        try:
            settings.require(name)
        except errors.SettingError as error:
            missing.add(name)
            if name.partition(".")[0] not in left_out:
                found.ill("settings", str(error.args[0]), cure=error.cure or "set it")
    if not missing:
        found.well("settings", "all that is required is set")
    return missing


async def _kafka(found: Examination, settings: Settings) -> None:
    with found.looking("kafka"):
        scopes = len(application.streams(settings))
        partitions = await topic.verify(settings.kafka, scopes=scopes)
        found.well(
            "kafka",
            f"the topic {settings.kafka.topic} is as `chaintrue migrate` makes it, {len(partitions)} partition(s)",
        )


def _files(found: Examination, settings: Settings) -> None:
    """Places that a run would write to, before the first one finds out that it may not."""
    places = {
        ("metrics", "textfile"): None
        if settings.metrics.textfile is None
        else settings.metrics.textfile.absolute().parent,
        ("sweep", "scan_directory"): settings.sweep.scan_directory,
    }
    for path, directory in places.items():
        if directory is None:
            continue
        variable = environment_name(*path)
        if _can_be_written(directory, may_be_made=path[0] == "sweep"):
            found.well("files", f"{variable}: {directory} can be written")
        else:
            found.ill(
                "files", f"{variable}: {directory} cannot be written", cure="name a directory that chaintrue may write"
            )


def _can_be_written(directory: Path, *, may_be_made: bool) -> bool:
    if not directory.exists() and may_be_made:
        return _can_be_written(directory.absolute().parent, may_be_made=directory.absolute().parent != directory)
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)
