"""Which seeds run."""

import os
from collections.abc import Sequence

import pytest

VARIABLE = "CHAINTRUE_TEST_SEEDS"


def seeds(*, usual: int, kept: Sequence[int] = ()) -> pytest.MarkDecorator:
    """Run a test with its argument `seed`: the kept ones and the first `usual`, or as many as the environment says."""
    count = int(os.environ.get(VARIABLE, usual))
    chosen = sorted({*kept, *range(count)})
    return pytest.mark.parametrize("seed", chosen, ids=[f"seed-{seed}" for seed in chosen])
