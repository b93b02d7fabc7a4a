"""`chaintrue doctor`: settings that are read as far as they go, then everything looked at."""

from pathlib import Path

from deploy import application, doctor
from shared import errors, log, masking


async def run(config: Path | None) -> doctor.Examination:
    """What was found; settings that cannot be read at all are the one finding then."""
    try:
        settings = application.load(config)
    except errors.SettingError as error:
        found = doctor.Examination()
        found.ill("settings", str(error.args[0]), cure=error.cure or "correct it, and run it again")
        return found
    masking.conceal(settings.secrets())
    log.configure(settings.log.format)
    return await doctor.examine(settings)
