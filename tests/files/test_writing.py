"""Files appear whole or not at all."""

import os

import pytest

from mec_tf.files import replacing, swap, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_are_replaced(tmp_path):
    for name in ("a.json", "a", ".a"):
        for text in ("old", "new ä"):
            write_text(tmp_path / name, text)
            assert (tmp_path / name).read_text(encoding="utf-8") == text
    assert names(tmp_path) == [".a", "a", "a.json"]


def test_what_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        with replacing(path) as fresh:
            assert fresh.suffix == ".npz" and fresh.parent == tmp_path
            fresh.write_text("half")
            raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError):
        with replacing(path):
            pass  # writes nothing
    assert names(tmp_path) == ["a.npz"] and path.read_text() == "old"


def test_what_a_killed_process_left_is_overwritten(tmp_path):
    with replacing(tmp_path / "a.json") as fresh:
        pass_on = fresh
        fresh.write_text("new")
    pass_on.write_text("left")
    write_text(tmp_path / "a.json", "newer")
    assert names(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "newer"


def test_links_stay_links(tmp_path):
    write_text(tmp_path / "a", "old")
    (tmp_path / "link").symlink_to("a")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_text() == "new"


def test_missing_folders_are_errors(tmp_path):
    with pytest.raises(OSError):
        write_text(tmp_path / "none" / "a", "text")


def test_directories_are_swapped_or_stay(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    swapped = swap(tmp_path / "a", tmp_path / "b")
    first = "b" if swapped else "a"
    assert os.listdir(tmp_path / "a") == [first]
    assert not swap(tmp_path / "a", tmp_path / "none")
    assert os.listdir(tmp_path / "a") == [first]
