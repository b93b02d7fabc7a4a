"""`chaintrue doctor`: settings that are read as far as they go, then everything looked at."""

from pathlib import Path

from deploy import application, doctor
from shared import errors, log, masking
from shared.stepfi.settings import Settings

_APART = frozenset({"database", "app_database", "kafka", "rpc", "network", "webhook", "metrics"})
"""Sections without which the others still mean the same: a wrong setting there keeps only its own checks from being made."""


async def run(config: Path | None) -> doctor.Examination:
    """Return what was found; settings that cannot be read at all are the one finding then."""
    found = doctor.Examination()
    settings, left_out = _load(config, found)
    if settings is None:
        return found
    masking.conceal(settings.secrets())
    log.configure(settings.log.format)
    return await doctor.examine(settings, found=found, left_out=left_out)


def _load(config: Path | None, found: doctor.Examination) -> tuple[Settings | None, frozenset[str]]:
    """Return the settings (None: nothing can be checked with them) and the sections that were left out of them as wrong."""
    left_out: frozenset[str] = frozenset()
    while True:
        try:
            return application.load(config, left_out=left_out), left_out
        except errors.SettingError as error:
            found.ill("settings", str(error.args[0]), cure=error.cure or "correct it, and run it again")
            if not error.sections or not error.sections <= _APART - left_out:
                return None, left_out
            left_out |= error.sections
