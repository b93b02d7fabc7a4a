"""What the subcommands of `chaintrue` have in common: their options, and the settings that they begin with."""

from pathlib import Path
from typing import Any

import click

config = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file with settings; the environment (CHAINTRUE_…) comes first.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else.")
html = click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write the report as a page to this file, too."
)


def load(config: Path | None, *required: str, json_logs: bool = False) -> Any:
    """The settings, and the logs as they say. From here on no line shows a secret of theirs."""
    from deploy import application
    from shared import log, masking
    from shared.settings import LogFormat

    settings = application.load(config, *required)
    masking.conceal(settings.secrets())
    log.configure(LogFormat.JSON if json_logs else settings.log.format)
    return settings
