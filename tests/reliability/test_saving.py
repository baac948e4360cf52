"""A short run of `benchmarks.reliability.saving`.

The full run is in `benchmarks/results/reliability_saving.json`.
"""

import pytest

from benchmarks.reliability import artifact_kinds, saving


@pytest.fixture(scope="module")
def context():
    return saving.processes()


@pytest.mark.parametrize(
    ("name", "clock", "events"),
    [
        ("codes", 2, True),
        ("report", 2, True),
        ("training_state", 2, True),
        ("keras", 2, False),
        ("saved_model", 2, False),
    ],
)
def test_killed_saves_leave_a_whole_file(
    name, clock, events, context, tmp_path
):
    rows = saving.run(name, tmp_path, clock, events, context)
    assert [row["how"] for row in rows] == ["clock", "file event"][: 1 + events]
    for row in rows:
        assert not row["broken"]
        assert row["whole"] == row["kills"] >= 2
    # Kills between the first and the last event of a save.
    assert not events or 0 < rows[1]["half_way"] < rows[1]["kills"]


def test_files_in_place_of_each_other_are_told_apart(tmp_path):
    kind = artifact_kinds.WRITTEN["codes"]
    place = tmp_path / kind.file
    first, second = kind.writers(tmp_path)
    first(place)
    known = [kind.read(place)]
    assert saving._found(kind, place, known) == "whole"
    second(place)
    assert saving._found(kind, place, known) == "something else"
    place.write_bytes(place.read_bytes()[:-1])
    assert "ArtifactError" in saving._found(kind, place, known)
    place.unlink()
    assert saving._found(kind, place, known) == "absent"
