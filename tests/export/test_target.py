"""Directories appear whole or not at all."""

import pytest

from mec_tf.export import target
from mec_tf.export.target import staged


def write(path, text="new", **kwargs):
    with staged(path, **kwargs) as work:
        (work / "model").mkdir()
        (work / "model" / "saved_model.pb").write_text(text)
        (work / "scratch").write_text("not wanted")


def test_new_and_empty_targets_are_written(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new", "deep/er", "empty"):
        write(tmp_path / name)
        assert [p.name for p in (tmp_path / name).iterdir()] == [
            "saved_model.pb"
        ]
    assert not list(tmp_path.rglob("*.partial"))


def test_existing_targets_are_kept(tmp_path):
    write(tmp_path / "1", "old")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name, kwargs in (
        ("1", {}),
        ("other", {}),
        ("other", {"overwrite": True}),
        ("file", {"overwrite": True}),
    ):
        with pytest.raises(FileExistsError, match="`path` must be new"):
            write(tmp_path / name, **kwargs)
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "old"
    assert (tmp_path / "other" / "mine.txt").read_text() == "mine"
    assert (tmp_path / "file").read_text() == "mine"


def test_overwrite_replaces_a_saved_model(tmp_path):
    write(tmp_path / "1", "old")
    write(tmp_path / "1", "new", overwrite=True)
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_failed_overwrite_keeps_the_old_one(tmp_path):
    write(tmp_path / "1", "old")
    with pytest.raises(KeyboardInterrupt):
        with staged(tmp_path / "1", overwrite=True) as work:
            (work / "model").mkdir()
            raise KeyboardInterrupt
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_what_a_killed_process_left_is_replaced(tmp_path):
    (tmp_path / "1.partial" / "model").mkdir(parents=True)
    (tmp_path / "1.partial" / "model" / "junk").write_text("junk")
    write(tmp_path / "1")
    assert [p.name for p in (tmp_path / "1").iterdir()] == ["saved_model.pb"]
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_unwritable_target(tmp_path):
    # Permissions do not stop root; a file in the way stops everybody.
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="`path` cannot be written"):
        write(tmp_path / "file" / "serving" / "1")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_without_swapping_the_old_one_is_put_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(target, "swap", lambda one, other: False)
    write(tmp_path / "1", "old")
    write(tmp_path / "1", "new", overwrite=True)
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_what_was_put_aside_when_killed_comes_back(tmp_path):
    write(tmp_path / "1", "old")
    (tmp_path / "1.partial").mkdir()
    (tmp_path / "1").rename(tmp_path / "1.partial" / "replaced")
    with pytest.raises(KeyboardInterrupt):
        with staged(tmp_path / "1", overwrite=True):
            assert (tmp_path / "1" / "saved_model.pb").read_text() == "old"
            raise KeyboardInterrupt
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["1"]
