"""Killed trainings end as if they never were."""

import pytest

from benchmarks.reliability.interruptions import interrupt


# `compress` holds `training.fit`.
@pytest.mark.parametrize("name", ["BackupAndRestore", "compress"])
def test_killed_and_started_again(name):
    row = interrupt(name, kills=1, epochs=4, seed=0)
    assert row["kills"] >= 1 and row["trainings"] >= 1
    assert row["variables"] > 20
    assert row["differing"] == 0
