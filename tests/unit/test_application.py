"""Where StepFi is plugged in: its names are held against the settings before anything is opened."""

import pytest

from deploy import application
from shared import errors
from shared.stepfi.settings import Settings
from sweeper import session
from sweeper.report import Extent, Mode

NAME = "CHAINTRUE_SWEEP__TABLE_POLICY__"


def test_every_table_may_have_a_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that the application at hand may lack: which tables it has is not known from settings."""
    tables = [subject.table for subject in application.sweep(Settings())]
    assert {"loans", "reputation_history"} <= set(tables)
    for table in tables:
        monkeypatch.setenv(NAME + table.upper(), "report")
    assert set(application.load(None).sweep.table_policy) == set(tables)


def test_a_policy_of_a_table_that_is_misspelt_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{NAME}LOAN", "report")
    with pytest.raises(errors.SettingError, match=f"{NAME}LOAN: there is no table 'loan'") as raised:
        application.load(None)
    assert "vendors, loans, " in (raised.value.cure or "")


@pytest.mark.parametrize("mode", list(Mode))
async def test_no_run_begins_with_it_whoever_made_its_settings(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{NAME}LOAN", "report")
    settings = Settings.load()
    with pytest.raises(errors.SettingError, match=f"{NAME}LOAN"):
        async with session.opened(
            settings, scope="stepfi", subjects=application.sweep(settings), mode=mode, extent=Extent.FULL
        ):
            pass
