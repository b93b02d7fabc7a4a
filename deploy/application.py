"""Where an application is plugged into the engine: the one place that names it. Another one is another file like this."""

from collections.abc import Sequence
from pathlib import Path

from shared.stepfi.settings import REQUIRED_CONTRACTS, Settings
from streams.application import Application
from streams.stepfi.application import StepfiStream
from sweeper import classes, schedule
from sweeper.context import Subject
from sweeper.stepfi.subjects import subjects

CONTRACT_SETTINGS = tuple(f"stepfi.{name}" for name in REQUIRED_CONTRACTS)


def load(config: Path | None, *required: str, left_out: frozenset[str] = frozenset()) -> Settings:
    """Return the settings but for the sections `left_out`, with those that are required; raises SettingError."""
    settings = Settings.load(config, left_out=left_out)
    classes.check_settings(settings.sweep, tables=[subject.table for subject in sweep(settings)])
    schedule.check_settings(settings.schedule)
    settings.require(*required)
    return settings


def stream(settings: Settings) -> Application:
    """Decoders, folds and wishes."""
    return StepfiStream(settings.stepfi)


def streams(settings: Settings) -> Sequence[Application]:
    """All scopes of the deployment."""
    return (stream(settings),)


def sweep(settings: Settings) -> Sequence[Subject]:
    """The tables that are compared."""
    return subjects(settings.stepfi)
