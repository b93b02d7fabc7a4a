"""Attacks: what was tried to make Chaintrue write a wrong row, or call something clean that is not. Each one stays as a test."""

from collections.abc import AsyncIterator

import pytest

from deploy import stack
from tests.acceptance.conftest import warm
from tests.hostile import mirrors
from tests.integration.mirror import Mirror

__all__ = ["warm"]


@pytest.fixture(scope="session")
async def mirror_template(postgres: stack.Databases) -> stack.Databases:
    await mirrors.make_template(postgres)
    return postgres


@pytest.fixture
async def world(mirror_template: stack.Databases) -> AsyncIterator[Mirror]:
    async with mirrors.copied(mirror_template) as found:
        yield found
